package hosts_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/executortest"
	"sluice/sim/hosts"
)

var epoch = time.Date(2023, 8, 14, 0, 0, 0, 0, time.UTC)

func specs() func(string, time.Duration) compute.RunSpec {
	var n atomic.Int64
	return func(_ string, d time.Duration) compute.RunSpec {
		id := n.Add(1)
		return compute.RunSpec{RunID: fmt.Sprintf("j-%06d-r1", id), JobID: fmt.Sprintf("j-%06d", id), Remaining: d}
	}
}

func TestConformanceOnAClock(t *testing.T) {
	const speed = 100
	executortest.Run(t, func(*testing.T) executortest.Subject {
		clock := sluice.NewClock(epoch, speed)
		return executortest.Subject{
			New:  func() compute.Executor { return hosts.New(clock) },
			Spec: specs(),
			Pass: func(d time.Duration) { <-time.After(d) }, // the wall's: more than enough
		}
	})
}

// steps is time that is driven by hand, for all executors that share it.
type steps struct {
	mu  sync.Mutex
	now time.Time
	all []*hosts.Executor
}

func (s *steps) Now() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.now }

func (s *steps) add() *hosts.Executor {
	x := hosts.NewStepped(s.Now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, x)
	return x
}

func (s *steps) Pass(d time.Duration) {
	s.mu.Lock()
	s.now = s.now.Add(d)
	all, now := s.all, s.now
	s.mu.Unlock()
	for _, x := range all {
		x.Advance(now)
	}
}

func TestConformanceStepped(t *testing.T) {
	executortest.Run(t, func(*testing.T) executortest.Subject {
		s := &steps{now: epoch}
		return executortest.Subject{
			New:  func() compute.Executor { return s.add() },
			Spec: specs(),
			Pass: s.Pass,
		}
	})
}

// A restart in the middle, and one after the end, change nothing.
func TestAttachRecomputes(t *testing.T) {
	s := &steps{now: epoch}
	spec := specs()("", time.Hour)
	h, err := s.add().Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Duration{20 * time.Minute, 90 * time.Minute} {
		s.Pass(at - s.Now().Sub(epoch))
		x := s.add()
		if err := x.Attach(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		u, err := x.Usage(t.Context(), h)
		if want := min(at, time.Hour).Seconds(); err != nil || u.Seconds != want {
			t.Fatalf("after %v: used %v s, %v, want %v", at, u.Seconds, err, want)
		}
	}
	x := s.add()
	if e, err := x.Wait(t.Context(), h); err != nil || !e.At.Equal(epoch.Add(time.Hour)) {
		t.Fatalf("ended %v, %v, want an hour after its start", e.At, err)
	}
}

// 2,000 runs end in the order of their ends, equal ones by name, in one call.
func TestOrder(t *testing.T) {
	s := &steps{now: epoch}
	x, spec := s.add(), specs()
	var got []string
	for i := range 2000 {
		sp := spec("", time.Duration(i*7919%50)*time.Minute)
		h, err := x.Start(t.Context(), sp)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Watch(h, func(e compute.Exit) { got = append(got, fmt.Sprint(e.At.Unix(), sp.RunID)) }); err != nil {
			t.Fatal(err)
		}
	}
	s.Pass(time.Hour)
	if len(got) != 2000 {
		t.Fatalf("%d ends", len(got))
	}
	// Runs of length 0 end at their start, before Pass; in all they are sorted.
	for i := 1; i < len(got); i++ {
		if got[i] <= got[i-1] {
			t.Fatalf("%s after %s", got[i], got[i-1])
		}
	}
}

// On a clock a stop takes the time to save, and no more than the grace; both in
// site time.
func TestStopTakesSiteTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const speed = 60
		x, spec := hosts.New(sluice.NewClock(epoch, speed)), specs()
		for _, c := range []struct {
			grace, want time.Duration
			code        int
		}{{time.Minute, hosts.Save, 143}, {time.Second, time.Second, 137}} {
			h, err := x.Start(t.Context(), spec("", time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := x.Stop(t.Context(), h, c.grace); err != nil {
				t.Fatal(err)
			}
			took := time.Since(began) * speed
			if took < c.want || took > c.want+time.Second {
				t.Errorf("grace %v: took %v of site time, want %v", c.grace, took, c.want)
			}
			if e, err := x.Wait(t.Context(), h); err != nil || e.Code != c.code || !e.Stopped {
				t.Errorf("grace %v: exit %+v, %v", c.grace, e, err)
			}
		}
	})
}
