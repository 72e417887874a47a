package report

import (
	"math"
	"strings"
	"time"
)

// scale maps values to pixels. A knee above 0 bends it: straight through values
// smaller than the knee, a logarithm beyond, as on the dashboard.
type scale struct {
	lo, hi   float64 // values
	from, to float64 // pixels
	knee     float64
	step     float64 // between ticks of a straight scale
}

func (s scale) bend(v float64) float64 {
	if s.knee > 0 {
		return math.Asinh(v / s.knee)
	}
	return v
}

func (s scale) at(v float64) float64 {
	a, b := s.bend(s.lo), s.bend(s.hi)
	if a == b {
		return (s.from + s.to) / 2
	}
	return s.from + (s.to-s.from)*((s.bend(v)-a)/(b-a))
}

// newScale covers lo to hi and ends on ticks; zero says that zero is in it.
func newScale(lo, hi, from, to, knee float64, zero bool) scale {
	if lo > hi { // there are no values
		lo, hi = 0, 1
	}
	if !(knee >= 1e-6 && knee <= 1e12) {
		knee = 0
	}
	if zero || tiny(lo, hi) || (lo > 0 && lo < hi/3) || (hi < 0 && hi > lo/3) {
		lo, hi = math.Min(lo, 0), math.Max(hi, 0)
	}
	if tiny(lo, hi) {
		hi = lo + 1
	}
	s := scale{lo: lo, hi: hi, from: from, to: to, knee: knee}
	if knee > 0 {
		room := (s.bend(hi) - s.bend(lo)) * 0.04
		if hi > 0 {
			s.hi = knee * math.Sinh(s.bend(hi)+room)
		}
		if lo < 0 {
			s.lo = knee * math.Sinh(s.bend(lo)-room)
		}
		return s
	}
	s.step = niceStep((hi - lo) / s.room(34))
	s.lo, s.hi = math.Floor(lo/s.step+1e-9)*s.step, math.Ceil(hi/s.step-1e-9)*s.step
	return s
}

// tiny says whether lo to hi is too little to be divided.
func tiny(lo, hi float64) bool {
	return hi-lo < 1e-15 || hi-lo < 1e-12*math.Max(math.Abs(lo), math.Abs(hi))
}

// room is how many ticks have place with that many pixels each.
func (s scale) room(px float64) float64 { return math.Max(1, math.Abs(s.to-s.from)/px) }

// niceStep is the smallest of 1, 2, 2.5 and 5 times a power of ten that is at
// least v.
func niceStep(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*p >= v*(1-1e-9) {
			return m * p
		}
	}
	return 10 * p
}

// tick is a place on an axis. Strong ones begin a year, a month or a day.
type tick struct {
	at     float64
	text   string
	strong bool
}

// ticks are the round values within the scale.
func (s scale) ticks(unit string) []tick {
	if s.knee > 0 {
		var out []tick
		for _, v := range s.bentTicks() { // from 20 to 9,000: each in its own magnitude
			out = append(out, label([]float64{v}, unit)...)
		}
		return out
	}
	return label(multiples(s.step, s.lo, s.hi), unit)
}

// multiples are those of step from lo to hi.
func multiples(step, lo, hi float64) []float64 {
	var out []float64
	for i := math.Ceil(lo/step - 1e-9); i <= hi/step+1e-9 && len(out) < 100; i++ {
		out = append(out, i*step)
	}
	return out
}

