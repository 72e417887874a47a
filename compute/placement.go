package compute

import (
	"cmp"
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
		u := out[e.Job.Host]
		u.UnitsBusy += e.Job.Units
		u.Jobs = append(u.Jobs, e.Job.ID)
		out[e.Job.Host] = u
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

// fit finds what a request needs: the class, the units and whether the class is
// of virtual hosts.
func (s *Service) fit(r SubmitRequest) (class string, units int, virtual bool, err error) {
	res := r.Task.Resources
	units = r.Units
	if units <= 0 {
		units = cmp.Or(res.GPUs, max(1, int(math.Ceil(res.CPUs))))
	}
	most, seen := 0, ""
	models := map[string]bool{}
	for _, h := range s.sorted() {
		if h.GPUModel != "" {
			models[h.GPUModel] = true
		}
		switch {
		case r.Class != "" && h.Class != r.Class:
			continue
		case r.Class == "" && !strings.EqualFold(h.GPUModel, res.Accelerator):
			continue
		case r.Virtual && h.Real:
			continue
		}
		seen = h.Name
		if !fits(h, r.Task, units) {
			most = max(most, h.Units)
			continue
		}
		return h.Class, units, !h.Real, nil
	}
	what := cmp.Or(res.Accelerator, r.Class, "CPU")
	if seen == "" {
		known := make([]string, 0, len(models))
		for m := range models {
			known = append(known, m)
		}
		slices.Sort(known)
		hint := "this site has no GPUs: leave accelerators out to run on CPUs"
		if len(known) > 0 {
			hint = "this site has " + strings.Join(known, ", ")
		}
		return "", 0, false, sluice.Errorf(sluice.Invalid, hint, "no host here has %s", what)
	}
	return "", 0, false, sluice.Errorf(sluice.Invalid, "ask for less: a task runs on one host",
		"no host here has %s for this task: it asks for %d units, %g CPUs and %g GB, the largest host has %d units",
		what, units, res.CPUs, res.MemoryGB, max(most, 0))
}

// fits says whether the host could run the task with nothing else on it.
func fits(h Host, t *Task, units int) bool {
	return h.Units >= units &&
		(h.CPUs == 0 || t.Resources.CPUs <= float64(h.CPUs)) &&
		(h.MemoryGB == 0 || t.Resources.MemoryGB <= h.MemoryGB)
}

// room is what is left of a host.
type room struct {
	Host
	units int
	cpus  float64
	mem   float64
}

// rooms returns what is left of each host, by name. Callers hold mu.
func (s *Service) rooms() []room {
	left := make(map[string]*room, len(s.hosts))
	out := make([]room, 0, len(s.hosts))
	for _, h := range s.sorted() {
		out = append(out, room{Host: h, units: h.Units, cpus: float64(h.CPUs), mem: h.MemoryGB})
	}
	for i := range out {
		left[out[i].Name] = &out[i]
	}
	for _, e := range s.active {
		if r := left[e.Job.Host]; r != nil {
			r.take(e)
		}
	}
	return out
}

func (r *room) take(e *entry) {
	r.units -= e.Job.Units
	r.cpus -= e.Task.Resources.CPUs
	r.mem -= e.Task.Resources.MemoryGB
}

// place chooses the host with the least room that still fits, so that whole
// hosts stay free for large jobs; among equals the first by name. It takes the
// room. Callers hold mu.
func (s *Service) place(e *entry, rooms []room) (Host, error) {
	best, most := -1, 0
	why := ""
	for i, r := range rooms {
		if r.Class != e.Job.Class || r.Real == e.Job.Virtual {
			continue
		}
		if b := s.blocked[r.Name]; b != "" {
			why = ", " + r.Name + " is kept free: " + b
			continue
		}
		most = max(most, r.units)
		res := e.Task.Resources
		if r.units < e.Job.Units || (r.CPUs > 0 && r.cpus < res.CPUs) || (r.MemoryGB > 0 && r.mem < res.MemoryGB) {
			continue
		}
		if best < 0 || r.units < rooms[best].units {
			best = i
		}
	}
	if best < 0 {
		return Host{}, sluice.Errorf(sluice.Conflict, "it waits until a job there ends",
			"no host of class %s has room for %d units (the most that is free on one is %d%s)", e.Job.Class, e.Job.Units, most, why)
	}
	rooms[best].take(e)
	return rooms[best].Host, nil
}

func (s *Service) sorted() []Host {
	out := slices.Clone(s.cfg.Hosts)
	slices.SortFunc(out, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
