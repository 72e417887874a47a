package fabric

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"

	"sluice"
)

// strayAfter is how long a run may be of nobody's before it is stopped: a site
// that has just started is still taking up its own.
const strayAfter = 2 * time.Minute

// LogPiece is the head of some output of a run.
type LogPiece struct {
	Run  string `json:"run"`
	From int64  `json:"from"` // byte of the run's output at which the data begin
}

// LogNext answers it.
type LogNext struct {
	Next int64 `json:"next"` // byte that is wanted next
}

// ControlCall is an HTTP call that a run made on its local socket.
type ControlCall struct {
	Run    string `json:"run"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   []byte `json:"body,omitempty"`
}

// ControlReply is what it is answered.
type ControlReply struct {
	Status int    `json:"status"`
	Type   string `json:"type,omitempty"`
	Body   []byte `json:"body,omitempty"`
}

// StopOrder asks an agent to end a run.
type StopOrder struct {
	Run    string        `json:"run"`
	Notice time.Duration `json:"notice"`
}

func marshal(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write a message: %w", err)
	}
	return b, nil
}

// checked drops what no agent may send: a reply to anything but the host's own
// inbox would make the site speak to another host in its own name.
func (h *Hub) checked(f func(*nats.Msg, string)) nats.MsgHandler {
	return func(m *nats.Msg) {
		host := hostOf(m.Subject)
		if host == "" || !ownReply(host, m.Reply) {
			return
		}
		f(m, host)
	}
}

// later does it in a goroutine of its own, a bounded number at once. Each agent
// waits for the answer before it sends the next of a run.
func (h *Hub) later(f func(*nats.Msg, string)) func(*nats.Msg, string) {
	return func(m *nats.Msg, host string) {
		h.busy <- struct{}{}
		go func() { defer func() { <-h.busy }(); f(m, host) }()
	}
}

func (h *Hub) answer(m *nats.Msg, body any, err error) {
	a := Answer{}
	if err == nil {
		a.Body, err = marshal(body)
	}
	if err != nil {
		a = fail(err)
	}
	if b, err := pack(a, nil); err == nil {
		_ = m.Respond(b) // an agent that hears nothing asks again
	}
}

func (h *Hub) beat(m *nats.Msg, host string) {
	b, err := ParseBeat(m.Data)
	if err != nil {
		h.answer(m, BeatReply{V: Version, Refused: err.Error()}, nil)
		return
	}
	now, wall := Uptime(), h.cfg.Now().UTC()
	refuse := h.refuse(host, b, now)
	if refuse != "" {
		h.answer(m, BeatReply{V: Version, Refused: refuse}, nil)
		return
	}
	h.mu.Lock()
	s := h.hosts[host]
	var tell *Reach
	if b.Leaving == s.reach.OK {
		s.reach = Reach{Host: host, OK: !b.Leaving, Since: wall}
		if b.Leaving {
			s.reach.Why = "its agent was stopped; runs go on"
		}
		r := s.reach
		tell = &r
	}
	if s.reach.OK && !maps.Equal(s.reach.Held, b.Held) {
		s.reach.Held = b.Held
		r := s.reach
		tell = &r
	}
	if s.epoch != b.Epoch {
		if s.epoch != "" && len(s.before) < 100 {
			s.before[s.epoch] = s.grants
		}
		if g, ok := s.before[b.Epoch]; ok { // it is back
			s.grants = g
			delete(s.before, b.Epoch)
		}
	}
	s.heard, s.heardAt, s.epoch, s.pending, s.running, s.refused = now, wall, b.Epoch, b.Pending, 0, ""
	for _, r := range b.Runs {
		if r.Phase == Running || r.Phase == Starting {
			s.running++
		}
	}
	changed := s.fault != b.Fault || b.Facts != nil
	if s.fault = b.Fault; b.Facts != nil {
		s.facts = b.Facts
	}
	want := s.facts == nil
	var told *Told
	if changed && !want {
		told = &Told{Host: host, Facts: *s.facts, Fault: s.fault}
	}
	followers := h.followers
	h.mu.Unlock()
	if tell != nil {
		h.tell(*tell)
	}
	if told != nil && h.cfg.OnTold != nil {
		h.cfg.OnTold(*told)
	}
	for _, f := range followers {
		f.Beat(host, b)
	}
	reply := BeatReply{V: Version, WantFacts: want}
	for _, r := range b.Runs {
		if r.Phase != Ended && r.Phase != Failed {
			continue
		}
		for _, f := range followers {
			if f.Taken(r.Run) {
				reply.Taken = append(reply.Taken, r.Run)
				break
			}
		}
	}
	h.strays(host, b, now, followers)
	if h.cfg.Power != nil {
		reply.Power = h.cfg.Power(host)
	}
	h.mu.Lock()
	t := Uptime()
	s.grants.Granted(t)
	reply.Grant = Grant{Key: s.key, MS: (t - h.born).Milliseconds()}
	h.mu.Unlock()
	h.answer(m, reply, nil)
}

// refuse says why a heartbeat does not count, "" where it does.
func (h *Hub) refuse(host string, b Beat, now time.Duration) string {
	admitted := h.gate.admitted(host)
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.hosts[host]
	switch {
	case s == nil:
		return fmt.Sprintf("the site's configuration has no host %q that an agent runs", host)
	case !admitted:
		s.refused = "its token was revoked or has expired"
	case s.epoch != "" && s.epoch != b.Epoch && s.reach.OK:
		s.refused = "a second agent shows this host's token: another machine, or another data folder"
		return s.refused
	default:
		return ""
	}
	return s.refused
}

// strays finds runs that nobody here knows and has them stopped.
func (h *Hub) strays(host string, b Beat, now time.Duration, followers []Follower) {
	var stop []string
	h.mu.Lock()
	s := h.hosts[host]
	seen := map[string]bool{}
	for _, r := range b.Runs {
		if r.Phase != Running && r.Phase != Starting {
			continue
		}
		known := false
		for _, f := range followers {
			known = known || f.Tracks(r.Run)
		}
		if known {
			continue
		}
		seen[r.Run] = true
		since, ok := s.strays[r.Run]
		if !ok {
			s.strays[r.Run] = now
		} else if now-since > strayAfter && !s.stopped[r.Run] {
			s.stopped[r.Run] = true
			stop = append(stop, r.Run)
		}
	}
	for run := range s.strays {
		if !seen[run] {
			delete(s.strays, run)
			delete(s.stopped, run)
		}
	}
	h.mu.Unlock()
	for _, run := range stop {
		h.cfg.Log.Warn("a host runs what this site does not know: it is stopped", "host", host, "run", run)
		go func() {
			_, err := h.Ask(context.Background(), host, "stop", StopOrder{Run: run, Notice: 30 * time.Second}, nil, nil)
			if err != nil {
				h.mu.Lock()
				delete(s.stopped, run) // the next heartbeat asks again
				h.mu.Unlock()
			}
		}()
	}
}

func (h *Hub) log(m *nats.Msg, host string) {
	var p LogPiece
	data, err := unpack(m.Data, &p)
	if err == nil && (!ValidRun(p.Run) || p.From < 0) {
		err = sluice.Errorf(sluice.Invalid, "", "output of no run")
	}
	if err != nil {
		h.answer(m, nil, err)
		return
	}
	for _, f := range h.following() {
		next, known, err := f.Log(host, p.Run, p.From, data)
		if known {
			h.answer(m, LogNext{next}, err)
			return
		}
	}
	h.answer(m, nil, sluice.Errorf(sluice.NotFound, "", "no run %s", p.Run))
}

func (h *Hub) control(m *nats.Msg, host string) {
	var c ControlCall
	if _, err := unpack(m.Data, &c); err != nil || !ValidRun(c.Run) {
		h.answer(m, nil, sluice.Errorf(sluice.Invalid, "", "a call of no run"))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, f := range h.following() {
		r, known, err := f.Control(ctx, host, c)
		if known {
			h.answer(m, r, err)
			return
		}
	}
	h.answer(m, nil, sluice.Errorf(sluice.NotFound, "", "no run %s", c.Run))
}
