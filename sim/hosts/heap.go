package hosts

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"time"

	"sluice"
	"sluice/compute"
)

// handle is what compute.Handle holds: all that a restart needs.
type handle struct {
	Run   string    `json:"run"`
	Start time.Time `json:"start"`   // site time
	Need  int64     `json:"need_ns"` // from the start
}

func (r *run) handle() compute.Handle {
	b, err := json.Marshal(handle{r.id, r.start, int64(r.need)})
	if err != nil {
		panic(fmt.Sprintf("a handle of plain fields does not marshal: %v", err))
	}
	return compute.Handle(b)
}

// find returns the run of a handle and takes it up where it is not known yet.
func (x *Executor) find(h compute.Handle) (*run, error) {
	x.mu.Lock()
	r := x.known[h] // reading the handle would be most of the work
	x.mu.Unlock()
	if r != nil {
		return r, nil
	}
	var p handle
	if err := json.Unmarshal([]byte(h), &p); err != nil || p.Run == "" {
		return nil, sluice.Errorf(sluice.Invalid, "", "%q is not a handle of a virtual run", h)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if r := x.runs[p.Run]; r != nil {
		return r, nil
	}
	return x.add(p.Run, p.Start, time.Duration(p.Need)), nil
}

// add makes a run. Callers hold mu.
func (x *Executor) add(id string, start time.Time, need time.Duration) *run {
	r := &run{id: id, start: start.UTC(), need: need, end: start.Add(need), natural: start.Add(need), speed: 1, done: make(chan struct{})}
	r.key = r.handle()
	x.runs[id], x.known[r.key] = r, r
	heap.Push(&x.ends, r)
	return r
}

// fire ends the runs whose time has come, in the order of their ends, and sets
// the timer for the next.
func (x *Executor) fire(now time.Time) {
	type call struct {
		f    func(compute.Exit)
		exit compute.Exit
	}
	var calls []call
	x.mu.Lock()
	for len(x.ends) > 0 && !x.ends[0].end.After(now) {
		r := heap.Pop(&x.ends).(*run)
		e := compute.Exit{At: r.end.UTC(), Stopped: r.stopped, Used: r.used(r.end)}
		switch {
		case r.killed && r.stopped && r.end.Before(r.natural):
			e.Code, e.Signal, e.Why = 137, "SIGKILL", "the grace was too short to save its state"
		case r.stopped && r.end.Before(r.natural):
			e.Code, e.Signal = 143, "SIGTERM"
		}
		r.exit = &e
		close(r.done)
		for _, f := range r.watch {
			calls = append(calls, call{f, e})
		}
		r.watch = nil
		x.ended = append(x.ended, r.id)
		if len(x.ended) > x.keep {
			if old := x.runs[x.ended[0]]; old != nil {
				delete(x.known, old.key)
				delete(x.runs, old.id)
			}
			x.ended = x.ended[1:]
		}
	}
	if x.wall != nil {
		if x.timer != nil {
			x.timer.Stop()
		}
		if len(x.ends) > 0 {
			// Never a spin: a wall millisecond at least, whatever the rounding.
			wait := max(time.Millisecond, x.wall(x.ends[0].end.Sub(now)))
			x.timer = time.AfterFunc(wait, func() { x.fire(x.now()) })
		}
	}
	x.mu.Unlock()
	for _, c := range calls {
		c.f(c.exit)
	}
}

// endHeap orders runs by their end, equal ends by name, so that a simulation
// repeats itself exactly.
type endHeap []*run

func (h endHeap) Len() int { return len(h) }
func (h endHeap) Less(i, j int) bool {
	if !h[i].end.Equal(h[j].end) {
		return h[i].end.Before(h[j].end)
	}
	return h[i].id < h[j].id
}

func (h endHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *endHeap) Push(v any) { r := v.(*run); r.index = len(*h); *h = append(*h, r) }
func (h *endHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*h, r.index = old[:len(old)-1], -1
	return r
}
