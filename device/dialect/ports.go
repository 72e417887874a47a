package dialect

import (
	"cmp"
	"slices"

	"sluice/device"
)

// Ports returns the ports at which Identify would ask a device, those that most
// dialects use first.
func (s *Set) Ports() []int {
	uses := map[int]int{}
	for _, d := range s.list {
		mine := map[int]bool{}
		for _, m := range d.Fingerprint {
			for _, p := range d.portsOf(d.Requests[m.Request], device.Address{}) {
				mine[p.port] = true
			}
		}
		for p := range mine {
			uses[p]++
		}
	}
	out := make([]int, 0, len(uses))
	for p := range uses {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b int) int { return cmp.Or(cmp.Compare(uses[b], uses[a]), cmp.Compare(a, b)) })
	return out
}
