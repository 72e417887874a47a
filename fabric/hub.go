package fabric

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"sluice"
	"sluice/compute"
)

// Unreachable is how long a host may be silent before it counts as such.
const Unreachable = 4 * time.Second

// BeatEvery is how often an agent tells how it is.
const BeatEvery = time.Second

// Config is what a Hub is made of.
type Config struct {
	Dir     string // the fabric's own folder: authority and streams; made where missing
	Listen  string // host:port of the embedded server; not where Cluster has a URL
	Cluster Cluster
	Hosts   []string // that the configuration knows; others are refused
	Tokens  Tokens
	Journal Journal
	Log     *slog.Logger
	Now     func() time.Time // default time.Now

	// OnReach is told when a host begins to answer or ceases to, or to hold back what
	// it cannot start. It must not block.
	OnReach func(Reach)
	// OnTold is told what a host says of itself when that changes. It must not block.
	OnTold func(Told)
	// Power is what a host is told of power with each heartbeat; nil for nothing. It must
	// not block. Optional.
	Power func(host string) *Power
	// OnEvents is told what has become durable, in order for each host. Optional.
	OnEvents func(host string, events []Event)
}

// Reach says whether a host answers.
type Reach struct {
	Host  string
	OK    bool
	Since time.Time
	Why   string
	Held  map[compute.Isolation]string // while it answers: why runs of an isolation would not start there
}

// Told is what a host says of itself.
type Told struct {
	Host  string
	Facts Facts
	Fault string // why its GPUs may get no new jobs; empty: nothing is wrong
}

// Follower is told what hosts say. Its methods must not block for long.
type Follower interface {
	// Beat is called for each heartbeat, in order for each host.
	Beat(host string, b Beat)
	// Tracks says whether the run is one of the site's, Taken whether its end is
	// known and need not be told again.
	Tracks(run string) bool
	Taken(run string) bool
	// Log appends output of a run from a byte on and returns which byte it wants
	// next; false where it does not know the run.
	Log(host, run string, from int64, data []byte) (next int64, known bool, err error)
	// Control carries a call that a run made on its local socket.
	Control(ctx context.Context, host string, c ControlCall) (ControlReply, bool, error)
}

// Hub is the site's end of the fabric.
type Hub struct {
	cfg  Config
	gate *gate
	ca   *authority // nil with a cluster
	srv  *server.Server
	nc   *nats.Conn
	stop context.CancelFunc
	done sync.WaitGroup
	busy chan struct{} // bounds what is done for hosts at once
	born time.Duration

	mu        sync.Mutex
	hosts     map[string]*hostState
	followers []Follower
}

type hostState struct {
	name    string
	reach   Reach
	heard   time.Duration // Uptime of the last heartbeat
	heardAt time.Time
	epoch   string
	facts   *Facts
	fault   string
	running int
	pending int
	refused string
	key     string
	grants  Grantor
	before  map[string]Grantor       // of other data folders that were heard of
	strays  map[string]time.Duration // runs of nobody's → since
	stopped map[string]bool
}

