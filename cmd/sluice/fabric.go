package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

	readings *hostReadings

	mu    sync.Mutex
	jobs  *compute.Service
	reach map[string]fabric.Reach
	unfit map[string]string // why a host's GPUs take no jobs
	want  map[string]config.Host

	power atomic.Pointer[map[string]*fabric.Power] // what each host is told of it
	gives map[string][]compute.Isolation           // as attested
}

// withFabric starts the fabric where the configuration has hosts that agents run.
func (p *parts) withFabric(ctx context.Context, c *config.Config, db *store.DB, log *slog.Logger) error {
	var names []string
	want, gives := map[string]config.Host{}, map[string][]compute.Isolation{}
	for _, h := range c.Hosts {
		if h.Driver == "agent" {
			names = append(names, h.Name)
			want[h.Name] = h
			gives[h.Name] = p.addAgent(h)
		}
	}
	if len(names) == 0 {
		return nil
	}
	join := count(len(names), "other host") + " join"
	if len(names) == 1 {
		join += "s"
	}
	password, err := c.Fabric.Password.Reveal()
	if err != nil {
		return fmt.Errorf("fabric.password: %w", err)
	}
	j := &joined{cfg: c.Fabric, log: log, readings: p.hostReadings, reach: map[string]fabric.Reach{}, unfit: map[string]string{}, want: want, gives: gives}
	j.hub, err = fabric.NewHub(ctx, fabric.Config{
		Dir: filepath.Join(db.Dir(), "fabric"), Listen: c.Fabric.Listen, Hosts: names,
		Cluster: fabric.Cluster{URL: c.Fabric.URL, CAFile: c.Fabric.CA, Credentials: c.Fabric.Credentials, User: c.Fabric.User, Password: password},
		Tokens:  db.Fabric(), Journal: db.Fabric(), Log: log, OnReach: j.reached,
		Power: j.powerFor, OnTold: j.told, OnEvents: p.hostReadings.events,
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
	p.alongside = append(p.alongside, func(ctx context.Context, r *running) {
		j.tellPower(ctx, r, c.Site.Overhead, controlled(c.Site))
	}, func(ctx context.Context, r *running) {
		every(ctx, 5*time.Second, func() { tellDisks(r.jobs, j.hub.Hosts()) })
	})
	before, attach := p.close, p.attach
	p.close = func() { j.exec.Close(); j.hub.Close(); before() }
	p.attach = func(r *running) error {
		j.follow(r.jobs)
		tellDisks(r.jobs, j.hub.Hosts())
		if attach != nil {
			return attach(r)
		}
		return nil
	}
	p.banner += fmt.Sprintf("  %s at %s (sluice host token NAME)\n", join, j.hub.Address())
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
		Name: h.Name, Class: first(h.Class, h.Name), Executor: "remote", Units: h.Slots, CPUs: h.CPUs, MemoryGB: h.Memory, DiskGB: h.Disk, GPUModel: h.GPU,
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

// told keeps new jobs off a host whose GPUs are not those that the configuration says,
// or are broken.
func (j *joined) told(t fabric.Told) {
	why := unfit(j.want[t.Host], t)
	j.mu.Lock()
	defer j.mu.Unlock()
	if why == j.unfit[t.Host] {
		return
	}
	j.unfit[t.Host] = why
	if j.jobs != nil {
		_ = j.jobs.Block(t.Host, compute.BlockedByGPU, why)
	}
	if why != "" {
		j.log.Error("a host takes no jobs", "host", t.Host, "why", why)
	} else {
		j.log.Info("a host takes jobs again", "host", t.Host)
	}
}

// unfit says why a host cannot have the GPUs that jobs were to get there.
func unfit(h config.Host, t fabric.Told) string {
	n := len(t.Facts.GPUs)
	switch {
	case h.GPU == "":
		return ""
	case t.Fault != "":
		return t.Fault
	case n == 0:
		return fmt.Sprintf("its agent has no GPUs for jobs, the configuration says %d %s", h.Slots, h.GPU)
	case t.Facts.GPUs[0].Model != h.GPU:
		return fmt.Sprintf("it has GPUs of the model %s, the configuration says %s", t.Facts.GPUs[0].Model, h.GPU)
	case n < h.Slots:
		return fmt.Sprintf("it has %d GPUs for jobs, the configuration says %d", n, h.Slots)
	}
	return ""
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
	for host, why := range j.unfit {
		_ = jobs.Block(host, compute.BlockedByGPU, why)
	}
}

// tellDisks tells the jobs how much disk the hosts say that they have.
func tellDisks(jobs *compute.Service, hosts []fabric.HostStatus) {
	for _, h := range hosts {
		if h.Facts != nil && h.Facts.DiskBytes > 0 {
			jobs.SetDisk(h.Name, float64(h.Facts.DiskBytes)/(1<<30))
		}
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
			for _, g := range f.GPUs {
				v.GPUList = append(v.GPUList, server.HostGPU{Index: g.Index, UUID: g.UUID, Model: g.Model, MemoryBytes: g.MemoryBytes, FullLimitW: g.LimitW})
			}
		}
		addReadings(&v, j.readings.of(h.Name))
		for _, i := range j.gives[h.Name] {
			if why := h.Held[i]; why != "" && v.Why == "" {
				v.Why = string(i) + ": " + why
			}
		}
		j.mu.Lock()
		if v.State == "ready" && j.unfit[h.Name] != "" {
			v.State, v.Why = "fault", j.unfit[h.Name]
		}
		j.mu.Unlock()
		if v.State != "ready" && v.State != "fault" && v.Tokens == 0 {
			v.Why = "it has no token: it never had one, or they were revoked (sluice host token " + v.Name + ")"
		}
		out = append(out, v)
	}
	return out, nil
}

// addReadings adds what a host measured last.
func addReadings(v *server.JoinedHost, rs []fabric.Reading) {
	for _, r := range rs {
		if v.ReadAt == nil || r.At.After(*v.ReadAt) {
			v.ReadAt = timeOrNil(r.At)
		}
		x := r.Value
		at := slices.IndexFunc(v.GPUList, func(g server.HostGPU) bool { return strconv.Itoa(g.Index) == r.Labels["gpu"] })
		switch {
		case r.Name == "cpu_busy":
			v.CPUBusy = &x
		case r.Name == "cpu_power":
			v.CPUPowerW = &x
		case r.Name == "memory_used":
			v.MemoryUsedBytes = &x
		case r.Name == "disk_free":
			v.DiskFreeBytes = &x
		case at < 0:
		case r.Name == "gpu_power":
			v.GPUList[at].PowerW = &x
		case r.Name == "gpu_limit":
			v.GPUList[at].LimitW = &x
		case r.Name == "gpu_busy":
			v.GPUList[at].Busy = &x
		case r.Name == "gpu_temperature":
			v.GPUList[at].TempC = &x
		case r.Name == "gpu_memory_used":
			v.GPUList[at].MemoryUsedBytes = &x
		}
	}
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
