package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"sluice/fabric"
)

const maxControl = 64 << 10 // bytes of a call's body

// listenControl opens the socket on which a run may call, and carries each call
// to the site. The site answers as it would on its own machine.
func (a *Agent) listenControl(run, path string) error {
	_ = os.Remove(path)
	var lc net.ListenConfig
	l, err := lc.Listen(a.run, "unix", path)
	if err != nil {
		return err
	}
	s := &http.Server{
		ReadTimeout: 10 * time.Second, WriteTimeout: 90 * time.Second, MaxHeaderBytes: 16 << 10,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.carry(run, w, r) }),
	}
	a.tasks.Go(func() { _ = s.Serve(l) })
	a.tasks.Go(func() {
		a.untilOver(run)
		_ = s.Close()
		_ = os.Remove(path)
	})
	return nil
}

// untilOver waits until a run is not alive any more, or the agent ends.
func (a *Agent) untilOver(run string) {
	for {
		a.mu.Lock()
		r, changed := a.runs[run], a.changed
		over := r == nil || !r.alive()
		a.mu.Unlock()
		if over {
			return
		}
		select {
		case <-changed:
		case <-a.run.Done():
			return
		}
	}
}

func (a *Agent) carry(run string, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControl))
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		http.Error(w, "the call is too long", http.StatusRequestEntityTooLarge)
		return
	}
	link := a.link.Load()
	if err != nil || link == nil || !link.Connected() {
		http.Error(w, "the site cannot be reached now; try again", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	reply, err := link.Control(ctx, fabric.ControlCall{Run: run, Method: r.Method, Path: r.URL.RequestURI(), Body: body})
	if err != nil {
		http.Error(w, "the site does not answer; try again", http.StatusBadGateway)
		return
	}
	if reply.Type != "" {
		w.Header().Set("Content-Type", reply.Type)
	}
	w.WriteHeader(max(200, min(reply.Status, 599)))
	_, _ = w.Write(reply.Body)
}
