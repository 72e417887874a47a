// Package placement chooses hosts and GPUs for AI work so that little of what stays
// free is of no use to the work that usually comes. It knows nothing of jobs, money or
// time: a cluster is what is free, a demand takes of it or gives back.
//
// The measure begins with fragmentation as Weng et al. define it ("Beware of
// Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent",
// USENIX ATC 2023): of a host and a typical demand, the free GPU share that one such
// demand could not use there, averaged over the typical demands by how often they come.
// To it comes what would stay free if such demands filled the host one after the other
// (see ahead), since a host whose processors or memory run out first has GPUs to spare
// that one demand alone does not show. Work goes where the measure grows least; of
// places that are next to equal, to the one that leaves least.
package placement

import (
	"cmp"
	"slices"
	"strings"
)

// Whole is all of one GPU, in thousandths.
const Whole = 1000

// Demand is what one piece of work asks of one host. A share of a GPU cannot be split
// over several; of several GPUs each is whole.
type Demand struct {
	CPUMilli, MemMiB, DiskMiB int64

	GPUs     int    // 0, 1, or several whole ones
	GPUMilli int    // of one GPU where GPUs is 1, at most Whole; Whole where it is more
	Models   string // that will do, separated by |; empty: any
	Among    int    // hosts that will do, as Cluster.Among numbered them; 0: any
}

// GPUShare returns what the demand takes of GPUs, in thousandths.
func (d Demand) GPUShare() int { return d.GPUs * d.GPUMilli }

func (d Demand) valid() bool {
	return d.Among >= 0 && d.CPUMilli >= 0 && d.MemMiB >= 0 && d.DiskMiB >= 0 && d.GPUs >= 0 &&
		(d.GPUs == 0 || d.GPUMilli > 0 && d.GPUMilli <= Whole && (d.GPUs == 1 || d.GPUMilli == Whole))
}

// Host is what a host has free.
type Host struct {
	Name, Model               string
	CPUMilli, MemMiB, DiskMiB int64
	GPUs                      []int // free of each, in thousandths
}

// Whole returns how many GPUs are free as a whole.
func (h Host) Whole() (n int) {
	for _, f := range h.GPUs {
		if f == Whole {
			n++
		}
	}
	return n
}

// Typical is a demand and its weight among those that usually come.
type Typical struct {
	Demand
	Weight float64
}

// Place is where a demand has been put.
type Place struct {
	Host int   // index
	GPUs []int // indexes on the host
}

// Policy chooses among the places that fit.
type Policy string

// The policies.
const (
	Sluice  Policy = "sluice"   // as the package's comment says
	FGD     Policy = "fgd"      // least growth of fragments alone, the first of equals
	BestFit Policy = "best-fit" // the host with the least left
	Random  Policy = "random"   // any that fits
)

// ahead is the part of the measure that looks at many demands in a row. On both lists
// of the openb trace 0.1 to 0.3 were alike, 0 and 1 were worse.
const ahead = 0.15

// Policies lists them.
func Policies() []Policy { return []Policy{Sluice, FGD, BestFit, Random} }

// Cluster is what is free of some hosts, and how places in it are chosen. It is not safe for use by several goroutines.
type Cluster struct {
	by      Policy
	ahead   float64
	hosts   []Host
	typical []Typical // with GPUs; the weights add up to 1
	kinds   map[Demand]int
	asked   []Demand
	score   [][]candidate // by kind of demand, then by host
	among   [][]bool      // by Demand.Among - 1: whether the host will do
	now     []float64     // fragments of each host
	free    []int         // GPU thousandths free on each host
}

// candidate is a host's best place for a kind of demand.
type candidate struct {
	known, fits bool
	gpu         int // the one to share, where there is one
	grows       float64
}

