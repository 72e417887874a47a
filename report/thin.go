package report

import (
	"slices"
	"time"
)

// runs are the stretches [from, to) of the first n values that have no gap.
func runs(v []float64, n int) [][2]int {
	var out [][2]int
	for i := 0; i < n; i++ {
		if !finite(at(v, i)) {
			continue
		}
		from := i
		for i < n && finite(at(v, i)) {
			i++
		}
		out = append(out, [2]int{from, i})
	}
	return out
}

// extremes thins a run to what can be seen: of each column of pixels the first,
// the smallest, the largest and the last value, which draw the same line as all
// of them (Jugel et al., M4, VLDB 2014).
func extremes(v, px []float64, run [2]int) []int {
	var out []int
	for i := run[0]; i < run[1]; {
		j, lo, hi := i, i, i
		for ; j < run[1] && int(px[j]) == int(px[i]); j++ {
			if v[j] < v[lo] {
				lo = j
			}
			if v[j] > v[hi] {
				hi = j
			}
		}
		keep := []int{i, lo, hi, j - 1}
		slices.Sort(keep)
		out = append(out, slices.Compact(keep)...)
		i = j
	}
	return out
}

// pixelBins cuts the places into the columns of pixels that they fall into, as
// [from, to).
func pixelBins(px []float64) [][2]int {
	var out [][2]int
	for i := 0; i < len(px); {
		j := i
		for j < len(px) && int(px[j]) == int(px[i]) {
			j++
		}
		out = append(out, [2]int{i, j})
		i = j
	}
	return out
}

// bins cuts the places into what one value of an area stands for, and says so
// for the title: a place, a day, or a column of pixels. Columns of some hours
// would beat with the rhythm of the days.
func (c *xy) bins() (bins [][2]int, how string) {
	px := make([]float64, len(c.x))
	for i, x := range c.x {
		px[i] = c.across.at(x)
	}
	bins = pixelBins(px)
	if len(bins) == len(px) {
		return bins, ""
	}
	pixel := (c.across.hi - c.across.lo) / (c.across.to - c.across.from) // seconds
	if c.zone == nil || pixel < 2*3600 || pixel > 86400 {
		return bins, ", averaged over each pixel"
	}
	bins = nil
	last := time.Time{}
	for i, x := range c.x {
		y, m, d := time.Unix(int64(x), 0).In(c.zone).Date()
		if day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC); i == 0 || !day.Equal(last) {
			bins = append(bins, [2]int{i, i})
			last = day
		}
		bins[len(bins)-1][1] = i + 1
	}
	return bins, ", mean of each day"
}

// mean of a bin, missing values counted as nothing.
func mean(v []float64, bin [2]int) float64 {
	sum := 0.0
	for i := bin[0]; i < bin[1]; i++ {
		if a := at(v, i); finite(a) {
			sum += a
		}
	}
	return sum / float64(bin[1]-bin[0])
}
