package compute

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"sluice"
)

// HostUse is what a host does now.
type HostUse struct {
	UnitsBusy int
	Silent    string       // why it cannot be heard; "" where it can
	Fault     string       // what is broken of it; "" for nothing
	Held      string       // why some of its isolations cannot be had at present
	Measured  bool         // PowerW is the host's own reading
	JobsW     sluice.Watts // of the jobs on it, by their readings or by UnitW
	PowerW    sluice.Watts // IdleW + UnitW × busy units, less what limits of power keep off
	Jobs      []string     // that hold its units, sorted

	LimitW     sluice.Watts // that its controller keeps it below, 0 for none of ours
	LimitFault string       // why that controller is not relied on; "" where it is
}

// HostUse returns the use of every host. Units count as busy from the start of
// a job until nothing of it is left.
func (s *Service) HostUse() map[string]HostUse {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]HostUse, len(s.hosts))
	for _, e := range s.active {
		for i := range e.Nodes {
			u := out[e.Nodes[i].Host]
			u.UnitsBusy += e.Nodes[i].Units
			if share := e.Job.PowerShare; share > 0 {
				u.PowerW -= sluice.Watts((1 - share) * float64(s.hosts[e.Nodes[i].Host].power(e.Nodes[i].Units)))
			}
			u.JobsW += s.nodePower(e, i)
			u.LimitW = max(u.LimitW, e.Nodes[i].HostLimitW)
			if n := len(u.Jobs); n == 0 || u.Jobs[n-1] != e.Job.ID {
				u.Jobs = append(u.Jobs, e.Job.ID)
			}
			out[e.Nodes[i].Host] = u
		}
	}
	for name, h := range s.hosts {
		u := out[name]
		u.PowerW += h.IdleW + h.UnitW*sluice.Watts(u.UnitsBusy)
		if s.cfg.HostPower != nil && h.Real {
			if w, ok := s.cfg.HostPower(name); ok {
				u.PowerW, u.Measured = w, true
			}
		}
		if s.cfg.HostLimits != nil {
			u.LimitFault = s.cfg.HostLimits.Fault(name)
		}
		u.Silent, u.Fault = s.blocked[name][BlockedByFabric], s.blocked[name][BlockedByGPU]
		for _, i := range Isolations() {
			if why := s.heldBack[name][i]; why != "" && u.Held != why {
				u.Held = strings.TrimPrefix(u.Held+"; "+why, "; ")
			}
		}
		slices.Sort(u.Jobs)
		out[name] = u
	}
	return out
}

// nodePower is what a node draws now: by the readings of its units, else by what
// its host is said to draw for each. Callers hold mu.
func (s *Service) nodePower(e *entry, rank int) sluice.Watts {
	if rank < len(e.live) && e.live[rank].Power > 0 {
		return e.live[rank].Power
	}
	w := float64(s.hosts[e.Nodes[rank].Host].power(e.Nodes[rank].Units))
	if share := e.Job.PowerShare; share > 0 {
		w *= share
	}
	return sluice.Watts(w)
}

// Who keeps jobs off a host. Each lifts what it has said itself and nothing else: a
// machine that answers again is still locked by the person who works on it.
const (
	BlockedByHand   = "hand"   // an operator's lock
	BlockedByFabric = "fabric" // it does not answer
	BlockedByGPU    = "gpu"    // one of its GPUs is broken
)

// Block keeps new jobs off a host, by somebody, until it is called by the same with
// an empty why. What runs there goes on. It is not stored.
func (s *Service) Block(host, by, why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.hosts[host]; !ok {
		return sluice.Errorf(sluice.NotFound, "", "no host %q", host)
	}
	if why == "" {
		if _, was := s.blocked[host][by]; was {
			delete(s.blocked[host], by)
			s.freed = true
		}
		return nil
	}
	if s.blocked[host] == nil {
		s.blocked[host] = map[string]string{}
	}
	s.blocked[host][by] = why
	return nil
}

