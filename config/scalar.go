package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"sluice"
)

// wrong is a value that cannot be read, with what was probably meant.
type wrong struct{ msg, suggestion string }

func (w *wrong) Error() string { return w.msg }

func asWrong(err error) *wrong {
	if w, ok := errors.AsType[*wrong](err); ok {
		return w
	}
	return &wrong{msg: err.Error()}
}

var powerForm = regexp.MustCompile(`^(-?[0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)$`)

// maxPower is more than any connection has (1 TW), and far from overflow.
const maxPower = 1e12

func parsePower(s string) (Power, error) {
	m := powerForm.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return 0, &wrong{msg: fmt.Sprintf("%q is no power; write it as 14MW, 250kW or 3250W", s)}
	}
	x, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, &wrong{msg: fmt.Sprintf("%q is no power; write it as 14MW, 250kW or 3250W", s)}
	}
	var f float64
	switch unit := m[2]; unit {
	case "W":
		f = 1
	case "kW":
		f = 1e3
	case "MW":
		f = 1e6
	case "":
		if x != 0 {
			return 0, &wrong{fmt.Sprintf("the power %s has no unit", m[1]), m[1] + "W"}
		}
	default:
		return 0, wrongUnit(m[1], unit)
	}
	if w := x * f; w < 0 || w > maxPower {
		return 0, &wrong{msg: fmt.Sprintf("a power of %s is out of range; it is 0W to 1000000MW", s)}
	}
	return Power(math.Round(x * f)), nil
}

func wrongUnit(x, unit string) error {
	// The right unit with wrong capitals; "mw" is milliwatts to a physicist, so
	// it is asked and not guessed.
	for _, u := range []string{"MW", "kW", "W"} {
		if strings.EqualFold(unit, u) {
			return &wrong{fmt.Sprintf("%q is no unit of power", unit), x + u}
		}
		if strings.EqualFold(unit, u+"h") {
			return &wrong{fmt.Sprintf("%s is energy, and a power is wanted", unit), x + u}
		}
		if strings.EqualFold(unit, strings.TrimSuffix(u, "W")+"VA") {
			return &wrong{fmt.Sprintf("%s is apparent power; give the real power that may be drawn", unit), x + u}
		}
	}
	return &wrong{msg: fmt.Sprintf("%q is no unit of power; use W, kW or MW", unit)}
}

var dayForm = regexp.MustCompile(`^([0-9]{1,4})\s*(d|days?)$`)

func parseDuration(s string) (Duration, error) {
	t := strings.TrimSpace(s)
	d, err := time.ParseDuration(t)
	if err == nil && d >= 0 && (d != 0 || t != "-0") {
		return Duration(d), nil
	}
	if err == nil {
		return 0, &wrong{msg: fmt.Sprintf("the duration %s is negative", s)}
	}
	w := &wrong{msg: fmt.Sprintf("%q is no duration; write it as 30s, 5m or 3h", s)}
	if m := dayForm.FindStringSubmatch(t); m != nil {
		n, _ := strconv.Atoi(m[1])
		w.suggestion = fmt.Sprintf("%dh", n*24)
	} else if _, e := strconv.ParseFloat(t, 64); e == nil {
		w.msg = fmt.Sprintf("the duration %s has no unit", t)
		w.suggestion = t + "s"
	} else if fixed := longUnits.Replace(strings.ToLower(t)); fixed != t {
		if _, e := time.ParseDuration(fixed); e == nil {
			w.suggestion = fixed
		}
	}
	return 0, w
}

var longUnits = strings.NewReplacer(" ", "", "seconds", "s", "second", "s", "secs", "s", "sec", "s",
	"minutes", "m", "minute", "m", "mins", "m", "min", "m", "hours", "h", "hour", "h", "hrs", "h", "hr", "h")

func parsePercent(s string) (Percent, error) {
	t := strings.TrimSpace(s)
	num, percent := strings.CutSuffix(t, "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
	if err != nil || math.IsNaN(x) {
		return 0, &wrong{msg: fmt.Sprintf("%q is no share; write it as 1%% or 0.01", s)}
	}
	if percent {
		x /= 100
	} else if x >= 1 && x < 100 {
		return 0, &wrong{fmt.Sprintf("a share of %s is more than the whole", t), t + "%"}
	}
	if x < 0 || x >= 1 {
		return 0, &wrong{msg: fmt.Sprintf("a share of %s is out of range; it is 0%% to below 100%%", t)}
	}
	return Percent(x), nil
}

// String prints the power as it may stand in the file.
func (p Power) String() string {
	switch {
	case p != 0 && p%1_000_000 == 0:
		return fmt.Sprintf("%dMW", p/1_000_000)
	case p != 0 && p%1000 == 0:
		return fmt.Sprintf("%dkW", p/1000)
	}
	return fmt.Sprintf("%dW", int64(p))
}

// Watts returns the power in the unit of the rest of the program.
func (p Power) Watts() sluice.Watts { return sluice.Watts(p) }

// MarshalJSON prints it as it may stand in the file.
func (p Power) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(p.String())), nil }

// Duration returns it as the standard library's.
func (d Duration) Duration() time.Duration { return time.Duration(d) }

// String prints the duration as it may stand in the file.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalJSON prints it as it may stand in the file.
func (d Duration) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(d.String())), nil }