// NewHub starts the fabric.
func NewHub(ctx context.Context, cfg Config) (*Hub, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	for _, name := range cfg.Hosts {
		if err := CheckHost(name); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "", "the fabric's folder: %v", err)
	}
	h := &Hub{cfg: cfg, hosts: map[string]*hostState{}, busy: make(chan struct{}, 64), born: Uptime()}
	for _, name := range cfg.Hosts {
		h.hosts[name] = &hostState{
			name: name, key: newKey(), grants: Grantor{Last: h.born}, strays: map[string]time.Duration{}, before: map[string]Grantor{}, stopped: map[string]bool{},
			reach: Reach{Host: name, Since: cfg.Now().UTC(), Why: "has not been heard of since the site's start"},
		}
	}
	if err := h.start(ctx); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func newKey() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func (h *Hub) start(ctx context.Context) error {
	secret := newKey()
	var err error
	if h.gate, err = newGate(ctx, h.cfg.Tokens, h.cfg.Now, secret); err != nil {
		return fmt.Errorf("start the fabric: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop = stop
	h.gate.joined = func(r TokenRecord) {
		if err := h.cfg.Tokens.PutToken(run, r); err != nil && run.Err() == nil {
			h.cfg.Log.Error("the joining of a host could not be noted; its token may expire", "host", r.Host, "err", err)
		}
	}
	if h.cfg.Cluster.URL == "" {
		if h.ca, err = loadAuthority(h.cfg.Dir, h.cfg.Now()); err != nil {
			return err
		}
		if h.srv, err = embedded(h.cfg.Dir, h.cfg.Listen, len(h.cfg.Hosts), h.gate, h.ca, h.cfg.Now, h.cfg.Log); err != nil {
			return err
		}
	}
	if h.nc, err = site(ctx, h.srv, secret, h.cfg.Cluster, h.cfg.Log); err != nil {
		return err
	}
	// Orders to runs are safe only once events have a place to go to.
	reader, err := openStream(ctx, h.nc)
	if err != nil {
		return err
	}
	for op, f := range map[string]func(*nats.Msg, string){"beat": h.beat, "log": h.later(h.log), "control": h.later(h.control)} {
		if _, err := h.nc.Subscribe(subjectRoot+"*.up."+op, h.checked(f)); err != nil {
			return fmt.Errorf("start the fabric: %w", err)
		}
	}
	if err := h.nc.Flush(); err != nil {
		return fmt.Errorf("start the fabric: %w", err)
	}
	h.done.Go(func() { h.watch(run) })
	h.done.Go(func() { h.drain(run, reader) })
	return nil
}

// Close ends the fabric. What runs on hosts goes on.
func (h *Hub) Close() {
	if h.stop != nil {
		h.stop()
	}
	if h.nc != nil {
		h.nc.Close()
	}
	h.done.Wait()
	if h.srv != nil {
		h.srv.Shutdown()
		h.srv.WaitForShutdown()
	}
}

// Address is where agents join, such as tls://127.0.0.1:4222.
func (h *Hub) Address() string {
	if h.srv == nil {
		return h.cfg.Cluster.URL
	}
	a, ok := h.srv.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	return "tls://" + a.String()
}

// Follow adds a follower.
func (h *Hub) Follow(f Follower) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.followers = append(h.followers, f)
}

// Unfollow removes it.
func (h *Hub) Unfollow(f Follower) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.followers = slices.DeleteFunc(slices.Clone(h.followers), func(x Follower) bool { return x == f })
}

func (h *Hub) following() []Follower {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.followers)
}

// Token makes a token with which a host may join until expires, or at any time
// where that is zero. Only its hash is kept. Errors: NotFound where the
// configuration has no such host.
func (h *Hub) Token(ctx context.Context, host string, expires time.Time, by string) (JoinToken, error) {
	if err := h.has(host); err != nil {
		return JoinToken{}, err
	}
	ca := ""
	if h.ca != nil {
		ca = h.ca.fingerprint()
	}
	t, err := NewToken(host, ca, h.ca == nil)
	if err != nil {
		return JoinToken{}, err
	}
	if err := h.gate.put(ctx, t.Record(h.cfg.Now(), expires, by)); err != nil {
		return JoinToken{}, fmt.Errorf("keep the token of %s: %w", host, err)
	}
	return t, nil
}

// Revoke makes all tokens of a host void and cuts its connection. Its runs go on
// until their lease is over.
func (h *Hub) Revoke(ctx context.Context, host string) (tokens int, err error) {
	if err := h.has(host); err != nil {
		return 0, err
	}
	n, ids, err := h.gate.revoke(ctx, host)
	if err != nil {
		return 0, fmt.Errorf("revoke the tokens of %s: %w", host, err)
	}
	if h.srv != nil {
		for _, id := range ids {
			_ = h.srv.DisconnectClientByID(id) // one that is gone needs no cut
		}
	}
	return n, nil
}

func (h *Hub) has(host string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hosts[host] != nil {
		return nil
	}
	return sluice.Errorf(sluice.NotFound, "add it to hosts in sluice.yaml with driver: agent, and restart", "the site's configuration has no host %q that an agent runs", host)
}

// Over says whether a run with that lease and notice, of the agent's data folder
// that epoch names, is certainly gone, whatever became of the host.
func (h *Hub) Over(host, epoch string, lease, notice time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := Grantor{Last: h.born}
	if s := h.hosts[host]; s != nil {
		if old, ok := s.before[epoch]; ok {
			g = old
		} else if epoch == s.epoch || s.epoch == "" || epoch == "" {
			g = s.grants
		}
	}
	return g.Over(Uptime(), lease, notice)
}

// Reach says whether a host answers, and since when it is so.
func (h *Hub) Reach(host string) (ok bool, since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.hosts[host]; s != nil {
		return s.reach.OK, s.reach.Since
	}
	return false, time.Time{}
}

// Epoch names the data folder of the host's agent, "" before it was heard of.
func (h *Hub) Epoch(host string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.hosts[host]; s != nil {
		return s.epoch
	}
	return ""
}

