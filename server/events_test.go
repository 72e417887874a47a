package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/site"
)

// reader reads a stream event by event.
type reader struct {
	t     *testing.T
	lines *bufio.Scanner
}

func (r *rig) listen() *reader {
	r.t.Helper()
	res := r.do("GET", "/api/v1/events", "")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatalf("GET /events: %d %q", res.StatusCode, res.Header.Get("Content-Type"))
	}
	return &reader{r.t, bufio.NewScanner(res.Body)}
}

// next returns the next event or, as kind "comment", comment.
func (e *reader) next() (kind, data string) {
	e.t.Helper()
	for e.lines.Scan() {
		line := e.lines.Text()
		switch {
		case line == "":
			return kind, data
		case strings.HasPrefix(line, ":"):
			kind = "comment"
		case strings.HasPrefix(line, "event: "):
			kind = line[7:]
		case strings.HasPrefix(line, "data: "):
			data = line[6:]
		default:
			e.t.Fatalf("line %q", line)
		}
	}
	return "end", ""
}

func TestEventsArriveInOrder(t *testing.T) {
	r := newRig(t, nil)
	in := r.listen()
	if kind, data := in.next(); kind != "status" || !strings.Contains(data, `"load_kw":13200.5`) {
		t.Fatalf("first event %s %s", kind, data)
	}
	r.site.publish(site.Event{Kind: "decision", Data: site.Decision{ID: 7}})
	r.site.publish(site.Event{Kind: "alarm", Data: site.Alarm{ID: 8, Text: "two\nlines"}})
	r.site.publish(site.Event{Kind: "job", Data: map[string]string{"id": "j-1"}})
	r.site.publish(site.Event{Kind: "curtailment", Data: site.Curtailment{ID: "c-1"}})
	for _, want := range []string{"decision", "alarm", "job", "curtailment"} {
		kind, data := in.next()
		if kind != want || !json.Valid([]byte(data)) {
			t.Errorf("event %s %s, want %s", kind, data, want)
		}
	}
}

// pipe is a client in memory, for tests whose time is not the wall's.
type pipe struct {
	mu    sync.Mutex
	text  strings.Builder
	block chan struct{} // when set, writes wait for it
}

func (p *pipe) Write(b []byte) (int, error) {
	if p.block != nil {
		<-p.block
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *pipe) count(s string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Count(p.text.String(), s)
}

func TestStatusIsCoalescedAndHeartbeatsBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeSite()
		f.subbed, f.ended = make(chan struct{}, 1), make(chan struct{}, 1)
		s, err := New(Options{Site: f, Now: func() time.Time { return t0 }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		p := &pipe{}
		done := make(chan error, 1)
		go func() { done <- s.events(WithCaller(ctx, Caller{Operator: true}), p) }()
		<-f.subbed
		tick := time.NewTicker(10 * time.Millisecond)
		for range 200 { // two seconds of a status every 10 ms
			f.publish(site.Event{Kind: "status"})
			<-tick.C
		}
		synctest.Wait()
		if n := p.count("event: status"); n < 4 || n > 5 {
			t.Errorf("%d status events in 2 s, want one at once and two a second", n)
		}
		tick.Reset(time.Minute)
		<-tick.C
		synctest.Wait()
		if n := p.count("event: status"); n > 6 {
			t.Errorf("%d status events though nothing changed", n)
		}
		if n := p.count(": still here"); n != 4 {
			t.Errorf("%d heartbeats in 62 s, want 4", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the stream ended with %v", err)
		}
		<-f.ended
	})
}

// What the site said before it ended the stream is told, whichever is seen first.
func TestTheEndOfAStreamLosesNothing(t *testing.T) {
	for range 50 { // a race, if there is one, is lost half of the time
		f := newFakeSite()
		s, err := New(Options{Site: f, Now: func() time.Time { return t0 }})
		if err != nil {
			t.Fatal(err)
		}
		p := &pipe{}
		done := make(chan error, 1)
		go func() { done <- s.events(WithCaller(t.Context(), Caller{Operator: true}), p) }()
		<-f.subbed
		f.mu.Lock()
		for c := range f.subs {
			c <- site.Event{Kind: "decision", Data: site.Decision{ID: 7}}
			close(c)
		}
		f.mu.Unlock()
		if err := <-done; err != nil || p.count("event: decision") != 1 {
			t.Fatalf("%v after %d decisions", err, p.count("event: decision"))
		}
	}
}

func TestAClientThatDoesNotKeepUpIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeSite()
		f.subbed, f.ended = make(chan struct{}, 1), make(chan struct{}, 1)
		s, err := New(Options{Site: f, Now: func() time.Time { return t0 }})
		if err != nil {
			t.Fatal(err)
		}
		p := &pipe{block: make(chan struct{})}
		done := make(chan error, 1)
		go func() { done <- s.events(WithCaller(t.Context(), Caller{Operator: true}), p) }()
		<-f.subbed
		synctest.Wait() // the first status hangs in its write
		for range 2*eventBuffer + 2 {
			f.publish(site.Event{Kind: "job", Data: 1})
			synctest.Wait()
		}
		close(p.block)
		if err := <-done; !errors.Is(err, errSlow) {
			t.Errorf("the stream ended with %v, want %v", err, errSlow)
		}
		<-f.ended
	})
}

