package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/compute"
	remotes "sluice/compute/remote"
	"sluice/config"
	"sluice/fabric"
	"sluice/server"
	"sluice/store"
)

// joined are the hosts that agents run: the site's end of the fabric and the
// executor over it. It is a server.Hosts.
type joined struct {
	hub  *fabric.Hub
	exec *remotes.Executor
	cfg  config.Fabric
	log  *slog.Logger

	mu    sync.Mutex
	jobs  *compute.Service
	reach map[string]fabric.Reach
	gives map[string][]compute.Isolation // as attested
}

// withFabric starts the fabric where the configuration has hosts that agents run.
func (p *parts) withFabric(ctx context.Context, c *config.Config, db *store.DB, log *slog.Logger) error {
	var names []string
	gives := map[string][]compute.Isolation{}
	for _, h := range c.Hosts {
		if h.Driver == "agent" {
			names = append(names, h.Name)
			gives[h.Name] = p.addAgent(h)
		}
	}
	if len(names) == 0 {
		return nil
	}
	password, err := c.Fabric.Password.Reveal()
	if err != nil {
		return fmt.Errorf("fabric.password: %w", err)
	}
	j := &joined{cfg: c.Fabric, log: log, reach: map[string]fabric.Reach{}, gives: gives}
	j.hub, err = fabric.NewHub(ctx, fabric.Config{
		Dir: filepath.Join(db.Dir(), "fabric"), Listen: c.Fabric.Listen, Hosts: names,
		Cluster: fabric.Cluster{URL: c.Fabric.URL, CAFile: c.Fabric.CA, Credentials: c.Fabric.Credentials, User: c.Fabric.User, Password: password},
		Tokens:  db.Fabric(), Journal: db.Fabric(), Log: log, OnReach: j.reached,
	})
	if err != nil {
		return err
	}
	j.exec = remotes.New(j.hub, remotes.Config{Keep: c.Fabric.Keep.Duration(), Log: log})
	p.executors["remote"] = j.exec
	p.joined = j
	for _, h := range j.hub.Hosts() {
		j.reached(fabric.Reach{Host: h.Name, Since: h.Since, Why: h.Why})
	}
	before, attach := p.close, p.attach
	p.close = func() { j.exec.Close(); j.hub.Close(); before() }
	p.attach = func(r *running) error {
		j.follow(r.jobs)
		if attach != nil {
			return attach(r)
		}
		return nil
	}
	p.banner += fmt.Sprintf("  %d other hosts join at %s (sluice host token NAME)\n", len(names), j.hub.Address())
	return nil
}

// hostDesk is what the API asks about hosts; nil where none joins.
func (p *parts) hostDesk() server.Hosts {
	if p.joined == nil {
		return nil
	}
	return p.joined
}

// addAgent makes a host of one that an agent runs.
func (p *parts) addAgent(h config.Host) []compute.Isolation {
	x := compute.Host{
		Name: h.Name, Class: first(h.Class, h.Name), Executor: "remote", Units: h.Slots, CPUs: h.CPUs, MemoryGB: h.Memory, GPUModel: h.GPU,
		IdleW: sluice.Watts(h.IdlePower), UnitW: sluice.Watts(h.SlotPower), Real: true, Remote: true,
		Address: h.Address, Region: h.Region, Labels: labelsOf(h), GangNet: gangNetOf(h.Containers),
	}
	if x.CPUs == 0 && h.GPU == "" {
		x.CPUs = h.Slots
	}
	for _, i := range h.Isolations {
		x.Isolations = append(x.Isolations, compute.Isolation(i))
	}
	p.addToClass(h, x, first(h.GPU, "joined machine"))
	return x.Isolations
}

// labelsOf is what the operator attests of a host.
func labelsOf(h config.Host) map[string]string {
	out := map[string]string{}
	for _, l := range h.Labels {
		k, v, _ := strings.Cut(l, "=")
		out[k] = v
	}
	return out
}

