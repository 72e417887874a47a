package fabric

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// sim is a site and its hosts in simulated time: messages are delayed, lost and
// kept back, connections are cut, either side dies and returns, and each clock
// runs at a pace of its own. Decisions are those of Holder and Grantor; what they
// decide about is one job, of which never two runs may be alive at once.
type sim struct {
	t     *rapid.T
	now   time.Duration // true time
	site  simSite
	hosts []*simHost
	wires []wire
	alive map[string]bool // "host/run" that is alive
	peak  int
	runs  int
}

type wire struct {
	at time.Duration // when it arrives
	do func()
}

type simSite struct {
	up      bool
	born    time.Duration // by its clock
	key     int
	grants  map[int]*Grantor
	heard   map[int]time.Duration
	run     string // present run of the job, "" for none
	host    int
	lease   time.Duration
	started bool // its start is confirmed
}

type simHost struct {
	id    int
	drift float64
	skew  time.Duration
	up    bool // the agent; its runs go on without it
	cut   bool
	hold  Holder
	known map[string]string // run → starting, running, ending, ended, forbidden
	lease map[string]time.Duration
	dies  map[string]time.Duration // true time at which an ending run is dead
}

const simNotice = 30 * time.Second

func (h *simHost) clock(now time.Duration) time.Duration {
	return h.skew + time.Duration(float64(now)*h.drift)
}

func (s *sim) send(cut bool, do func()) {
	if cut && rapid.IntRange(0, 3).Draw(s.t, "kept back") > 0 {
		return // lost; else it was kept back somewhere and arrives when it likes
	}
	delay := time.Duration(rapid.IntRange(0, 400).Draw(s.t, "ms")) * time.Millisecond
	if rapid.IntRange(0, 15).Draw(s.t, "slow") == 0 {
		delay = time.Duration(rapid.IntRange(0, 300).Draw(s.t, "s")) * time.Second
	}
	s.wires = append(s.wires, wire{s.now + delay, do})
}

func (s *sim) step(d time.Duration) {
	s.now += d
	for i := 0; i < len(s.wires); i++ {
		if w := s.wires[i]; w.at <= s.now {
			s.wires = append(s.wires[:i], s.wires[i+1:]...)
			i--
			w.do()
		}
	}
	for _, h := range s.hosts {
		s.host(h)
	}
	if s.site.up {
		s.plan()
	}
	n := 0
	for range s.alive {
		n++
	}
	if s.peak = max(s.peak, n); n > 1 {
		s.t.Fatalf("at %v the job runs %d times: %v", s.now, n, s.alive)
	}
}

// host is a turn of a host: its heartbeat, its fence, its runs. The guard fences
// when the agent is dead, a little later.
func (s *sim) host(h *simHost) {
	for run, at := range h.dies {
		if s.now >= at {
			h.known[run] = "ended"
			delete(h.dies, run)
			delete(s.alive, fmt.Sprint(h.id, "/", run))
		}
	}
	delay := time.Duration(0)
	if !h.up {
		delay = 2 * time.Second
	}
	for run, phase := range h.known {
		if phase == "running" && h.hold.Expired(h.clock(s.now), h.lease[run]+delay) {
			s.end(h, run)
		}
	}
	if !h.up {
		return
	}
	sent := h.clock(s.now)
	s.send(h.cut, func() {
		if !s.site.up {
			return
		}
		now := s.siteClock()
		s.site.heard[h.id] = now
		s.site.grants[h.id].Granted(now)
		g := Grant{Key: fmt.Sprint(s.site.key, "/", h.id), MS: (now - s.site.born).Milliseconds()}
		if s.site.run != "" && s.site.host == h.id && s.site.started {
			if p := h.known[s.site.run]; p == "ended" || p == "" {
				s.site.run = ""
			}
		}
		s.send(h.cut, func() {
			if h.up {
				h.hold.Granted(sent, g)
			}
		})
	})
}

func (s *sim) end(h *simHost, run string) {
	h.known[run] = "ending"
	// It may take all of its notice, and the executor its time to kill.
	took := time.Duration(rapid.IntRange(0, int((simNotice+10*time.Second)/time.Second)).Draw(s.t, "takes")) * time.Second
	h.dies[run] = s.now + took
}

func (s *sim) siteClock() time.Duration { return s.now } // the others drift against it