// RoomFreed says whether a host has begun to take jobs again, or told of more disk, since
// this was asked last: jobs that wait may have a place now, and none of them has changed.
func (s *Service) RoomFreed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.freed
	s.freed = false
	return was
}

// HoldBack keeps new jobs that an isolation is for off a host, until it is called
// with an empty why. What runs there goes on. It is not stored.
func (s *Service) HoldBack(host string, i Isolation, why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.hosts[host]; !ok {
		return sluice.Errorf(sluice.NotFound, "", "no host %q", host)
	}
	if why == "" {
		s.freed = s.freed || s.heldBack[host][i] != ""
		if delete(s.heldBack[host], i); len(s.heldBack[host]) == 0 {
			delete(s.heldBack, host)
		}
		return nil
	}
	if s.heldBack[host] == nil {
		s.heldBack[host] = map[Isolation]string{}
	}
	s.heldBack[host][i] = why
	return nil
}

// HeldBack is why a job cannot start on any host of its class that would take it,
// where all of these hold it back at present; else "".
func (s *Service) HeldBack(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.jobs[id]
	if e == nil || e.Job.Virtual || len(s.heldBack) == 0 {
		return ""
	}
	t, _ := s.tenant(e.Job.Tenant)
	res, first := e.Task.Resources, ""
	for _, h := range s.cfg.Hosts {
		if h.Class != e.Job.Class || s.refuses(h, e.Task, res, t) != "" {
			continue
		}
		why := s.heldWhy(h, isolation(e.Task, res, t))
		if why == "" {
			return ""
		}
		first = cmp.Or(first, "held back on "+h.Name+": "+why)
	}
	return first
}

// heldWhy is what keeps work of the isolation off a host at present, or "". The
// caller holds mu.
func (s *Service) heldWhy(h Host, want Isolation) string {
	if !h.Real {
		return ""
	}
	_, gives := h.ExecutorFor(want)
	return s.heldBack[h.Name][gives]
}

// blockedWhy is all that keeps jobs off a host, or "". The caller holds mu.
func (s *Service) blockedWhy(host string) string {
	var why []string
	for _, by := range slices.Sorted(maps.Keys(s.blocked[host])) {
		why = append(why, s.blocked[host][by])
	}
	if s.cfg.HostLimits != nil && s.cfg.HostLimits.Held(host) {
		why = append(why, "its controller limits its power, which would slow a new job too")
	}
	return strings.Join(why, "; ")
}

// Fit is where one alternative of a task could run.
type Fit struct {
	Resources Resources
	Choices   []Choice // classes of hosts that could hold it, the cheapest first
	Virtual   bool
	Err       error // why none could; nil where one can
}

// Fits says where a request could run on an empty site: of each alternative of its
// task the classes of hosts, with their prices, and why where there is none.
func (s *Service) Fits(r SubmitRequest) []Fit {
	t, _ := s.tenant(r.Tenant)
	asked := r.Choices
	if len(asked) == 0 {
		for _, res := range r.Task.Alternatives() {
			asked = append(asked, Choice{Class: r.Class, Resources: res, UnitsPerNode: r.Units, RateUSDHour: r.RateUSDHour, StrikeUSDMWh: r.StrikeUSDMWh})
		}
	}
	out := make([]Fit, len(asked))
	for i, c := range asked {
		out[i] = s.fitOne(c, r, t)
	}
	return out
}

// fit returns all choices of a request, in order of preference.
func (s *Service) fit(r SubmitRequest) (choices []Choice, virtual bool, err error) {
	for _, f := range s.Fits(r) {
		if f.Err != nil {
			err = cmp.Or(err, f.Err)
			continue
		}
		if len(choices) > 0 && f.Virtual != virtual {
			continue
		}
		choices, virtual = append(choices, f.Choices...), f.Virtual
	}
	if len(choices) == 0 {
		return nil, false, err
	}
	return inOrder(r.Task, choices), virtual, nil
}