func (s scale) bentTicks() []float64 {
	var all []float64
	for p := math.Pow(10, math.Floor(math.Log10(s.knee))); p <= math.Max(s.hi, -s.lo) && p < 1e18; p *= 10 {
		for _, m := range []float64{1, 2, 5} {
			all = append(all, m*p)
		}
	}
	out := []float64{}
	free := func(v float64) bool {
		if v < s.lo || v > s.hi {
			return false
		}
		for _, o := range out {
			if math.Abs(s.at(o)-s.at(v)) < 26 {
				return false
			}
		}
		return true
	}
	// Zero first, then powers of ten, then what finds place between.
	for pass := range 2 {
		for i, v := range append([]float64{0}, all...) {
			round := i == 0 || (i-1)%3 == 0
			for _, c := range []float64{v, -v} {
				if (pass == 1 || round) && free(c) {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

// label writes the values of one axis alike: the same magnitude and decimals.
func label(at []float64, unit string) []tick {
	before, after := split(unit)
	by, suffix, top := 1.0, "", 0.0
	if unit == Fraction {
		by = 100
	}
	for _, v := range at {
		top = math.Max(top, math.Abs(v)*by)
	}
	div := 1.0
	switch {
	case before != "" && top >= 2e9:
		div, suffix = 1e9, " bn"
	case before != "" && top >= 1e6, top >= 1e7:
		div, suffix = 1e6, " M"
	case before != "" && (top >= 1e4 || len(at) == 1 && top >= 1e3):
		div, suffix = 1e3, " k"
	}
	if strings.HasPrefix(after, "/") || len([]rune(after)) > 4 {
		after = "" // the axis's title says it
	}
	out := make([]tick, 0, len(at))
	for _, v := range at {
		n := v * by / div
		d := 0
		for d < 6 && math.Abs(n*math.Pow10(d)-math.Round(n*math.Pow10(d))) > 1e-6 {
			d++
		}
		sign := ""
		if n < 0 {
			sign = "−"
		}
		t := tick{at: v, text: sign + before + grouped(math.Abs(n), d) + suffix + after}
		if v == 0 {
			t.text = before + "0" + after
			t.strong = true
		}
		out = append(out, t)
	}
	return out
}

// steps of time that a clock's reader expects.
var steps = []struct{ months, seconds int }{
	{0, 300},
	{0, 900},
	{0, 1800},
	{0, 3600},
	{0, 2 * 3600},
	{0, 3 * 3600},
	{0, 6 * 3600},
	{0, 12 * 3600},
	{0, 86400},
	{0, 2 * 86400},
	{0, 7 * 86400},
	{0, 14 * 86400},
	{1, 0},
	{2, 0},
	{3, 0},
	{6, 0},
	{12, 0},
	{24, 0},
	{60, 0},
	{120, 0},
	{300, 0},
	{1200, 0},
	{12000, 0},
}

// timeTicks are round moments of the zone between lo and hi, in Unix seconds, at
// most n of them.
func timeTicks(lo, hi float64, n int, zone *time.Location) []tick {
	if lo < -62135596800 || hi > 253402300799 { // the years 1 to 9999
		return nil
	}
	for _, st := range steps {
		every := float64(st.seconds + st.months*2629746)
		if (hi-lo)/every > float64(max(n, 1)) {
			continue
		}
		var out []tick
		for t := firstTick(lo, st.months, st.seconds, zone); float64(t.Unix()) <= hi && len(out) < 200; {
			if u := float64(t.Unix()); u >= lo {
				text, strong := timeText(t, st.months, st.seconds)
				out = append(out, tick{u, text, strong})
			}
			switch {
			case st.months > 0:
				t = t.AddDate(0, st.months, 0)
			case st.seconds >= 86400:
				t = t.AddDate(0, 0, st.seconds/86400)
			case st.seconds >= 7200: // by the clock on the wall: 06:00 stays 06:00 when summer time begins
				t = time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), st.seconds, 0, zone)
			default:
				t = t.Add(time.Duration(st.seconds) * time.Second)
			}
		}
		return out
	}
	return nil
}

func firstTick(lo float64, months, seconds int, zone *time.Location) time.Time {
	t := time.Unix(int64(lo), 0).In(zone)
	switch {
	case months >= 12:
		y := months / 12
		return time.Date(t.Year()/y*y, 1, 1, 0, 0, 0, 0, zone)
	case months > 0:
		return time.Date(t.Year(), 1, 1, 0, 0, 0, 0, zone)
	case seconds >= 7*86400: // weeks begin on Mondays
		d := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, zone)
		return d.AddDate(0, 0, -(int(d.Weekday())+6)%7)
	}
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, zone)
}

func timeText(t time.Time, months, seconds int) (text string, strong bool) {
	switch {
	case months >= 12:
		return t.Format("2006"), true
	case months > 0 && t.Month() == 1:
		return t.Format("Jan 2006"), true
	case months > 0:
		return t.Format("Jan"), false
	case seconds >= 86400:
		return t.Format("2 Jan"), t.Day() == 1
	case t.Hour() == 0 && t.Minute() == 0:
		return t.Format("2 Jan"), true
	}
	return t.Format("15:04"), false
}