// reached keeps new jobs off a host that does not answer.
func (j *joined) reached(r fabric.Reach) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before, known := j.reach[r.Host]
	j.reach[r.Host] = r
	if j.jobs != nil {
		j.block(r)
	}
	for _, i := range j.gives[r.Host] { // what it does not have to give is no news
		if why := r.Held[i]; why != "" && why != beingTried && before.Held[i] != why {
			j.log.Warn("jobs for a host wait", "host", r.Host, "isolation", i, "why", why)
		}
	}
	switch {
	case r.OK && before.OK:
	case r.OK:
		j.log.Info("a host answers", "host", r.Host)
	case known:
		j.log.Warn("a host does not answer", "host", r.Host, "why", r.Why)
	}
}

func (j *joined) block(r fabric.Reach) {
	why := ""
	if !r.OK {
		why = "does not answer since " + r.Since.Format(time.TimeOnly) + " UTC: " + r.Why
	}
	_ = j.jobs.Block(r.Host, compute.BlockedByFabric, why) // a host of the configuration is known
	for _, i := range compute.Isolations() {
		_ = j.jobs.HoldBack(r.Host, i, r.Held[i])
	}
}

// follow tells the jobs which hosts answer, from now on.
func (j *joined) follow(jobs *compute.Service) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.jobs = jobs
	for _, r := range j.reach {
		j.block(r)
	}
}

// List returns the hosts by name.
func (j *joined) List(context.Context) ([]server.JoinedHost, error) {
	out := []server.JoinedHost{}
	for _, h := range j.hub.Hosts() {
		v := server.JoinedHost{
			Name: h.Name, State: h.State, Since: timeOrNil(h.Since), HeardAt: timeOrNil(h.HeardAt), Why: h.Why,
			Runs: h.Runs, Pending: h.Pending, Tokens: h.Tokens,
		}
		if f := h.Facts; f != nil {
			v.Address, v.Version, v.CPUs, v.MemoryBytes, v.DiskBytes = f.Address, f.Version, f.CPUs, f.MemoryBytes, f.DiskBytes
			v.GPUs, v.Executors = len(f.GPUs), f.Executors
		}
		for _, i := range j.gives[h.Name] {
			if why := h.Held[i]; why != "" && v.Why == "" {
				v.Why = string(i) + ": " + why
			}
		}
		if v.State != "ready" && v.Tokens == 0 {
			v.Why = "it has no token: it never had one, or they were revoked (sluice host token " + v.Name + ")"
		}
		out = append(out, v)
	}
	return out, nil
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Token makes a token.
func (j *joined) Token(ctx context.Context, host string, within time.Duration, by string) (server.HostToken, error) {
	until := time.Now().Add(within).UTC().Truncate(time.Second)
	t, err := j.hub.Token(ctx, host, until, by)
	if err != nil {
		return server.HostToken{}, err
	}
	out := server.HostToken{Host: host, Token: t.Text(), URL: j.hub.Address(), Until: &until}
	if t.External {
		if out.NATS, err = t.ClusterUser(); err != nil {
			return server.HostToken{}, err
		}
	}
	return out, nil
}

// Revoke makes a host's tokens void.
func (j *joined) Revoke(ctx context.Context, host, by string) (int, error) {
	n, err := j.hub.Revoke(ctx, host)
	if err == nil {
		j.log.Warn("the tokens of a host were revoked", "host", host, "by", by, "tokens", n)
	}
	return n, err
}

// Lost takes a host for gone.
func (j *joined) Lost(_ context.Context, host, by string) (int, error) {
	if ok, _ := j.hub.Reach(host); ok {
		return 0, sluice.Errorf(sluice.Conflict, "stop its agent, or switch it off, first", "the host %s answers: it is not lost", host)
	}
	if j.hub.Epoch(host) == "" {
		known := false
		for _, h := range j.hub.Hosts() {
			known = known || h.Name == host
		}
		if !known {
			return 0, sluice.Errorf(sluice.NotFound, "sluice host list shows them", "no host %q", host)
		}
	}
	n := j.exec.Lost(host, by)
	j.log.Warn("a host was declared lost", "host", host, "by", by, "runs", n)
	return n, nil
}
