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
	PowerW    sluice.Watts // IdleW + UnitW × busy units
	Jobs      []string     // that hold its units, sorted
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
			if n := len(u.Jobs); n == 0 || u.Jobs[n-1] != e.Job.ID {
				u.Jobs = append(u.Jobs, e.Job.ID)
			}
			out[e.Nodes[i].Host] = u
		}
	}
	for name, h := range s.hosts {
		u := out[name]
		u.PowerW = h.IdleW + h.UnitW*sluice.Watts(u.UnitsBusy)
		slices.Sort(u.Jobs)
		out[name] = u
	}
	return out
}

// Block keeps new jobs off a host, for maintenance, until it is called with an
// empty why. What runs there goes on. It is not stored.
func (s *Service) Block(host, why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.hosts[host]; !ok {
		return sluice.Errorf(sluice.NotFound, "", "no host %q", host)
	}
	if why == "" {
		delete(s.blocked, host)
	} else {
		s.blocked[host] = why
	}
	return nil
}

// fit finds where a request could run: the classes of hosts, in the order of
// preference, with the units of each node there, and whether they are virtual.
func (s *Service) fit(r SubmitRequest) (choices []Choice, virtual bool, err error) {
	asked := r.Choices
	if len(asked) == 0 {
		asked = []Choice{{Class: r.Class, Resources: r.Task.Resources, UnitsPerNode: r.Units, RateUSDHour: r.RateUSDHour, StrikeUSDMWh: r.StrikeUSDMWh}}
	}
	t, _ := s.tenant(r.Tenant)
	var first error
	for _, c := range asked {
		got, virt, err := s.fitOne(c, r, t)
		if err != nil {
			first = cmp.Or(first, err)
			continue
		}
		if len(choices) > 0 && virt != virtual {
			continue
		}
		choices, virtual = append(choices, got), virt
	}
	if len(choices) == 0 {
		return nil, false, first
	}
	return choices, virtual, nil
}

func (s *Service) fitOne(c Choice, r SubmitRequest, t Tenant) (Choice, bool, error) {
	res := c.Resources
	if c.UnitsPerNode <= 0 {
		c.UnitsPerNode = cmp.Or(res.GPUs, max(1, int(math.Ceil(res.CPUs))))
	}
	nodes := max(1, r.Task.NumNodes)
	most, seen, fitting, virtual := 0, "", 0, false
	models := map[string]bool{}
	refused := map[string]string{}
	class := c.Class
	for _, h := range s.cfg.Hosts {
		if h.GPUModel != "" {
			models[h.GPUModel] = true
		}
		switch {
		case class != "" && h.Class != class:
			continue
		case class == "" && !strings.EqualFold(h.GPUModel, res.Accelerator):
			continue
		case r.Virtual && h.Real:
			continue
		}
		if why := s.refuses(h, res, t); why != "" {
			refused[h.Name] = why
			continue
		}
		seen = h.Name
		if !fits(h, res, c.UnitsPerNode) {
			most = max(most, h.Units)
			continue
		}
		if class == "" {
			class, virtual = h.Class, !h.Real
		}
		virtual = !h.Real
		if fitting++; fitting == nodes {
			c.Class = class
			return c, virtual, nil
		}
	}
	what := cmp.Or(res.Accelerator, c.Class, "CPU")
	switch {
	case fitting > 0:
		// Nodes may share a host: all of them must fit when it is empty.
		if s.couldHold(class, res, c.UnitsPerNode, nodes, t) {
			c.Class = class
			return c, virtual, nil
		}
		return c, false, sluice.Errorf(sluice.Invalid, "ask for fewer or smaller nodes", "the hosts of class %s can hold %d of its %d nodes at once",
			class, fitting, nodes)
	case seen == "" && len(refused) > 0:
		return c, false, sluice.Errorf(sluice.Invalid, "the operator attests regions, labels and isolation under hosts: in sluice.yaml",
			"no host with %s may take this task: %s", what, reasons(refused))
	case seen == "":
		known := slices.Sorted(maps.Keys(models))
		hint := "this site has no GPUs: leave accelerators out to run on CPUs"
		if len(known) > 0 {
			hint = "this site has " + strings.Join(known, ", ")
		}
		return c, false, sluice.Errorf(sluice.Invalid, hint, "no host here has %s", what)
	}
	return c, false, sluice.Errorf(sluice.Invalid, "ask for less for each node, or for more nodes",
		"no host here has %s for this task: it asks for %d units, %g CPUs and %g GB, the largest host has %d units",
		what, c.UnitsPerNode, res.CPUs, res.MemoryGB, max(most, 0))
}

// fits says whether the host could run a node with nothing else on it.
func fits(h Host, r Resources, units int) bool {
	return h.Units >= units &&
		(h.CPUs == 0 || r.CPUs <= float64(h.CPUs)) &&
		(h.MemoryGB == 0 || r.MemoryGB <= h.MemoryGB) &&
		(h.DiskGB == 0 || r.DiskGB <= h.DiskGB)
}

// couldHold says whether the empty hosts of a class hold so many nodes.
func (s *Service) couldHold(class string, r Resources, units, nodes int, t Tenant) bool {
	for _, h := range s.cfg.Hosts {
		if h.Class != class || !fits(h, r, units) || s.refuses(h, r, t) != "" {
			continue
		}
		n := h.Units / units
		if r.CPUs > 0 && h.CPUs > 0 {
			n = min(n, int(float64(h.CPUs)/r.CPUs))
		}
		if r.MemoryGB > 0 && h.MemoryGB > 0 {
			n = min(n, int(h.MemoryGB/r.MemoryGB))
		}
		nodes -= n
	}
	return nodes <= 0
}

// refuses says why the host may never take such work of the tenant, or "".
func (s *Service) refuses(h Host, r Resources, t Tenant) string {
	if r.Region != "" && !strings.EqualFold(r.Region, h.Region) {
		return "its region is " + cmp.Or(h.Region, "not attested") + ", the task wants " + r.Region
	}
	if len(t.Regions) > 0 && !slices.ContainsFunc(t.Regions, func(x string) bool { return strings.EqualFold(x, h.Region) }) {
		return "its region is " + cmp.Or(h.Region, "not attested") + ", the tenant's data stay in " + strings.Join(t.Regions, ", ")
	}
	for _, want := range []map[string]string{r.Labels, t.Labels} {
		for _, k := range slices.Sorted(maps.Keys(want)) {
			if h.Labels[k] != want[k] {
				return fmt.Sprintf("it is not attested %s=%s", k, want[k])
			}
		}
	}
	if h.Real {
		if want := s.isolation(r, t); func() bool { x, _ := h.ExecutorFor(want); return x == "" }() {
			return "it cannot isolate work as " + string(want)
		}
	}
	return ""
}

// isolation is what a tenant's work needs at least.
func (s *Service) isolation(r Resources, t Tenant) Isolation {
	least := t.Isolation
	if least == "" && !t.Trusted {
		least = IsolationContainer
	}
	if r.Isolation.AtLeast(least) && r.Isolation != "" {
		return r.Isolation
	}
	return least
}

// tenant returns the policy of a tenant. Where the site keeps no tenants, all work
// is its own.
func (s *Service) tenant(name string) (Tenant, bool) {
	if s.cfg.Tenants == nil {
		return Tenant{Name: name, Trusted: true}, true
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
