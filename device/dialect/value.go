package dialect

import (
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// value is where a figure or a text is found. It is written as one line,
//
//	[sum of|max of|min of|avg of|count of] PATH [in UNIT [or UNIT…]] [if CONDITION]
//
// or as a mapping with the keys below. Several in a list are alternatives: the
// first that yields something counts. Two units on one figure say that firmwares
// differ under the same name; the plausible one is taken.
type value struct {
	Path    path              `yaml:"path"`
	Units   []string          `yaml:"unit"`
	UnitAt  path              `yaml:"unit_at"` // where the device says the unit, such as rate_unit
	Of      string            `yaml:"of"`      // sum, max, min, avg, count
	Over    path              `yaml:"over"`    // by whose figure it is divided
	Text    string            `yaml:"text"`    // a fixed text, with {PATH} replaced
	Match   *regexp.Regexp    `yaml:"match"`   // the first group, or the match, is the value; else there is none
	Map     map[string]string `yaml:"map"`     // from the device's word to ours; a word that is not there yields none
	If      cond              `yaml:"if"`
	Minus   float64           `yaml:"minus"`   // taken off the figure: boards are counted from 0 or from 1
	NonZero bool              `yaml:"nonzero"` // 0 is what the firmware sends for none
	at      place
}

func (v *value) put(at place) { v.at = at }

// bare is value without its decode method.
type bare value

func (v *value) decode(d *decoder, n ast.Node) {
	s, ok := scalar(n)
	if !ok {
		b := bare(*v)
		d.into(n, reflectOf(&b))
		*v = value(b)
		v.at = spot(n)
		v.check(d, n)
		return
	}
	v.at = spot(n)
	if i := strings.LastIndex(s, " if "); i >= 0 {
		c, err := parseCond(s[i+4:])
		if err != nil {
			d.bad(n, "", "the condition cannot be read: %v", err)
		}
		d.note(c.paths(), v.at)
		v.If, s = c, s[:i]
	}
	if i := strings.LastIndex(s, " in "); i >= 0 {
		for u := range strings.SplitSeq(s[i+4:], " or ") {
			v.Units = append(v.Units, strings.TrimSpace(u))
		}
		s = s[:i]
	}
	for _, of := range folds {
		if rest, ok := strings.CutPrefix(s, of+" of "); ok {
			v.Of, s = of, rest
		}
	}
	p, err := parsePath(s)
	if err != nil {
		d.bad(n, "a path is REQUEST.key.key, or .key within a list", "%v", err)
		return
	}
	p.at = v.at
	d.paths = append(d.paths, p)
	v.Path = p
	v.check(d, n)
}

var folds = []string{"sum", "max", "min", "avg", "count"}

func (v *value) check(d *decoder, n ast.Node) {
	if v.Of != "" && !slices.Contains(folds, v.Of) {
		d.bad(n, "one of "+strings.Join(folds, ", "), "%q is no way to put values together", v.Of)
	}
	for _, u := range v.Units {
		if !anyUnit(u) {
			d.bad(n, "such as TH/s, GH/s, W, kW, C, rpm, s, min, h, clock, %", "there is no unit %q", u)
		}
	}
	if v.Path.src == "" && v.Text == "" {
		d.bad(n, "give path: or text:", "this value comes from nowhere")
	}
	if v.Text != "" {
		d.template(n, v.Text)
	}
}

func (p *path) decode(d *decoder, n ast.Node) {
	s, ok := d.line(n)
	if !ok {
		return
	}
	parsed, err := parsePath(s)
	if err != nil {
		d.bad(n, "a path is REQUEST.key.key, or .key within a list", "%v", err)
		return
	}
	parsed.at = spot(n)
	d.paths = append(d.paths, parsed)
	*p = parsed
}

// values are alternatives: the first that yields something counts.
type values []value

// raw returns the scalars that a value names, after match and map.
func (v value) raw(e env) []any {
	if !v.If.holds(e) {
		return nil
	}
	if v.Text != "" {
		if s, ok := expand(v.Text, e, nil); ok {
			return v.words([]any{s})
		}
		return nil
	}
	var out []any
	for _, n := range v.Path.find(e) {
		switch x := n.v.(type) {
		case nil:
		case []any:
			out = append(out, x...)
		default:
			out = append(out, x)
		}
	}
	return v.words(out)
}

func (v value) words(in []any) []any {
	if v.Match == nil && v.Map == nil {
		return in
	}
	var out []any
	for _, x := range in {
		s, ok := text(x)
		if !ok {
			continue
		}
		if v.Match != nil {
			m := v.Match.FindStringSubmatch(s)
			if m == nil {
				continue
			}
			s = m[len(m)-1]
			if len(m) > 2 {
				s = m[1]
			}
		}
		if v.Map != nil {
			if s, ok = v.mapped(s); !ok {
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

func (v value) mapped(s string) (string, bool) {
	if to, ok := v.Map[s]; ok {
		return to, true
	}
	for from, to := range v.Map {
		if strings.EqualFold(from, s) {
			return to, true
		}
	}
	return "", false
}

// numbers returns the figures of the first alternative that has any.
func (vs values) numbers(e env, q quantity, hint float64) []float64 {
	for _, v := range vs {
		if out := v.numbers(e, q, hint); len(out) > 0 {
			return out
		}
	}
	return nil
}

func (v value) numbers(e env, q quantity, hint float64) []float64 {
	raw := v.raw(e)
	if v.Of == "count" {
		if len(raw) == 0 {
			return nil // what is not told is not known, and not none
		}
		return []float64{float64(len(raw))}
	}
	if v.Of == "sum" && v.partial(e, raw, q) {
		return nil
	}
	us := v.Units
	if v.UnitAt.src != "" {
		for _, n := range v.UnitAt.find(e) {
			if s, ok := text(n.v); ok && !blank(s) {
				if _, known := unit(q, s); !known {
					return nil // kSol/s: no figure of ours
				}
				us = []string{s}
			}
		}
	}
	if len(us) == 0 {
		us = []string{""}
	}
	var out []float64
	by := 1.0
	if v.Over.src != "" {
		by = 0 // without the divisor there is no figure
		for _, n := range v.Over.find(e) {
			by, _ = number(n.v, plain, "")
		}
	}
	add := func(x float64) {
		if x = x/by - v.Minus; sane(x, q) && (x != 0 || !v.NonZero) {
			out = append(out, x)
		}
	}
	for _, r := range raw {
		if q == temp {
			if list, ok := dashed(r); ok {
				for _, x := range list {
					add(x)
				}
				continue
			}
		}
		var in []float64
		for _, u := range us {
			if x, ok := number(r, q, u); ok && sane(x, q) {
				in = append(in, x)
			}
		}
		if len(in) > 0 {
			add(plausible(in, hint))
		}
	}
	return v.fold(out, q)
}

// partial reports whether something that is to be added up is there and no number: a sum without it would be too low.
// An empty text is what firmwares write for a board that there is none of.
func (v value) partial(e env, raw []any, q quantity) bool {
	if slices.ContainsFunc(v.Path.find(e), func(n node) bool { return n.v == nil }) {
		return true
	}
	return slices.ContainsFunc(raw, func(x any) bool {
		if s, ok := x.(string); ok && strings.TrimSpace(s) == "" {
			return false
		}
		_, ok := number(x, q, "")
		return !ok
	})
}

func (v value) fold(in []float64, q quantity) []float64 {
	if len(in) == 0 || v.Of == "" {
		return in
	}
	x := in[0]
	for _, y := range in[1:] {
		switch v.Of {
		case "max":
			x = max(x, y)
		case "min":
			x = min(x, y)
		default:
			x += y
		}
	}
	if v.Of == "avg" {
		x /= float64(len(in))
	}
	if !sane(x, q) {
		return nil
	}
	return []float64{x}
}

// number returns the first figure.
func (vs values) number(e env, q quantity, hint float64) *float64 {
	if xs := vs.numbers(e, q, hint); len(xs) > 0 {
		return &xs[0]
	}
	return nil
}

// maxText bounds a text of a device: what is longer is no name.
const maxText = 512

// blank reports whether a text is what firmwares write where they have none.
func blank(s string) bool {
	switch strings.ToLower(s) {
	case "", "n/a", "nan", "-nan", "inf", "-inf", "null", "nil", "undefined", "unknown", "-", "--", "-1":
		return true
	}
	return false
}

// texts returns the texts of the first alternative that has any.
func (vs values) texts(e env) []string {
	for _, v := range vs {
		var out []string
		for _, r := range v.raw(e) {
			if s, ok := text(r); ok && !blank(s) {
				if len(s) > maxText {
					s = strings.ToValidUTF8(s[:maxText], "")
				}
				out = append(out, s)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

func (vs values) text(e env) string {
	if s := vs.texts(e); len(s) > 0 {
		return s[0]
	}
	return ""
}

// flag returns whether the first text is true, nil where there is none.
func (vs values) flag(e env) *bool {
	s := vs.texts(e)
	if len(s) == 0 {
		return nil
	}
	b := truth(s[0])
	return &b
}
