package compute

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sluice"
	"sluice/compute/placement"
)

// place is where one node goes.
type place struct {
	host      Host
	executor  string
	isolation Isolation
	units     int
	gpus      []int

	network string // of its gang, where that is on several hosts in containers
	address netip.Addr
}

// floor is what is free of the hosts, by class, while orders are carried out.
type floor struct {
	s       *Service
	look    *look
	classes map[string]*hall
	usual   map[string][]placement.Typical
	rooms   map[room]bool // what hasRoom knows
}

// room is what a job needs to be placed.
type room struct {
	class  string
	demand placement.Demand
	nodes  int
}

// hall is the hosts of one class.
type hall struct {
	hosts   []Host
	cluster *placement.Cluster
	among   map[string]int // masks known so far, by what they depend on
	refused map[string]map[string]string
	taken   int                 // places given away or back, so far
	most    map[string]mostFree // by mask
	disk    map[diskOf]mostDisk
}

// diskOf is what the most of the disk that is free depends on.
type diskOf struct {
	mask  string
	units int
}

// mostDisk is the most disk that was free on one host when so much was taken.
type mostDisk struct {
	mib   int64
	taken int
}

// mostFree is the most that was free on one host when so much was taken.
type mostFree struct{ units, taken int }

// floor returns what is free now. Callers hold mu.
func (s *Service) floor() *floor { return &floor{s: s, look: s.look(), classes: map[string]*hall{}} }

// unlimited stands for what a host does not say of its CPUs, memory or disk.
const unlimited = 1 << 40

// of returns the hosts of a class and what is free of them. A unit is a GPU, or a
// CPU slot, which is placed as a GPU is.
func (f *floor) of(class string) *hall {
	if x := f.classes[class]; x != nil {
		return x
	}
	x := &hall{among: map[string]int{}, refused: map[string]map[string]string{}, most: map[string]mostFree{}, disk: map[diskOf]mostDisk{}}
	f.classes[class] = x
	at := map[string]int{}
	var free []placement.Host
	for _, h := range f.s.cfg.Hosts {
		if h.Class != class {
			continue
		}
		p := placement.Host{Name: h.Name, CPUMilli: unlimited, MemMiB: unlimited, DiskMiB: unlimited, GPUs: slices.Repeat([]int{placement.Whole}, h.Units)}
		if h.CPUs > 0 {
			p.CPUMilli = int64(h.CPUs) * 1000
		}
		if h.MemoryGB > 0 {
			p.MemMiB = int64(h.MemoryGB * 1024)
		}
		if h.DiskGB = f.s.diskOf(h); h.DiskGB > 0 {
			p.DiskMiB = int64(h.DiskGB * 1024)
		}
		at[h.Name] = len(free)
		x.hosts, free = append(x.hosts, h), append(free, p)
	}
	for _, e := range f.s.active {
		for i := range e.Nodes {
			if h, ok := at[e.Nodes[i].Host]; ok {
				d := demand(e.Task.Resources, e.Nodes[i].Units)
				free[h].CPUMilli -= d.CPUMilli
				free[h].MemMiB -= d.MemMiB
				free[h].DiskMiB -= d.DiskMiB
				for _, g := range e.held(i) {
					if g < len(free[h].GPUs) {
						free[h].GPUs[g] = 0
					}
				}
			}
		}
	}
	for i := range free { // a disk that has less than was told keeps nobody off who asks for none
		free[i].DiskMiB = max(0, free[i].DiskMiB)
	}
	x.cluster = placement.New(free, f.typical(class), placement.Sluice)
	return x
}

// held is the units of the host that a node holds, by index. A record of before
// units were numbered holds the first ones.
func (e *entry) held(rank int) []int {
	n := e.Nodes[rank]
	if len(n.GPUs) == n.Units {
		return n.GPUs
	}
	out := make([]int, n.Units)
	for i := range out {
		out[i] = i
	}
	return out
}