func (s *Service) fitOne(c Choice, r SubmitRequest, t Tenant) Fit {
	out := Fit{Resources: c.Resources}
	if c.UnitsPerNode <= 0 {
		c.UnitsPerNode = unitsOf(c.Resources)
	}
	var classes []string
	models := map[string]bool{}
	for _, h := range s.cfg.Hosts {
		if h.GPUModel != "" {
			models[h.GPUModel] = true
		}
		switch {
		case slices.Contains(classes, h.Class):
		case c.Class != "" && h.Class == c.Class, c.Class == "" && strings.EqualFold(h.GPUModel, c.Resources.Accelerator):
			classes = append(classes, h.Class)
		}
	}
	for _, class := range classes {
		one := c
		one.Class = class
		virtual, err := s.fitClass(one, r, t)
		switch {
		case err != nil:
			out.Err = cmp.Or(out.Err, err)
		case len(out.Choices) == 0 || virtual == out.Virtual:
			if one.RateUSDHour == 0 && s.cfg.Price != nil {
				one.RateUSDHour, one.StrikeUSDMWh = s.cfg.Price(class, r.Interruptible || c.Resources.UseSpot)
			}
			out.Choices, out.Virtual = append(out.Choices, one), virtual
		}
	}
	if len(out.Choices) > 0 {
		out.Err = nil
		out.Choices = inOrder(&Task{}, out.Choices)
		return out
	}
	if out.Err == nil {
		hint := "this site has no GPUs: leave accelerators out to run on CPUs"
		if len(models) > 0 {
			hint = "this site has " + strings.Join(slices.Sorted(maps.Keys(models)), ", ")
		}
		out.Err = sluice.Errorf(sluice.Invalid, hint, "no host here has %s", cmp.Or(c.Resources.Accelerator, c.Class, "a CPU slot"))
	}
	return out
}

// fitClass says whether the hosts of a class could hold all nodes at once.
func (s *Service) fitClass(c Choice, r SubmitRequest, t Tenant) (virtual bool, err error) {
	refused := map[string]string{}
	nodes, held, most, seen := max(1, r.Task.NumNodes), 0, 0, false
	var may []Host
	for _, h := range s.cfg.Hosts {
		if h.Class != c.Class {
			continue
		}
		why := s.refuses(h, r.Task, c.Resources, t)
		switch {
		case r.Virtual && h.Real:
			why = "it is a real host"
		case r.Real && !h.Real:
			why = "it is virtual and runs no real process"
		}
		if why != "" {
			refused[h.Name] = why
			continue
		}
		s.mu.Lock()
		h.DiskGB = s.diskOf(h)
		s.mu.Unlock()
		seen, virtual = true, !h.Real
		most = max(most, h.Units)
		held += holdsNodes(h, c.Resources, c.UnitsPerNode)
		may = append(may, h)
	}
	want, together := isolation(r.Task, c.Resources, t), 0
	for _, in := range parts(may, nodes, c.UnitsPerNode, want) {
		n := 0
		for _, h := range may {
			if in.has(h, want) {
				n += holdsNodes(h, c.Resources, c.UnitsPerNode)
			}
		}
		together = max(together, n)
	}
	what, disk := cmp.Or(c.Resources.Accelerator, c.Class), ""
	if c.Resources.DiskGB > 0 {
		disk = fmt.Sprintf(" and %g GB of disk", c.Resources.DiskGB)
	}
	switch {
	case together >= nodes:
		return virtual, nil
	case held >= nodes:
		return false, sluice.Errorf(sluice.Invalid, "ask for fewer or smaller nodes, or let the operator connect containers by gang_network (docs/isolation.md)",
			"the hosts of class %s can hold its %d nodes, but only %d in containers that reach each other", c.Class, nodes, together)
	case !seen:
		return false, sluice.Errorf(sluice.Invalid, "the operator attests regions, labels and isolation under hosts: in sluice.yaml",
			"no host with %s may take this task: %s", what, reasons(refused))
	case held > 0:
		return false, sluice.Errorf(sluice.Invalid, "ask for fewer or smaller nodes", "the hosts of class %s can hold %d of its %d nodes at once", c.Class, held, nodes)
	}
	return false, sluice.Errorf(sluice.Invalid, "ask for less for each node, or for more nodes",
		"no host here has %s for this task: it asks for %d units, %g CPUs and %g GB%s, the largest host has %d units",
		what, c.UnitsPerNode, c.Resources.CPUs, c.Resources.MemoryGB, disk, most)
}

