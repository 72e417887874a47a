package remote_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"sluice/compute"
	"sluice/compute/agent"
	"sluice/fabric"
)

// What a host cannot start the site hears, each time that it changes.
func TestHeldBack(t *testing.T) {
	w := newWorld(t, "h1")
	w.hub.Close()
	told := make(chan fabric.Reach, 100)
	w.cfg.OnReach = func(r fabric.Reach) { told <- r }
	w.open()
	a, err := agent.New(agent.Config{
		Dir: filepath.Join(w.dir, "hosts", "h1"), Link: fabric.LinkConfig{URL: w.hub.Address(), Token: w.token("h1")}, Log: logger(t),
		Executors: []agent.Executor{{Name: "process", Run: newProcess(t), Isolations: []compute.Isolation{compute.IsolationNone}}},
		Facts:     agent.HostFacts("h1", "test", w.dir),
	})
	if err != nil {
		t.Fatal(err)
	}
	a.HoldBack(compute.IsolationContainer, strings.Repeat("no engine ", 1000))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	hears := func(what string, ok func(fabric.Reach) bool) {
		w.until(what, func() bool {
			select {
			case r := <-told:
				return ok(r)
			default:
				return false
			}
		})
	}
	hears("that no container starts", func(r fabric.Reach) bool {
		return r.OK && strings.HasPrefix(r.Held[compute.IsolationContainer], "no engine no engine")
	})
	if s := w.hub.Hosts()[0]; s.State != "ready" || !strings.HasPrefix(s.Held[compute.IsolationContainer], "no engine") {
		t.Errorf("%+v", s)
	}
	a.HoldBack(compute.IsolationContainer, "")
	hears("that they do", func(r fabric.Reach) bool { return r.OK && len(r.Held) == 0 })
	if s := w.hub.Hosts()[0]; s.State != "ready" || len(s.Held) > 0 {
		t.Errorf("%+v", s)
	}
}