// typical is the work that usually comes to a class: what is known now, and a
// little of each common size, so that an empty site is packed with sense too.
func (f *floor) typical(class string) []placement.Typical {
	if f.usual == nil {
		f.usual = map[string][]placement.Typical{}
		at := map[string]map[placement.Demand]int{}
		for _, e := range f.s.jobs {
			d := demand(e.Task.Resources, e.perNode())
			c := e.Job.Class
			if at[c] == nil {
				at[c] = map[placement.Demand]int{}
			}
			i, ok := at[c][d]
			if !ok {
				if len(at[c]) >= 32 {
					continue
				}
				i = len(f.usual[c])
				at[c][d] = i
				f.usual[c] = append(f.usual[c], placement.Typical{Demand: d})
			}
			f.usual[c][i].Weight += float64(max(1, e.Job.Nodes))
		}
	}
	out := slices.Clone(f.usual[class])
	for _, n := range []int{1, 2, 4, 8} {
		out = append(out, placement.Typical{Demand: placement.Demand{GPUs: n, GPUMilli: placement.Whole}, Weight: 0.25})
	}
	return out
}

func (e *entry) perNode() int { return e.Job.Units / max(1, e.Job.Nodes) }

func demand(r Resources, units int) placement.Demand {
	return placement.Demand{
		CPUMilli: int64(r.CPUs * 1000), MemMiB: int64(r.MemoryGB * 1024), DiskMiB: int64(r.DiskGB * 1024), GPUs: units, GPUMilli: placement.Whole,
	}
}

// place chooses a host for each node, so that little of what stays free is of no
// use, and takes the room: all nodes or none. Callers hold mu.
func (s *Service) place(now time.Time, e *entry, f *floor) ([]place, error) {
	t, known := s.tenant(e.Job.Tenant)
	if !known {
		return nil, sluice.Errorf(sluice.Conflict, "sluice tenant list shows the tenants", "job %s: there is no tenant %q any more", e.Job.ID, e.Job.Tenant)
	}
	x := f.of(e.Job.Class)
	res := e.Task.Resources
	nodes := max(1, e.Job.Nodes)
	d, taken, found, mask := x.find(s, e, t)
	var p Placement
	if s.cfg.Placements != nil {
		p = Placement{
			Job: e.Job.ID, At: now.UTC(), Tenant: e.Job.Tenant, PolicyVersion: t.Version, Asked: res,
			Isolation: isolation(e.Task, res, t), Regions: t.Regions, Labels: t.Labels, Refused: x.refused[mask],
		}
	}
	if len(taken) < nodes {
		if s.cfg.Placements != nil && len(p.Refused) > 0 {
			s.placements = append(s.placements, p) // it was not for want of room alone
		}
		return nil, x.noRoom(e, nodes, found, mask)
	}
	out := make([]place, 0, nodes)
	for _, at := range taken {
		h := x.hosts[at.Host]
		name, isolation := h.ExecutorFor(isolation(e.Task, res, t))
		if !h.Real {
			name, isolation = h.Executor, ""
		}
		out = append(out, place{host: h, executor: name, isolation: isolation, units: d.GPUs, gpus: at.GPUs})
		p.Hosts = append(p.Hosts, h.Name)
	}
	if err := s.joinGang(out); err != nil {
		x.giveAll(d, taken)
		return nil, err
	}
	if s.cfg.Placements != nil {
		p.Run = fmt.Sprintf("%s-r%d", e.Job.ID, e.Job.Runs+1)
		s.placements = append(s.placements, p)
	}
	return out, nil
}

// find takes places for all nodes of the job where they reach each other, or none: then
// it says for how many there is room at most. It returns them with what was asked for
// and the mask.
func (x *hall) find(s *Service, e *entry, t Tenant) (d placement.Demand, taken []placement.Place, found int, mask string) {
	nodes, res := max(1, e.Job.Nodes), e.Task.Resources
	for i, in := range parts(x.hosts, nodes, e.perNode(), isolation(e.Task, res, t)) {
		m := x.mask(s, e, res, t, in)
		d = demand(res, e.perNode())
		d.Among = x.among[m]
		if taken = x.takeAll(d, nodes); len(taken) == nodes {
			return d, taken, nodes, m
		}
		x.giveAll(d, taken)
		if i == 0 || len(taken) > found {
			found, mask = len(taken), m
		}
	}
	return d, nil, found, mask
}

