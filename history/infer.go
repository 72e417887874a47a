package history

import (
	"slices"
	"strings"
	"time"

	"sluice"
)

// infer finds the step and the phase of the grid from the rows read so far.
func (s *Series) infer() error {
	var times []int64
	for _, c := range s.pending {
		if len(times) == 0 || times[len(times)-1] != c.at {
			times = append(times, c.at)
		}
	}
	if s.step == 0 {
		apart := make([]int64, 0, len(times))
		for i := 1; i < len(times); i++ {
			apart = append(apart, times[i]-times[i-1])
		}
		if s.step, _ = mostFrequent(apart); len(apart) == 0 {
			s.step = 0
			if s.utc && times[0]%int64(24*time.Hour) == 0 && strings.HasPrefix(strings.ToLower(s.in.names[0]), "date") {
				s.step = int64(24 * time.Hour)
			}
		}
		if s.step < int64(minStep) || s.step > int64(maxStep) {
			return sluice.Errorf(sluice.Invalid, "say the step", "%s: the step does not show from %d row%s", s.spec.Path, len(times), plural(len(times)))
		}
	}
	phases := make([]int64, len(times))
	for i, t := range times {
		phases[i] = t % s.step
	}
	phase, n := mostFrequent(phases)
	if 2*n < len(times) {
		return sluice.Errorf(sluice.Invalid, "bring the rows to one step first", "%s: the rows do not follow one another at a step of %s: of the first %d, %d do",
			s.spec.Path, s.Step(), len(times), n)
	}
	s.phase, s.grid = phase, true
	return nil
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// mostFrequent returns the value that stands most often, the smaller of two, and
// how often.
func mostFrequent(vs []int64) (int64, int) {
	vs = slices.Sorted(slices.Values(vs))
	var best int64
	most := 0
	for i := 0; i < len(vs); {
		j := i
		for j < len(vs) && vs[j] == vs[i] {
			j++
		}
		if j-i > most {
			best, most = vs[i], j-i
		}
		i = j
	}
	return best, most
}