// TestASocketThatIsNotReadIsDropped holds the same on a real socket, where the
// write's deadline ends it and the site is never held up.
func TestASocketThatIsNotReadIsDropped(t *testing.T) {
	r := newRig(t, func(o *Options) { o.WriteTimeout = 100 * time.Millisecond })
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /api/v1/events HTTP/1.1\r\nHost: "+strings.TrimPrefix(r.url, "http://")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-r.site.subbed
	big := strings.Repeat("x", 1<<20)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.site.ended:
			return
		case <-ctx.Done():
			t.Fatal("it still hangs on the site")
		case <-tick.C:
			r.site.publish(site.Event{Kind: "job", Data: big})
		}
	}
}

// TestStreamsOutliveTheTimeouts: what lasts is not cut by the deadlines of a
// request that should not.
func TestStreamsOutliveTheTimeouts(t *testing.T) {
	// A busy machine may not even take a request in so short a time: then it gets more.
	for timeout := 100 * time.Millisecond; ; timeout *= 4 {
		err := outlives(t, timeout)
		if err == nil {
			return
		}
		if timeout > 5*time.Second {
			t.Fatal(err)
		}
		t.Logf("with timeouts of %v: %v", timeout, err)
	}
}

// outlives has two streams go on for six times as long as a request may take.
func outlives(t *testing.T, timeout time.Duration) error {
	r := newRig(t, func(o *Options) {
		o.ReadTimeout, o.WriteTimeout, o.Heartbeat = timeout, timeout, timeout*3/10
	})
	get := func(path string) (io.Reader, error) {
		res, err := http.Get(r.url + path)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return res.Body, nil
	}
	events, err := get("/api/v1/events")
	if err != nil {
		return err
	}
	logs, err := get("/api/v1/jobs/j-5/logs?follow=true")
	if err != nil {
		return err
	}
	in := &reader{t, bufio.NewScanner(events)}
	in.next()
	for range 20 {
		if kind, _ := in.next(); kind != "comment" {
			return fmt.Errorf("the stream of events gave %s", kind)
		}
	}
	r.jobs.more <- "epoch 3\n"
	close(r.jobs.more)
	if b, err := io.ReadAll(logs); err != nil || string(b) != "epoch 1\nepoch 2\nepoch 3\n" {
		return fmt.Errorf("followed logs: %q, %w", b, err)
	}
	return nil
}

func TestStreamsAreBounded(t *testing.T) {
	r := newRig(t, nil)
	for range maxStreams {
		r.listen().next()
	}
	r.want(503, "GET", "/api/v1/events", "")
}

func TestALeavingClientEndsItsSubscription(t *testing.T) {
	r := newRig(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", r.url+"/api/v1/events", nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	cancel()
	<-r.site.ended
}
