package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/compute"
)

// engineOf is an engine whose faults a test sets.
type engineOf struct {
	mu                  sync.Mutex
	try, answer, online error
	tries               int
}

func (e *engineOf) set(try, answer error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.try, e.answer = try, answer
}

func (e *engineOf) Try(_ context.Context, _ compute.Isolation, egress compute.Egress) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tries++
	if egress != compute.EgressNone {
		return e.online
	}
	return e.try
}

func (e *engineOf) Answers(context.Context, compute.Isolation) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.answer
}

// Jobs are held while the engine does not start them, with the reason, which is told
// once; and go on by themselves.
func TestEngineWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		e := &engineOf{try: errors.New("no such image"), online: errors.New("no slirp4netns")}
		held := "?"
		w := &engineWatch{
			engine: e, isolations: []compute.Isolation{compute.IsolationContainer}, where: "here", log: slog.New(slog.NewTextHandler(&out, nil)),
			hold: func(_ compute.Isolation, why string) {
				e.mu.Lock()
				defer e.mu.Unlock()
				held = why
			}, said: map[compute.Isolation]string{},
		}
		w.holdAll()
		if held != beingTried {
			t.Errorf("held for %q", held)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.run(ctx) }()
		step := func(wait time.Duration, want string, logs map[string]int) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			e.mu.Lock()
			defer e.mu.Unlock()
			if held != want {
				t.Errorf("held for %q, want %q", held, want)
			}
			for text, n := range logs {
				if got := strings.Count(out.String(), text); got != n {
					t.Errorf("told %d times of %q\n%s", got, text, &out)
				}
			}
		}
		step(0, "its containers do not start: no such image", map[string]int{"no such image": 1})
		step(time.Hour, "its containers do not start: no such image", map[string]int{"no such image": 1})
		e.set(nil, nil)
		step(engineEvery, "", map[string]int{"start again": 1, "no slirp4netns": 1})
		tries := e.tries
		step(time.Hour, "", nil)
		if e.tries != tries {
			t.Errorf("an engine that starts containers was tried %d times more", e.tries-tries)
		}
		e.set(errors.New("gone"), errors.New("gone"))
		step(engineEvery, "its containers do not start: gone", map[string]int{"gone": 1})
		e.set(nil, nil)
		step(engineEvery, "", map[string]int{"start again": 2, "no slirp4netns": 1})
		cancel()
		<-done
	})
}
