package compute

import (
	"context"

	"sluice"
)

// HostLimits limit the power of whole hosts, by what manages them: a server's own
// controller. It needs no rights on the host and no driver of its GPUs, and it limits
// all that runs there.
type HostLimits interface {
	// Can says whether the host's power can be limited now.
	Can(host string) bool
	// Limit keeps the host below the watts and returns the limit in force. What held
	// before is remembered, and an operator's own limit is never raised. An error means
	// that no limit can be counted on.
	Limit(ctx context.Context, host string, w sluice.Watts) (sluice.Watts, error)
	// Lift puts back what held before.
	Lift(ctx context.Context, host string) error
	// Held says whether a limit of ours stands at the host, wanted or not.
	Held(host string) bool
	// Fault says why the host's controller is not relied on; "" where it is.
	Fault(host string) string
}

// canLimitHost says whether the host may be limited for the job: a host's limit slows
// all that runs there, so the job must have it to itself. The caller holds mu.
func (s *Service) canLimitHost(e *entry, host string) bool {
	return s.cfg.HostLimits != nil && s.alone(e, host) && s.hosts[host].UnitW > 0 && s.cfg.HostLimits.Can(host)
}

// alone says whether no other job has units of the host. The caller holds mu.
func (s *Service) alone(e *entry, host string) bool {
	for _, o := range s.active {
		for i := range o.Nodes {
			if o != e && o.Nodes[i].Host == host && o.Nodes[i].Exit == nil {
				return false
			}
		}
	}
	return true
}

// limitHost limits a host so that the job's units there have the share of their power,
// 1 for no limit, and returns the share in force. What is wanted is noted first, so
// that nobody who looks after the limits takes it for one that is over.
func (s *Service) limitHost(ctx context.Context, e *entry, run, host string, share float64) (float64, error) {
	s.mu.Lock()
	var full, had, base sluice.Watts
	for _, n := range e.Nodes {
		if n.Host == host {
			full += s.hosts[host].power(n.Units)
			had, base = max(had, n.HostLimitW), max(base, n.HostBaseW)
		}
	}
	if had == 0 {
		base = s.besideJobs(host, full)
	}
	s.mu.Unlock()
	want := base + sluice.Watts(share*float64(full))
	if share >= 1 {
		want = 0
	}
	s.noteHostLimit(e, run, host, want, base)
	if want == 0 {
		err := s.cfg.HostLimits.Lift(ctx, host)
		if err != nil {
			s.noteHostLimit(e, run, host, had, base)
		}
		return 1, err
	}
	got, err := s.cfg.HostLimits.Limit(ctx, host, want)
	if err != nil {
		s.noteHostLimit(e, run, host, had, base)
		return 0, err
	}
	s.noteHostLimit(e, run, host, got, base)
	return max(0.01, min(1, float64(got-base)/float64(full))), nil
}

// besideJobs is what the host draws besides its jobs, which draw full power at most: by
// the configuration, or what its meter shows to be more. The caller holds mu.
func (s *Service) besideJobs(host string, full sluice.Watts) sluice.Watts {
	base := s.hosts[host].IdleW
	if s.cfg.HostPower != nil {
		if w, ok := s.cfg.HostPower(host); ok {
			base = max(base, w-full)
		}
	}
	return base
}

func (s *Service) noteHostLimit(e *entry, run, host string, w, base sluice.Watts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Job.RunID != run {
		return
	}
	if w == 0 {
		base = 0
	}
	for i := range e.Nodes {
		if n := &e.Nodes[i]; n.Host == host {
			n.HostLimitW, n.HostBaseW = w, base
		}
	}
	s.touch(e)
}

// HostLimit is what the host is to be kept below for the job on it, 0 for nothing.
func (s *Service) HostLimit(host string) sluice.Watts {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.active {
		for i := range e.Nodes {
			if n := &e.Nodes[i]; n.Host == host && n.Exit == nil && n.HostLimitW > 0 {
				return n.HostLimitW
			}
		}
	}
	return 0
}

// HostLimitIgnored says that the host draws more than its limit: the job there counts
// as not limited from now on, so that what a limit of the site needs is found
// elsewhere. The other nodes of a gang get their power back.
func (s *Service) HostLimitIgnored(ctx context.Context, host string) error {
	type capped struct {
		x Capper
		h Handle
	}
	var others []capped
	s.mu.Lock()
	for _, e := range s.active {
		hit := false
		for i := range e.Nodes {
			hit = hit || e.Nodes[i].Host == host && e.Nodes[i].HostLimitW > 0
		}
		if !hit {
			continue
		}
		for i := range e.Nodes {
			n := &e.Nodes[i]
			if x, ok := s.capper(e, i); ok && n.HostLimitW == 0 && n.Exit == nil {
				others = append(others, capped{x, n.Handle})
			}
			n.HostLimitW, n.HostBaseW = 0, 0
		}
		s.setShare(e, 1)
	}
	s.mu.Unlock()
	for _, o := range others {
		_, _ = o.x.Cap(ctx, o.h, 1) // else it ends with the run
	}
	return s.Sync(ctx)
}