// HostStatus is a host as people see it.
type HostStatus struct {
	Name    string     `json:"name"`
	State   string     `json:"state"` // ready, silent, refused, waiting (never joined)
	Since   time.Time  `json:"since,omitzero"`
	HeardAt time.Time  `json:"heard_at,omitzero"`
	Why     string     `json:"why,omitempty"`
	Runs    int        `json:"runs"`
	Pending int        `json:"pending_events"`
	Tokens  int        `json:"tokens"` // that hold
	Facts   *Facts     `json:"facts,omitempty"`
	Revoked *time.Time `json:"revoked_at,omitempty"`

	Held map[compute.Isolation]string `json:"held,omitempty"`
}

// Hosts returns all hosts by name.
func (h *Hub) Hosts() []HostStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.cfg.Now()
	var out []HostStatus
	for _, s := range h.hosts {
		v := HostStatus{Name: s.name, State: "silent", Since: s.reach.Since, HeardAt: s.heardAt, Why: s.reach.Why, Runs: s.running, Pending: s.pending, Facts: s.facts}
		joined := false
		for _, t := range h.gate.of(s.name) {
			if t.Valid(now) {
				v.Tokens++
			} else if !t.RevokedAt.IsZero() {
				v.Revoked = &t.RevokedAt
			}
			joined = joined || !t.JoinedAt.IsZero()
		}
		switch {
		case s.reach.OK:
			v.State, v.Held = "ready", s.reach.Held
		case s.refused != "":
			v.State, v.Why = "refused", s.refused
		case !joined && s.heardAt.IsZero():
			v.State, v.Why = "waiting", "no agent has joined yet"
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b HostStatus) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// watch finds hosts that have fallen silent.
func (h *Hub) watch(ctx context.Context) {
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := Uptime()
		var tell []Reach
		h.mu.Lock()
		for _, s := range h.hosts {
			if s.reach.OK && now-s.heard > Unreachable {
				s.reach = Reach{Host: s.name, Since: h.cfg.Now().UTC(), Why: "its agent is silent"}
				tell = append(tell, s.reach)
			}
		}
		h.mu.Unlock()
		for _, r := range tell {
			h.tell(r)
		}
	}
}

func (h *Hub) tell(r Reach) {
	if h.cfg.OnReach != nil {
		h.cfg.OnReach(r)
	}
}

// Ask gives an order to a host and waits for its answer. out may be nil.
// Errors: Unavailable where the host does not answer; the agent's own.
func (h *Hub) Ask(ctx context.Context, host, op string, in any, data []byte, out any) ([]byte, error) {
	doing := func(err error) error { return fmt.Errorf("ask %s to %s: %w", host, op, err) }
	for try := 0; ; try++ {
		h.mu.Lock()
		s := h.hosts[host]
		var g Grant
		ok := false
		if s != nil {
			g, ok = Grant{s.key, (Uptime() - h.born).Milliseconds()}, s.reach.OK
		}
		h.mu.Unlock()
		if !ok {
			return nil, sluice.Errorf(sluice.Unavailable, "sluice host list tells since when", "the host %s does not answer", host)
		}
		b, err := h.ask(ctx, host, op, g, in, data, out)
		// The order can be there before the heartbeat's answer that carries its key.
		if err == nil || !errors.Is(err, errStale) || try >= 20 {
			if errors.Is(err, errStale) {
				err = sluice.Errorf(sluice.Unavailable, "", "the host %s does not know this site's key yet", host)
			}
			if err != nil {
				err = doing(err)
			}
			return b, err
		}
		select {
		case <-ctx.Done():
			return nil, doing(ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// askTimeout is how long an order may take. What takes longer is asked for again.
const askTimeout = 10 * time.Second

var errStale = errors.New("stale")

const staleText = "stale order"

func (h *Hub) ask(ctx context.Context, host, op string, g Grant, in any, data []byte, out any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := marshal(in)
	if err != nil {
		return nil, err
	}
	msg, err := pack(Order{Grant: g, Body: body}, data)
	if err != nil {
		return nil, err
	}
	m, err := h.nc.RequestWithContext(ctx, downSubject(host, op), msg)
	if err != nil {
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "no answer", Cause: err}
	}
	var a Answer
	rest, err := unpack(m.Data, &a)
	if err != nil {
		return nil, err
	}
	if a.Err == staleText {
		return nil, errStale
	}
	if a.Err != "" {
		return nil, &sluice.Error{Kind: a.Kind, Msg: a.Err, Hint: a.Hint}
	}
	if out != nil {
		if err := strict(a.Body, out); err != nil {
			return nil, err
		}
	}
	return rest, nil
}
