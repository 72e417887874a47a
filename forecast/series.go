package forecast

import "math"

// series holds values by interval number, from some interval on. NaN is unknown.
type series struct {
	start int64
	v     []float64
}

func (s *series) get(i int64) (float64, bool) {
	v := s.at(i)
	return v, !math.IsNaN(v)
}

// at returns the value, NaN where it is not known.
func (s *series) at(i int64) float64 {
	if k := i - s.start; k >= 0 && k < int64(len(s.v)) {
		return s.v[k]
	}
	return math.NaN()
}

// furthest is how far from the others a value may lie: some years of seconds. A
// value beyond starts anew, so that a mistyped year does not fill the memory.
const furthest = 1 << 27

func (s *series) set(i int64, v float64) {
	k := i - s.start
	switch {
	case len(s.v) == 0 || k-int64(len(s.v)) > furthest:
		s.start, s.v = i, append(s.v[:0], v)
		return
	case k < 0:
		return // older than what is kept
	}
	for int64(len(s.v)) <= k {
		s.v = append(s.v, math.NaN())
	}
	s.v[k] = v
}

// keep forgets what lies before i, now and then.
func (s *series) keep(i int64) {
	k := i - s.start
	if k < 1024 || k < int64(len(s.v))/2 {
		return
	}
	k = min(k, int64(len(s.v)))
	s.v = append(make([]float64, 0, 2*(len(s.v)-int(k))+64), s.v[k:]...)
	s.start += k
}