func (x *hall) giveAll(d placement.Demand, places []placement.Place) {
	for _, at := range places {
		x.cluster.Give(d, at)
		x.taken++
	}
}

// takeAll takes places for so many nodes, or for as many as there is room.
func (x *hall) takeAll(d placement.Demand, nodes int) []placement.Place {
	var taken []placement.Place
	for len(taken) < nodes {
		at, ok := x.cluster.Find(d, nil)
		if !ok {
			break
		}
		x.cluster.Take(d, at)
		x.taken++
		taken = append(taken, at)
	}
	return taken
}

// mask numbers the hosts that may take the job now, and notes why others may not.
func (x *hall) mask(s *Service, e *entry, res Resources, t Tenant, in part) string {
	key := fmt.Sprint(in, "\x00", e.Job.Virtual, "\x00", isolation(e.Task, res, t), "\x00", res.Region, "\x00", res.Isolation, "\x00", res.Labels, "\x00", t.Name, "\x00", res.DiskGB)
	if _, ok := x.among[key]; ok {
		return key
	}
	ok := make([]bool, len(x.hosts))
	refused := map[string]string{}
	for i, h := range x.hosts {
		why := s.blockedWhy(h.Name)
		switch {
		case why != "":
			why = "it is kept free: " + why
		case h.Real == e.Job.Virtual:
			why = "it is of the other kind, virtual or real"
		case h.DiskGB > 0 && res.DiskGB > h.DiskGB:
			why = fmt.Sprintf("it has %.4g GB of disk for jobs", h.DiskGB)
		default:
			want := isolation(e.Task, res, t)
			if why = s.refuses(h, e.Task, res, t); why == "" {
				why = s.heldWhy(h, want)
			}
			if why == "" && !in.has(h, want) {
				why = "containers there do not reach those of the gang's other nodes"
			}
		}
		if ok[i] = why == ""; !ok[i] {
			refused[h.Name] = why
		}
	}
	x.among[key], x.refused[key] = x.cluster.Among(ok), refused
	return key
}

// noRoom says why a job cannot be placed now.
func (x *hall) noRoom(e *entry, nodes, found int, mask string) error {
	most := x.free(mask)
	what := fmt.Sprintf("%d units", e.perNode())
	if nodes > 1 {
		what = fmt.Sprintf("%d nodes of %d units, %d have a place", nodes, e.perNode(), found)
	}
	why := ""
	if asks := e.Task.Resources.DiskGB; asks > 0 {
		if has := x.freeDisk(mask, e.perNode()); has < asks {
			why = fmt.Sprintf("; it asks for %g GB of disk, the most that is free where it would have its units is %.4g GB", asks, has)
		}
	}
	if r := x.refused[mask]; len(r) > 0 {
		why += "; " + reasons(r)
	}
	return sluice.Errorf(sluice.Conflict, "it waits until a job there ends",
		"no host of class %s has room for %s (the most that is free on one is %d%s)", cmp.Or(e.Job.Class, "?"), what, most, why)
}

// freeDisk is the most disk, in GB, that is free on one host of those that may take the
// job and have units for it.
func (x *hall) freeDisk(mask string, units int) float64 {
	of := diskOf{mask, units}
	if m, ok := x.disk[of]; ok && m.taken == x.taken {
		return float64(m.mib) / 1024
	}
	most := int64(0)
	for i := range x.hosts {
		h := x.cluster.Host(i)
		if x.refused[mask][x.hosts[i].Name] == "" && h.Whole() >= units {
			most = max(most, h.DiskMiB)
		}
	}
	x.disk[of] = mostDisk{most, x.taken}
	return float64(most) / 1024
}

// free is the most that is free on one host of those that may take the job.
func (x *hall) free(mask string) int {
	if m, ok := x.most[mask]; ok && m.taken == x.taken {
		return m.units
	}
	most := 0
	for i := range x.hosts {
		if x.refused[mask][x.hosts[i].Name] != "" {
			continue
		}
		most = max(most, x.cluster.Host(i).Whole())
	}
	x.most[mask] = mostFree{most, x.taken}
	return most
}