// plan is a turn of the site: it starts the job where it does not run, and takes a
// run for lost by the Grantor alone.
func (s *sim) plan() {
	x := &s.site
	if x.run != "" {
		h := s.hosts[x.host]
		if x.grants[x.host].Over(s.siteClock(), x.lease, simNotice) {
			x.run = ""
			return
		}
		if !x.started && x.heard[x.host] > 0 && s.siteClock()-x.heard[x.host] < Unreachable {
			// Start asks what became of its order, and forbids what has not come.
			run := x.run
			s.send(h.cut, func() {
				if !h.up {
					return
				}
				if h.known[run] == "" {
					h.known[run] = "forbidden"
				}
				phase := h.known[run]
				s.send(h.cut, func() {
					if x.run == run && phase == "forbidden" {
						x.run = ""
					} else if x.run == run {
						x.started = true
					}
				})
			})
		}
		return
	}
	n := rapid.IntRange(0, len(s.hosts)-1).Draw(s.t, "where")
	h := s.hosts[n]
	if x.heard[n] == 0 || s.siteClock()-x.heard[n] > Unreachable {
		return
	}
	s.runs++
	x.run, x.host, x.started = fmt.Sprint("r", s.runs), n, false
	x.lease = GangLease
	if rapid.Bool().Draw(s.t, "single") {
		x.lease = 3 * time.Minute // a keep that is short enough to be tried
	}
	run, lease := x.run, x.lease
	if rapid.IntRange(0, 2).Draw(s.t, "lost host") == 0 {
		h.cut = true // at the worst instant: the order is on its way
	}
	order := Grant{Key: fmt.Sprint(x.key, "/", n), MS: (s.siteClock() - x.born).Milliseconds()}
	s.send(h.cut, func() {
		if !h.up || h.known[run] != "" || !h.hold.Fresh(h.clock(s.now), order) {
			return
		}
		h.known[run], h.lease[run] = "running", lease
		s.alive[fmt.Sprint(n, "/", run)] = true
		s.send(h.cut, func() {
			if x.run == run {
				x.started = true
			}
		})
	})
}

// restart is a site that was killed and comes back: it knows its job's run, as its
// database does, and nothing of when it answered last.
func (s *sim) restart() {
	x := &s.site
	x.up, x.key, x.born = true, x.key+1, s.siteClock()
	for i := range s.hosts {
		x.grants[i] = &Grantor{Last: x.born}
		x.heard[i] = 0
	}
}

// Property: whatever is cut, lost, late or killed, a job never runs twice at once.
func TestNeverTwice(t *testing.T) {
	started := 0
	rapid.Check(t, func(t *rapid.T) {
		s := &sim{t: t, now: time.Hour, alive: map[string]bool{}}
		s.site = simSite{grants: map[int]*Grantor{}, heard: map[int]time.Duration{}}
		for i := range 3 {
			s.hosts = append(s.hosts, &simHost{
				id: i, up: true, known: map[string]string{}, lease: map[string]time.Duration{}, dies: map[string]time.Duration{},
				drift: 1 + float64(rapid.IntRange(-5, 5).Draw(t, "drift"))/1000, skew: time.Duration(rapid.IntRange(0, 1e6).Draw(t, "skew")) * time.Second,
			})
		}
		s.restart()
		for range rapid.IntRange(5, 40).Draw(t, "chapters") {
			h := rapid.SampledFrom(s.hosts).Draw(t, "host")
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			case 0, 1:
				h.cut = true
			case 2:
				h.cut = false
			case 3:
				h.up = false // kill -9: the lease is in its file
			case 4:
				h.up = true
			case 5:
				s.site.up = false
			case 6:
				if !s.site.up {
					s.restart()
				}
			}
			for range rapid.IntRange(1, 60).Draw(t, "seconds") {
				s.step(time.Second)
			}
		}
		started += s.runs
	})
	if started < 50 {
		t.Fatalf("only %d runs were started: nothing was tried", started)
	}
}

// The property has teeth: without what the horizon adds, it fails.
func TestHorizonHasNoRoomToSpare(t *testing.T) {
	h := Holder{}
	h.Granted(0, Grant{Key: "k"})
	g := Grantor{}
	g.Granted(0)
	// The slowest agent: told at the last instant, it stops at the lease's end and
	// takes all of its notice and of the executor's time.
	gone := GangLease + time.Duration(float64(GangLease)/200) + simNotice + 10*time.Second
	if g.Over(gone, GangLease, simNotice) {
		t.Fatal("taken for lost while it may be alive")
	}
	if !g.Over(gone+20*time.Second, GangLease, simNotice) {
		t.Fatal("not taken for lost although it cannot be alive")
	}
}

// An order to start counts only while both sides agree on the present: not one of
// an earlier life of the site, not one that was kept back, not one that reaches an
// agent whose own lease has not been renewed.
func TestLateOrdersAreRefused(t *testing.T) {
	h := Holder{}
	order := Grant{Key: "k", MS: 60_000}
	if h.Fresh(0, order) {
		t.Fatal("obeyed without a lease")
	}
	h.Granted(time.Minute, Grant{Key: "k", MS: 61_000})
	for what, x := range map[string]struct {
		now   time.Duration
		order Grant
		want  bool
	}{
		"at once":          {time.Minute, order, true},
		"another life":     {time.Minute, Grant{Key: "j", MS: 61_000}, false},
		"kept back":        {time.Minute, Grant{Key: "k", MS: 61_000 - 10_000}, false},
		"a lease too old":  {time.Minute + orderLife, order, false},
		"a lease just old": {time.Minute + orderLife - 1, order, true},
	} {
		if got := h.Fresh(x.now, x.order); got != x.want {
			t.Errorf("%s: %v", what, got)
		}
	}
	h.Granted(time.Second, Grant{Key: "old", MS: 1}) // an answer that comes late takes nothing back
	if h.Grant.Key != "k" {
		t.Fatal("a late answer took the lease back")
	}
}
