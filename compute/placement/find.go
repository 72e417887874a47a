package placement

import (
	"math/rand/v2"
)

// Find chooses a place for the demand, without taking it; false where none fits. The
// source of chance is used by the policy Random alone.
func (c *Cluster) Find(d Demand, r *rand.Rand) (Place, bool) {
	if !d.valid() || d.Among > len(c.among) {
		return Place{}, false
	}
	if c.by == Random {
		return c.any(d, r)
	}
	kind, ok := c.kinds[d]
	if !ok {
		kind = len(c.asked)
		c.kinds[d] = kind
		c.asked = append(c.asked, d)
		c.score = append(c.score, make([]candidate, len(c.hosts)))
	}
	best := -1
	var least, left float64
	for i := range c.hosts {
		x := &c.score[kind][i]
		if !x.known {
			*x = c.consider(i, d)
		}
		if !x.fits {
			continue
		}
		a, b := x.grows, 0.0
		switch c.by {
		case BestFit:
			a = c.left(i, d)
		case Sluice:
			b = c.left(i, d)
			a += nearlyEqual * b
		}
		if best < 0 || a < least-tiny || a < least+tiny && b < left-tiny {
			best, least, left = i, a, b
		}
	}
	if best < 0 {
		return Place{}, false
	}
	return c.at(best, d, c.score[kind][best].gpu), true
}

// nearlyEqual is what a whole host left over counts, in thousandths of a GPU of
// fragments: places that differ by less are chosen by what they leave.
const nearlyEqual = 30

// tiny is the difference of fragments, in thousandths of a GPU, that is none.
const tiny = 1e-6

// consider finds the best way to put the demand on host i.
func (c *Cluster) consider(i int, d Demand) candidate {
	x := candidate{known: true, gpu: -1}
	h := &c.hosts[i]
	if !h.fits(d) || !c.allowed(i, d) {
		return x
	}
	x.fits = true
	h.CPUMilli -= d.CPUMilli
	h.MemMiB -= d.MemMiB
	h.DiskMiB -= d.DiskMiB
	switch d.GPUs {
	case 1:
		// Of GPUs that have the same free one stands for all.
		var seen [Whole + 1]bool
		for g, f := range h.GPUs {
			if f < d.GPUMilli || seen[f] {
				continue
			}
			seen[f] = true
			h.GPUs[g] -= d.GPUMilli
			grows := c.fragments(h) - c.now[i]
			h.GPUs[g] += d.GPUMilli
			if x.gpu < 0 || grows < x.grows-tiny || grows < x.grows+tiny && f < h.GPUs[x.gpu] {
				x.gpu, x.grows = g, grows
			}
		}
	default:
		at := c.at(i, d, -1)
		for _, g := range at.GPUs {
			h.GPUs[g] -= d.GPUMilli
		}
		x.grows = c.fragments(h) - c.now[i]
		for _, g := range at.GPUs {
			h.GPUs[g] += d.GPUMilli
		}
	}
	h.CPUMilli += d.CPUMilli
	h.MemMiB += d.MemMiB
	h.DiskMiB += d.DiskMiB
	return x
}

// at names the GPUs of host i that the demand takes.
func (c *Cluster) at(i int, d Demand, gpu int) Place {
	p := Place{Host: i}
	if gpu >= 0 {
		p.GPUs = []int{gpu}
		return p
	}
	for g, f := range c.hosts[i].GPUs {
		if len(p.GPUs) < d.GPUs && f >= d.GPUMilli {
			p.GPUs = append(p.GPUs, g)
		}
	}
	return p
}

// left is what would stay of host i, as a share of a large host's: GPU and processors
// alike, or GPU alone for a demand without, which so goes where few are left free.
func (c *Cluster) left(i int, d Demand) float64 {
	h := &c.hosts[i]
	gpu := float64(c.free[i]-d.GPUShare()) / (8 * Whole)
	if d.GPUs == 0 && c.by == Sluice {
		return gpu
	}
	return gpu + float64(h.CPUMilli-d.CPUMilli)/128_000
}

// any draws a host at random, and a GPU of it.
func (c *Cluster) any(d Demand, r *rand.Rand) (Place, bool) {
	n, at := 0, -1
	for i := range c.hosts {
		if c.hosts[i].fits(d) && c.allowed(i, d) {
			if n++; r.IntN(n) == 0 {
				at = i
			}
		}
	}
	if at < 0 {
		return Place{}, false
	}
	gpu, n := -1, 0
	if d.GPUs == 1 {
		for g, f := range c.hosts[at].GPUs {
			if f >= d.GPUMilli {
				if n++; r.IntN(n) == 0 {
					gpu = g
				}
			}
		}
	}
	return c.at(at, d, gpu), true
}
