package dialect

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// quantity is what a number measures: it decides the units that may be
// declared and the values that are too absurd to be one.
type quantity int

const (
	plain    quantity = iota
	hashrate          // TH/s
	power             // W
	temp              // °C
	rpm
	seconds
	percent
	count
)

// scale turns a unit into the quantity's own. It is a product and a division,
// because 1/1000 is no binary fraction and 173870.94 GH/s are 173.87094 TH/s.
type scale struct{ mul, div float64 }

func (s scale) of(x float64) float64 { return x * s.mul / s.div }

var units = map[quantity]map[string]scale{
	hashrate: {"h/s": {1, 1e12}, "kh/s": {1, 1e9}, "mh/s": {1, 1e6}, "gh/s": {1, 1e3}, "th/s": {1, 1}, "ph/s": {1e3, 1}, "eh/s": {1e6, 1}},
	power:    {"w": {1, 1}, "watt": {1, 1}, "watts": {1, 1}, "kw": {1e3, 1}, "mw": {1, 1e3}}, // mw is a milliwatt: no machine tells megawatts
	temp:     {"c": {1, 1}, "°c": {1, 1}, "mc": {1, 1e3}},
	rpm:      {"rpm": {1, 1}},
	seconds:  {"s": {1, 1}, "ms": {1, 1e3}, "min": {60, 1}, "h": {3600, 1}, "d": {86400, 1}, "clock": {1, 1}},
	percent:  {"%": {1, 1}, "ratio": {100, 1}},
}

// bounds of what is believed, in the quantity's own unit. A temperature of 0
// is what firmwares send for none.
var bounds = map[quantity][2]float64{
	plain:    {-math.MaxFloat64, math.MaxFloat64},
	hashrate: {0, 20_000},
	power:    {0, 200_000},
	temp:     {0.01, 200},
	rpm:      {0, 100_000},
	seconds:  {0, 1e9},
	percent:  {0, 100},
	count:    {0, 1e6},
}

func sane(x float64, q quantity) bool {
	b := bounds[q]
	return !math.IsNaN(x) && x >= b[0] && x <= b[1]
}

// unit looks a unit up as firmwares and files write it: GH/s, GHs, GH, Ghs.
func unit(q quantity, s string) (to scale, ok bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	if q == hashrate {
		s = strings.TrimSuffix(strings.TrimSuffix(s, "/s"), "s") + "/s"
		if s == "/s" {
			return scale{}, false
		}
	}
	to, ok = units[q][s]
	return to, ok
}

func anyUnit(s string) bool {
	for q := range units {
		if _, ok := unit(q, s); ok {
			return true
		}
	}
	return false
}

var numeral = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?`)

// number reads a value as a number in the quantity's own unit. What stands
// behind a number in a string goes before the declared unit. Anything but a
// finite number, also inf and nan, is none.
func number(v any, q quantity, declared string) (float64, bool) {
	switch v := v.(type) {
	case float64:
		f, ok := unit(q, declared)
		if !ok {
			f = scale{1, 1}
		}
		return f.of(v), !math.IsInf(v, 0) && !math.IsNaN(v)
	case string:
		s := strings.TrimSpace(v)
		if q == seconds && declared == "clock" {
			return clock(s)
		}
		digits := numeral.FindString(s)
		x, err := strconv.ParseFloat(digits, 64)
		if err != nil || math.IsInf(x, 0) {
			return 0, false
		}
		rest := strings.TrimSpace(s[len(digits):])
		f, ok := unit(q, rest)
		if !ok {
			if strings.ContainsAny(rest, "0123456789") { // a date, a version, hex: no number
				return 0, false
			}
			if (q == hashrate || q == power) && rest != "" { // of a unit that we do not know, it is any size
				return 0, false
			}
			if f, ok = unit(q, declared); !ok {
				f = scale{1, 1}
			}
		}
		return f.of(x), true
	}
	return 0, false
}

var clocks = regexp.MustCompile(`^(?:(\d+) *d(?:ays?)?,? *)?(\d+):(\d\d)(?::(\d\d))?$`)

// clock reads an uptime as uptime(1) writes it: "1:55" is hours and minutes,
// "0:01:02" has seconds, "3 days, 1:02" has days.
func clock(s string) (float64, bool) {
	m := clocks.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	var n [4]float64
	for i := range n {
		n[i], _ = strconv.ParseFloat(m[i+1], 64)
	}
	return n[0]*86400 + n[1]*3600 + n[2]*60 + n[3], true
}

// dashed reads the numbers of "78-50-69-70", as temperatures come.
func dashed(v any) ([]float64, bool) {
	s, ok := v.(string)
	if !ok || !strings.Contains(s, "-") {
		return nil, false
	}
	var out []float64
	for p := range strings.SplitSeq(s, "-") {
		if x, err := strconv.ParseFloat(strings.TrimSpace(p), 64); err == nil && !math.IsInf(x, 0) && !math.IsNaN(x) {
			out = append(out, x)
		}
	}
	return out, len(out) > 0
}

// plausible chooses among readings of the same figure in several units: the one
// nearest to what the device should reach, and without that the first that is a
// size that miners have.
func plausible(xs []float64, hint float64) float64 {
	if hint > 0 {
		best, gap := xs[0], math.Inf(1)
		for _, x := range xs {
			if x <= 0 {
				continue
			}
			if g := math.Abs(math.Log(x / hint)); g < gap {
				best, gap = x, g
			}
		}
		return best
	}
	for _, x := range xs {
		if x >= 0.05 && x <= 2000 {
			return x
		}
	}
	return xs[0]
}