// New makes a cluster of hosts, which are copied, for the work that usually comes.
func New(hosts []Host, usual []Typical, by Policy) *Cluster {
	c := &Cluster{by: by, kinds: map[Demand]int{}, now: make([]float64, len(hosts)), free: make([]int, len(hosts))}
	if by == Sluice {
		c.ahead = ahead
	}
	total := 0.0
	for _, t := range usual {
		if t.GPUs > 0 && t.Weight > 0 {
			total += t.Weight
		}
	}
	for _, t := range usual {
		if t.GPUs > 0 && t.Weight > 0 {
			t.Weight /= total
			c.typical = append(c.typical, t)
		}
	}
	// In one order, so that sums are the same to the bit whatever order they came in.
	slices.SortFunc(c.typical, func(a, b Typical) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.CPUMilli, b.CPUMilli), cmp.Compare(a.MemMiB, b.MemMiB), cmp.Compare(a.DiskMiB, b.DiskMiB),
			cmp.Compare(a.GPUs, b.GPUs), cmp.Compare(a.GPUMilli, b.GPUMilli), cmp.Compare(a.Models, b.Models))
	})
	for i, h := range hosts {
		h.GPUs = slices.Clone(h.GPUs)
		c.hosts = append(c.hosts, h)
		for g, f := range h.GPUs {
			h.GPUs[g] = min(max(0, f), Whole)
			c.free[i] += h.GPUs[g]
		}
		c.now[i] = c.fragments(&c.hosts[i])
	}
	return c
}

// Among numbers a choice of hosts, for Demand.Among: those that ok says will do.
func (c *Cluster) Among(ok []bool) int {
	c.among = append(c.among, slices.Clone(ok))
	return len(c.among)
}

// allowed says whether host i is among those that will do.
func (c *Cluster) allowed(i int, d Demand) bool {
	return d.Among == 0 || c.among[d.Among-1][i]
}

// Host returns what is free of host i; the GPUs are the cluster's own.
func (c *Cluster) Host(i int) Host { return c.hosts[i] }

// Free returns the GPU share that is free, in thousandths.
func (c *Cluster) Free() int {
	n := 0
	for _, f := range c.free {
		n += f
	}
	return n
}

// Take puts a demand at a place that Find returned.
func (c *Cluster) Take(d Demand, at Place) { c.change(d, at, -1) }

// Give gives back what a demand took there.
func (c *Cluster) Give(d Demand, at Place) { c.change(d, at, 1) }

func (c *Cluster) change(d Demand, at Place, sign int) {
	h := &c.hosts[at.Host]
	h.CPUMilli += int64(sign) * d.CPUMilli
	h.MemMiB += int64(sign) * d.MemMiB
	h.DiskMiB += int64(sign) * d.DiskMiB
	for _, g := range at.GPUs {
		h.GPUs[g] += sign * d.GPUMilli
		c.free[at.Host] += sign * d.GPUMilli
	}
	c.now[at.Host] = c.fragments(h)
	for k := range c.score {
		c.score[k][at.Host].known = false
	}
}

// models says whether a host's model will do.
func (d Demand) models(model string) bool {
	if d.Models == "" {
		return true
	}
	for m := range strings.SplitSeq(d.Models, "|") {
		if m == model {
			return true
		}
	}
	return false
}

// fits says whether the host has room for the demand.
func (h *Host) fits(d Demand) bool {
	if h.CPUMilli < d.CPUMilli || h.MemMiB < d.MemMiB || h.DiskMiB < d.DiskMiB {
		return false
	}
	if d.GPUs == 0 {
		return true
	}
	if !d.models(h.Model) {
		return false
	}
	n := 0
	for _, f := range h.GPUs {
		if f >= d.GPUMilli {
			if n++; n == d.GPUs {
				return true
			}
		}
	}
	return false
}

// fragments is the measure of the host, in thousandths of a GPU: what the typical
// demands could not use of it.
func (c *Cluster) fragments(h *Host) float64 {
	all := 0
	for _, f := range h.GPUs {
		all += f
	}
	if all == 0 {
		return 0
	}
	sum := 0.0
	for i := range c.typical {
		t := &c.typical[i]
		if !h.fits(t.Demand) {
			sum += t.Weight * float64(all)
			continue
		}
		lost, slots := 0, 0
		for _, f := range h.GPUs {
			if f < t.GPUMilli {
				lost += f
			} else {
				slots += f / t.GPUMilli
			}
		}
		sum += t.Weight * (1 - c.ahead) * float64(lost)
		if c.ahead > 0 {
			sum += t.Weight * c.ahead * float64(all-h.times(t.Demand, slots)*t.GPUShare())
		}
	}
	return sum
}

// times is how many of the demand the host could take one after the other, where its
// GPUs have so many slots.
func (h *Host) times(d Demand, slots int) int {
	n := int64(slots / d.GPUs)
	if d.CPUMilli > 0 {
		n = min(n, h.CPUMilli/d.CPUMilli)
	}
	if d.MemMiB > 0 {
		n = min(n, h.MemMiB/d.MemMiB)
	}
	if d.DiskMiB > 0 {
		n = min(n, h.DiskMiB/d.DiskMiB)
	}
	return int(n)
}