// holdsNodes is how many nodes an empty host could run.
func holdsNodes(h Host, r Resources, units int) int {
	n := h.Units / units
	limit := func(has, asks float64) {
		if has > 0 && asks > 0 {
			n = min(n, int(has/asks))
		}
	}
	limit(float64(h.CPUs), r.CPUs)
	limit(h.MemoryGB, r.MemoryGB)
	limit(h.DiskGB, r.DiskGB)
	return n
}

// refuses says why the host may never take such work of the tenant, or "".
func (s *Service) refuses(h Host, task *Task, r Resources, t Tenant) string {
	if r.Region != "" && !within(h.Region, r.Region) {
		return "its region is " + cmp.Or(h.Region, "not attested") + ", the task wants " + r.Region
	}
	if len(t.Regions) > 0 && !slices.ContainsFunc(t.Regions, func(x string) bool { return within(h.Region, x) }) {
		return "its region is " + cmp.Or(h.Region, "not attested") + ", the tenant's data stay in " + strings.Join(t.Regions, ", ")
	}
	for _, want := range []map[string]string{r.Labels, t.Labels} {
		if len(want) == 0 {
			continue // asked of each host for each submission: an order of nothing costs too
		}
		for _, k := range slices.Sorted(maps.Keys(want)) {
			if h.Labels[k] != want[k] {
				return fmt.Sprintf("it is not attested %s=%s", k, want[k])
			}
		}
	}
	if h.Real {
		want := isolation(task, r, t)
		if x, _ := h.ExecutorFor(want); x == "" {
			if what := task.NeedsContainer(); what != "" && want == IsolationContainer {
				return "it runs no containers, which " + what + " needs"
			}
			return "it cannot isolate work as " + string(want)
		}
	}
	return ""
}

// within says whether a region is one or lies in it: DE-HE in DE.
func within(region, in string) bool {
	return strings.EqualFold(region, in) || len(region) > len(in) && region[len(in)] == '-' && strings.EqualFold(region[:len(in)], in)
}

// isolation is what a tenant's work needs at least.
func isolation(task *Task, r Resources, t Tenant) Isolation {
	least := t.Floor()
	if !least.AtLeast(IsolationContainer) && (r.Image != "" || task.NeedsContainer() != "") {
		least = IsolationContainer
	}
	if r.Isolation != "" && r.Isolation.AtLeast(least) {
		return r.Isolation
	}
	return least
}

// tenant returns the policy of a tenant. Where the site keeps no tenants, all work
// is its own.
func (s *Service) tenant(name string) (Tenant, bool) {
	if s.cfg.Tenants == nil {
		return Tenant{Name: name, Trusted: true, MaxPriority: math.MaxInt}, true
	}
	return s.cfg.Tenants.Tenant(name)
}

// reasons joins hosts that are refused for the same reason.
func reasons(refused map[string]string) string {
	by := map[string][]string{}
	for _, h := range slices.Sorted(maps.Keys(refused)) {
		by[refused[h]] = append(by[refused[h]], h)
	}
	var out []string
	for _, why := range slices.Sorted(maps.Keys(by)) {
		hosts := by[why]
		if len(hosts) > 4 {
			hosts = append(hosts[:3:3], fmt.Sprintf("%d others", len(hosts)-3))
		}
		out = append(out, strings.Join(hosts, ", ")+": "+why)
	}
	return strings.Join(out, "; ")
}
