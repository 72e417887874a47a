package server

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// stream is a response that lasts for as long as it has something to say. The
// connection's own deadlines are lifted; instead each write must end within the
// write timeout, so that a client that stopped reading is dropped.
type stream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	begun   bool
}

// Write sends b at once.
func (t *stream) Write(b []byte) (int, error) {
	t.begun = true
	if err := t.rc.SetWriteDeadline(time.Now().Add(t.timeout)); err != nil {
		return 0, err
	}
	n, err := t.w.Write(b)
	if err == nil {
		err = t.rc.Flush()
	}
	return n, err
}

// streamed makes the response of an operation out of run, which writes the body
// and ends when ctx does. An error before the first byte becomes a problem; later
// ones cut the connection, so that nobody takes a part for the whole.
func (s *Server) streamed(contentType string, headers map[string]string, run func(ctx context.Context, w io.Writer) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		select {
		case s.streams <- struct{}{}:
			defer func() { <-s.streams }()
			caller := CallerOf(r.Context())
			if !s.held.take(caller.Tenant) {
				writeProblem(w, http.StatusServiceUnavailable, "too many streams of yours are open", "end a --follow or a download")
				return
			}
			defer s.held.release(caller.Tenant)
		default:
			writeProblem(w, http.StatusServiceUnavailable, "too many streams are open", "close a page or a --follow")
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.stop, cancel)()
		defer s.watchCaller(ctx, cancel)()

		rc := http.NewResponseController(w)
		// The server's read deadline would end the request's context under us.
		_ = rc.SetReadDeadline(time.Time{})
		h := w.Header()
		h.Set("Content-Type", contentType)
		for k, v := range headers {
			h.Set(k, v)
		}
		if r.Method == http.MethodHead {
			return
		}
		t := &stream{w: w, rc: rc, timeout: s.o.WriteTimeout}
		err := run(ctx, t)
		switch {
		case err == nil:
			_ = rc.SetWriteDeadline(time.Now().Add(s.o.WriteTimeout))
		case t.begun:
			panic(http.ErrAbortHandler)
		default:
			for k := range headers {
				h.Del(k)
			}
			sendProblem(w, asProblem(err))
		}
	}}
}

// watchCaller ends what a tenant streams once its token opens nothing any more.
// The function that it returns ends the watching.
func (s *Server) watchCaller(ctx context.Context, cancel func()) func() {
	c := CallerOf(ctx)
	if c.Tenant == "" {
		return func() {}
	}
	ctx, end := context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(s.o.Heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if !s.stillIn(c) {
					cancel()
					return
				}
			}
		}
	}()
	return end
}

// maxTenantStreams is how many streams of one tenant are open at once: it leaves
// some to others.
const maxTenantStreams = 16

// held counts the open streams of each tenant.
type held struct {
	mu sync.Mutex
	by map[string]int
}

func (h *held) take(tenant string) bool {
	if tenant == "" {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = map[string]int{}
	}
	if h.by[tenant] >= maxTenantStreams {
		return false
	}
	h.by[tenant]++
	return true
}

func (h *held) release(tenant string) {
	if tenant == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by[tenant]--; h.by[tenant] <= 0 {
		delete(h.by, tenant)
	}
}

// Trailer sends a header after the body; it must have been announced.
func (t *stream) Trailer(name, value string) { t.w.Header().Set(name, value) }

// begin sends the headers, for a body that may be long in coming.
func (t *stream) begin() error {
	t.begun = true
	t.w.WriteHeader(http.StatusOK)
	return t.rc.Flush()
}

// buffered gathers the small writes of run, for what comes in one go.
func buffered(run func(ctx context.Context, w io.Writer) error) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		b := bufio.NewWriterSize(w, 64<<10)
		if err := run(ctx, b); err != nil {
			return err
		}
		return b.Flush()
	}
}
