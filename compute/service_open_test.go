package compute

import "testing"

func TestOpenAndCounts(t *testing.T) {
	s := New(Config{})
	for i, state := range []State{Succeeded, Running, Queued, Failed, Queued} {
		id := jobID(i + 1)
		e := &entry{number: i + 1, Record: Record{Job: Job{ID: id, State: state}, Task: &Task{}}}
		s.add(e)
		s.touch(e)
	}
	open := s.Open()
	if len(open) != 3 || open[0].ID != "j-000002" || open[2].ID != "j-000005" {
		t.Errorf("open are %+v", open)
	}
	if c := s.Counts(); c[Queued] != 2 || c[Failed] != 1 || c[Running] != 1 {
		t.Errorf("counts %v", c)
	}
}
