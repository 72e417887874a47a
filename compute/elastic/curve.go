// Package elastic knows what a job loses when its GPUs get less power, and whom to
// give less: a job that allows it is slowed down rather than stopped. It is pure:
// samples in, a curve out; a need and jobs in, caps out.
//
// A share is a power limit over the full one, 1 for no limit. Progress is the speed
// of a job over its speed without a limit.
package elastic

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// Point is progress at a share.
type Point struct {
	Share    float64 `json:"share"`
	Progress float64 `json:"progress"`
	Samples  int     `json:"samples,omitempty"`
}

// Curve says how fast a job goes at each share. It never falls with more power. The
// zero value is the assumption of Default.
type Curve struct {
	Points []Point `json:"points,omitempty"` // by share, rising; empty: nothing was measured
	Source Source  `json:"source,omitempty"` // of the samples behind it
}

// Source is how progress was measured.
type Source string

// Sources, the better first.
const (
	Told  Source = "told"  // by the job: steps, tokens
	Clock Source = "clock" // the GPUs' clock times their utilisation
)

// Measured says whether the curve is the job's own.
func (c Curve) Measured() bool { return len(c.Points) > 0 }

// Default is the progress at a share of the power that a job would draw, where
// nothing was measured of it. It is on the safe side of what is published: training
// transformers on H100s goes 10 to 15 % slower at 600 of 700 W (Factryze, Scale
// Atlas, "Power capping"), which the straight part follows; MIT Lincoln Laboratory
// measured on V100s just 6.8 % more time at 150 of 250 W, the mean of large language
// models (McDonald et al. 2022, arXiv:2205.09646). Below half of the power nothing is
// left to take from voltage, and what a GPU draws when it idles, about a tenth, does
// no work: the line ends there.
func Default(share float64) float64 {
	const slope, knee, idle = 0.875, 0.5, 0.1
	switch {
	case !(share > idle):
		return 0
	case share >= 1:
		return 1
	case share >= knee:
		return 1 - slope*(1-share)
	}
	return (1 - slope*(1-knee)) * (share - idle) / (knee - idle)
}

// Progress is the speed at a share. Below what was measured it follows the shape of
// Default.
func (c Curve) Progress(share float64) float64 {
	if !c.Measured() {
		return Default(share)
	}
	if share >= 1 {
		return 1
	}
	low := c.Points[0]
	if share <= low.Share {
		if d := Default(low.Share); d > 0 {
			return min(low.Progress, low.Progress*Default(share)/d)
		}
		return 0
	}
	before := low
	for _, p := range append(c.Points[1:len(c.Points):len(c.Points)], Point{Share: 1, Progress: 1}) {
		if share <= p.Share {
			if p.Share == before.Share {
				return p.Progress
			}
			return before.Progress + (p.Progress-before.Progress)*(share-before.Share)/(p.Share-before.Share)
		}
		before = p
	}
	return before.Progress
}

// Sample is how fast a job went at a share, in any unit that stays the same for the
// job and the source.
type Sample struct {
	At     time.Time
	Share  float64
	Rate   float64
	Source Source
}

// Learner makes a job's curve of samples. The zero value is ready. It marshals, so
// that what was learned outlives a restart.
type Learner struct {
	Bins map[Source]map[int]Bin `json:"bins,omitempty"`
}

// Clone returns a copy that shares nothing.
func (l Learner) Clone() Learner {
	out := Learner{Bins: maps.Clone(l.Bins)}
	for src, bins := range out.Bins {
		out.Bins[src] = maps.Clone(bins)
	}
	return out
}

// Bin gathers the samples of shares that are alike.
type Bin struct {
	Rate  float64   `json:"rate"`  // mean, the newer counting more
	Share float64   `json:"share"` // mean
	N     int       `json:"n"`
	Last  time.Time `json:"last"`
}

const (
	binWidth = 0.05
	// memory is the number of samples after which older ones fade.
	memory = 50
	// enough samples of a bin make a point: fewer may be the start of an epoch or a
	// checkpoint.
	enough = 3
	// full is the share from which a job counts as not limited.
	full = 0.975
)

// Add takes a sample. Those that make no sense are left out.
func (l *Learner) Add(s Sample) {
	if !(s.Share > 0) || s.Share > 1.001 || !(s.Rate >= 0) || math.IsInf(s.Rate, 0) || (s.Source != Told && s.Source != Clock) {
		return
	}
	if l.Bins == nil {
		l.Bins = map[Source]map[int]Bin{}
	}
	if l.Bins[s.Source] == nil {
		l.Bins[s.Source] = map[int]Bin{}
	}
	i := int(math.Round(min(s.Share, 1) / binWidth))
	b := l.Bins[s.Source][i]
	b.N++
	w := 1 / float64(min(b.N, memory))
	b.Rate += w * (s.Rate - b.Rate)
	b.Share += w * (min(s.Share, 1) - b.Share)
	b.Last = s.At
	l.Bins[s.Source][i] = b
}

// Curve is what was learned, from what the job told where that is enough, else from
// the clock; the zero Curve where neither is.
func (l *Learner) Curve() Curve {
	for _, src := range []Source{Told, Clock} {
		if p := points(l.Bins[src]); len(p) > 0 {
			return Curve{Points: p, Source: src}
		}
	}
	return Curve{}
}

// points turns bins into progress at shares below full, rising with the share. The
// rate without a limit is measured, or estimated by Default from the highest share
// that was.
func points(bins map[int]Bin) []Point {
	var all []Bin
	for _, b := range bins {
		if b.N >= enough {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b Bin) int { return cmp.Compare(a.Share, b.Share) })
	if len(all) == 0 {
		return nil
	}
	top := all[len(all)-1]
	unlimited := top.Rate
	if top.Share < full {
		unlimited /= max(Default(top.Share), 0.05)
	} else {
		all = all[:len(all)-1]
	}
	if !(unlimited > 0) {
		return nil
	}
	// Pool adjacent violators: the mean of neighbours that fall with more power.
	type block struct {
		sum, weight float64
		bins        []Bin
	}
	var blocks []block
	for _, b := range all {
		n := float64(min(b.N, memory))
		blocks = append(blocks, block{min(b.Rate/unlimited, 1) * n, n, []Bin{b}})
		for k := len(blocks); k > 1 && blocks[k-1].sum/blocks[k-1].weight < blocks[k-2].sum/blocks[k-2].weight; k = len(blocks) {
			blocks[k-2].sum += blocks[k-1].sum
			blocks[k-2].weight += blocks[k-1].weight
			blocks[k-2].bins = append(blocks[k-2].bins, blocks[k-1].bins...)
			blocks = blocks[:k-1]
		}
	}
	var out []Point
	for _, b := range blocks {
		for _, x := range b.bins {
			out = append(out, Point{Share: x.Share, Progress: b.sum / b.weight, Samples: x.N})
		}
	}
	return out
}
