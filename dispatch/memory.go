package dispatch

import (
	"cmp"
	"slices"
	"sync"
)

// sorted returns a list in the order of names: itself, where it stands so.
func sorted[E any](list []E, name func(E) string) []E {
	by := func(a, b E) int { return cmp.Compare(name(a), name(b)) }
	if !slices.IsSortedFunc(list, by) {
		list = slices.Clone(list)
		slices.SortFunc(list, by)
	}
	return list
}

// slab hands out slices of zeros, many from one allocation, and can be used
// again when all of them are done with.
type slab[E any] struct {
	all  []E
	used int
}

func (s *slab[E]) take(n int) []E {
	if s.used+n > len(s.all) {
		s.all, s.used = make([]E, max(n, 2*len(s.all), 512)), 0
	}
	out := s.all[s.used : s.used+n : s.used+n]
	s.used += n
	return out
}

// reserve sees to it that so many come from one allocation of just that size.
func (s *slab[E]) reserve(n int) {
	if s.used+n > len(s.all) {
		s.all, s.used = make([]E, max(n, 2*len(s.all))), 0
	}
}

func (s *slab[E]) reset() {
	clear(s.all[:s.used])
	s.used = 0
}

// rows returns so many slices of n zeros.
func (s *slab[E]) rows(of [][]E, n int) {
	all := s.take(len(of) * n)
	for i := range of {
		of[i] = all[i*n : (i+1)*n : (i+1)*n]
	}
}

// problems are those done with: a backtest solves a hundred thousand.
var problems = sync.Pool{New: func() any { return new(problem) }}

// keepNumbers is up to what size a problem's memory is kept for the next.
const keepNumbers = 1 << 20

// release gives the problem's memory back, and that of its builder. Nothing
// made of them may be used then.
func (p *problem) release(b *builder) {
	if len(p.numbers.all) > keepNumbers {
		return
	}
	p.spare = b
	p.numbers.reset()
	p.ints.reset()
	p.series.reset()
	problems.Put(p)
}
