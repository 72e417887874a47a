package compute

import (
	"cmp"
	"slices"
)

// inOrder puts the choices of a task that has no order of its own by price.
func inOrder(t *Task, choices []Choice) []Choice {
	if t.Ordered || len(choices) < 2 {
		return choices
	}
	out := slices.Clone(choices)
	slices.SortStableFunc(out, func(a, b Choice) int {
		return cmp.Compare(a.RateUSDHour*float64(a.UnitsPerNode), b.RateUSDHour*float64(b.UnitsPerNode))
	})
	return out
}

// choose makes a job one of the class of hosts that a choice names.
func (e *entry) choose(c Choice) {
	own := e.Job.Interruptible && !e.Task.Resources.UseSpot // asked for beside the task
	t := *e.Task                                            // a record that is being stored has the old one
	t.Resources = c.Resources
	e.Task = &t
	e.Job.Class, e.Job.Units = c.Class, c.UnitsPerNode*max(1, e.Job.Nodes)
	e.Job.RateUSDHour, e.Job.StrikeUSDMWh = c.RateUSDHour, c.StrikeUSDMWh
	e.Job.Interruptible = own || c.Resources.UseSpot
}

// reconsider moves waiting jobs that would run elsewhere too to the first of their
// choices that has room now. Where none has, they stay where they wait. What was
// billed at another rate stays billed: only a job that has not run yet moves.
// Callers hold mu; it returns those that have moved.
func (s *Service) reconsider() []*entry {
	var f *floor
	var moved []*entry
	l := s.look()
	for _, e := range s.open {
		if len(e.Choices) < 2 || e.Job.State != Queued || e.Job.Runs > 0 || l.holds(e) != "" {
			continue
		}
		if f == nil {
			f = s.floor()
		}
		kept, task, found := e.Record, e.Task, false
		for _, c := range e.Choices {
			e.choose(c)
			if f.hasRoom(e) {
				found = true
				break
			}
		}
		switch {
		case !found, e.Job.Class == kept.Job.Class && e.Job.Units == kept.Job.Units:
			e.Record, e.Task = kept, task
		default:
			moved = append(moved, e)
		}
	}
	return moved
}

// hasRoom says whether a job could be placed now, of a floor where no room is taken
// but between two such questions. It takes none.
func (f *floor) hasRoom(e *entry) bool {
	t, known := f.s.tenant(e.Job.Tenant)
	if !known {
		return false
	}
	x := f.of(e.Job.Class)
	d := demand(e.Task.Resources, e.perNode())
	d.Among = x.among[x.mask(f.s, e, e.Task.Resources, t, part{})]
	key := room{e.Job.Class, d, max(1, e.Job.Nodes)}
	if has, known := f.rooms[key]; known {
		return has
	}
	d, taken, _, _ := x.find(f.s, e, t)
	x.giveAll(d, taken)
	if f.rooms == nil {
		f.rooms = map[room]bool{}
	}
	f.rooms[key] = len(taken) == key.nodes
	return f.rooms[key]
}
