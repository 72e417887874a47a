package agent

import (
	"testing"
	"time"
)

// A checkpoint counts when its folder has been quiet, and where that never is, now and
// then all the same.
func TestSettle(t *testing.T) {
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }
	r := &run{}
	r.settle(time.Time{}, at(0)) // there is none
	if !r.saved.IsZero() {
		t.Errorf("nothing counts: %v", r.saved)
	}
	r.settle(at(1), at(2))
	if !r.saved.IsZero() {
		t.Error("what may be half there counts")
	}
	if r.settle(at(1), at(4)); r.saved != at(1) {
		t.Errorf("a quiet folder: %v", r.saved)
	}
	var counted []time.Time
	for s := 10.0; s < 110; s++ {
		was := r.saved
		if r.settle(at(s), at(s+0.5)); r.saved != was {
			counted = append(counted, r.saved)
		}
	}
	if len(counted) != 3 || counted[0] != at(40) || counted[2] != at(102) {
		t.Errorf("of a folder that is written to each second: %v", counted)
	}
	// It is quiet at last, and the next change has its own time.
	if r.settle(at(109), at(120)); r.saved != at(109) {
		t.Errorf("quiet at last: %v", r.saved)
	}
	if r.settle(at(150), at(151)); r.saved != at(109) {
		t.Errorf("new, and not yet quiet: %v", r.saved)
	}
}
