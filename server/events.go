package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"sluice/site"

	"github.com/danielgtaylor/huma/v2"
)

const (
	// statusEvery is the least time between two status events of a stream, wall time.
	statusEvery = 500 * time.Millisecond
	// eventBuffer is how many events may wait for a client before it is dropped.
	eventBuffer = 256
)

var errSlow = errors.New("the client does not keep up with the events")

func (s *Server) eventRoutes() {
	op := operation("listen", "GET", "/events", "site", "Listen to what changes",
		"Server-sent events: `status` (the object of GET /site; at once, then at most two a second), `decision`, `alarm`, "+
			"`job` and `curtailment` (the object that changed). Comments keep the connection alive. A client that does "+
			"not keep up is dropped; it connects again and reads what it missed. A tenant hears of its own jobs and of its "+
			"spending (`spending`), and of nothing else.")
	op.Responses = streamDoc("text/event-stream", "Events until either side ends the connection")
	huma.Register(s.api, op, func(_ context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		return s.streamed("text/event-stream", nil, s.events), nil
	})
}

// mailbox takes events as fast as the site makes them and holds them for one
// client. Of status events it keeps only that there was one.
type mailbox struct {
	mu     sync.Mutex
	queue  []site.Event
	status bool
	over   bool // more came than the queue may hold
	wake   chan struct{}
}

func (m *mailbox) put(e site.Event) {
	m.mu.Lock()
	switch {
	case e.Kind == "status":
		m.status = true
	case len(m.queue) >= eventBuffer:
		m.over = true
	default:
		m.queue = append(m.queue, e)
	}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() (queue []site.Event, status, over bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	queue, status, over = m.queue, m.status, m.over
	m.queue, m.status = nil, false
	return queue, status, over
}

// events writes the site's events to w until ctx or the site ends it, or w fails.
func (s *Server) events(ctx context.Context, w io.Writer) error {
	ch, end := s.o.Site.Subscribe(eventBuffer)
	defer end()
	caller := CallerOf(ctx)
	box := &mailbox{wake: make(chan struct{}, 1)}
	if caller.Operator {
		box.put(site.Event{Kind: "status"})
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for {
			select {
			case e, ok := <-ch:
				if !ok {
					return
				}
				if caller.mayHear(e.Data) {
					box.put(e)
				}
			case <-ctx.Done():
				return
			}
		}
	}()

	// Whoever hears of little is told at once that it is heard.
	if !caller.Operator {
		if _, err := io.WriteString(w, ": listening\n\n"); err != nil {
			return err
		}
	}
	beat := time.NewTicker(s.o.Heartbeat)
	defer beat.Stop()
	pace := time.NewTimer(0) // when the next status may go
	defer pace.Stop()
	ready, changed := false, false
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-closed: // what came before the end is still told
			queue, _, over := box.take()
			if over {
				return errSlow
			}
			for _, e := range queue {
				if err := writeEvent(w, e); err != nil {
					return err
				}
			}
			return nil
		case <-beat.C:
			_, err = io.WriteString(w, ": still here\n\n")
		case <-pace.C:
			ready = true
		case <-box.wake:
			queue, status, over := box.take()
			if over {
				return errSlow
			}
			changed = changed || status
			for _, e := range queue {
				if err == nil {
					err = writeEvent(w, e)
				}
			}
		}
		if err == nil && ready && changed {
			ready, changed = false, false
			err = writeEvent(w, site.Event{Kind: "status", Data: s.o.Site.Status()})
			pace.Reset(statusEvery)
		}
		if err != nil {
			return err
		}
	}
}

func writeEvent(w io.Writer, e site.Event) error {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return fmt.Errorf("marshalling an event %s: %w", e.Kind, err)
	}
	_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.Kind, data)
	return err
}
