package dialect

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// cond is what must hold, written as
//
//	PATH                 it is true, yes, on, or a number other than 0
//	not PATH             the opposite, also where there is nothing
//	PATH exists          there is anything but null
//	PATH is REGEXP       a value that it names matches
//	PATH isnt REGEXP     there is a value, and none matches
//	PATH >= 1.3.4        compared number by number; also >, <, <=
//	PATH > {PATH}        the same, with what stands elsewhere
//
// several of them joined with " and ", and those with " or ". Within a list,
// {key} and {n} in a regexp stand for the element's key and its number.
type cond struct {
	src  string
	alts [][]term // any of them, all of its terms
}

type term struct {
	path path
	not  bool
	op   string // "", exists, is, isnt, >=, >, <, <=
	re   *regexp.Regexp
	like string // of the regexp, where it holds {key} or {n}
	ver  []int
	than *path // of which ver is taken
}

var operators = regexp.MustCompile(`^(.*?) +(exists|is|isnt|>=|<=|>|<)(?: +(.*))?$`)

func parseCond(src string) (cond, error) {
	c := cond{src: src}
	for alt := range strings.SplitSeq(src, " or ") {
		terms, err := parseTerms(alt)
		if err != nil {
			return c, err
		}
		c.alts = append(c.alts, terms)
	}
	return c, nil
}

func parseTerms(src string) (out []term, err error) {
	for part := range strings.SplitSeq(src, " and ") {
		t := term{}
		s := strings.TrimSpace(part)
		if rest, ok := strings.CutPrefix(s, "not "); ok {
			t.not, s = true, rest
		}
		if m := operators.FindStringSubmatch(s); m != nil {
			s, t.op = m[1], m[2]
			switch {
			case t.op == "exists":
			case m[3] == "":
				return nil, fmt.Errorf("%q compares with nothing", part)
			case t.op == "is" || t.op == "isnt":
				re, err := regexp.Compile(m[3])
				if err != nil {
					return nil, fmt.Errorf("%q: %w", part, err)
				}
				t.re = re
				if strings.Contains(m[3], "{key}") || strings.Contains(m[3], "{n}") {
					t.like = m[3]
				}
			case strings.HasPrefix(m[3], "{") && strings.HasSuffix(m[3], "}"):
				p, err := parsePath(m[3][1 : len(m[3])-1])
				if err != nil {
					return nil, err
				}
				t.than = &p
			default:
				if t.ver = version(m[3]); t.ver == nil {
					return nil, fmt.Errorf("%q: %q is no number or version", part, m[3])
				}
			}
		}
		p, err := parsePath(s)
		if err != nil {
			return nil, err
		}
		t.path = p
		out = append(out, t)
	}
	return out, nil
}

func (c *cond) decode(d *decoder, n ast.Node) {
	s, ok := scalar(n)
	if !ok {
		d.bad(n, "write it as PATH is REGEXP", "a condition is a single line, not %s", kind(n))
		return
	}
	parsed, err := parseCond(s)
	if err != nil {
		d.bad(n, "write it as PATH is REGEXP, PATH >= VERSION, PATH, not PATH or PATH exists", "the condition cannot be read: %v", err)
		return
	}
	d.note(parsed.paths(), spot(n))
	*c = parsed
}

// holds reports whether all terms hold. An empty condition holds.
func (c cond) holds(e env) bool {
	return len(c.alts) == 0 || slices.ContainsFunc(c.alts, func(terms []term) bool {
		return !slices.ContainsFunc(terms, func(t term) bool { return t.holds(e) == t.not })
	})
}

func (c cond) paths() []path {
	var ps []path
	for _, terms := range c.alts {
		for _, t := range terms {
			ps = append(ps, t.path)
			if t.than != nil {
				ps = append(ps, *t.than)
			}
		}
	}
	return ps
}

// regexp is the term's, with the element's key put in.
func (t term) regexp(e env) *regexp.Regexp {
	if t.like == "" {
		return t.re
	}
	r := strings.NewReplacer("{key}", regexp.QuoteMeta(e.key), "{n}", e.number())
	if re, err := regexp.Compile(r.Replace(t.like)); err == nil {
		return re
	}
	return t.re
}

func (t term) holds(e env) bool {
	found := t.path.find(e)
	if t.op == "exists" {
		for _, n := range found {
			if n.v != nil {
				return true
			}
		}
		return false
	}
	if t.than != nil {
		// Where there is nothing to compare with, nothing holds.
		t.ver = nil
		for _, n := range t.than.find(e) {
			if s, ok := text(n.v); ok && t.ver == nil {
				t.ver = version(s)
			}
		}
		if t.ver == nil {
			return false
		}
	}
	some, match, re := false, false, t.regexp(e)
	for _, n := range found {
		s, ok := text(n.v)
		if !ok {
			continue
		}
		some = true
		switch t.op {
		case "":
			match = match || truth(s)
		case "is", "isnt":
			match = match || re.MatchString(s)
		default:
			match = match || t.compares(s)
		}
	}
	if t.op == "isnt" {
		return some && !match
	}
	return match
}

func (t term) compares(s string) bool {
	v := version(s)
	if v == nil {
		return false
	}
	c := 0
	for i := 0; c == 0 && (i < len(v) || i < len(t.ver)); i++ {
		a, b := 0, 0
		if i < len(v) {
			a = v[i]
		}
		if i < len(t.ver) {
			b = t.ver[i]
		}
		c = a - b
	}
	switch t.op {
	case ">=":
		return c >= 0
	case ">":
		return c > 0
	case "<":
		return c < 0
	}
	return c <= 0
}

var versions = regexp.MustCompile(`\d+(\.\d+)*`)

// version returns the numbers of the first dotted version in s.
func version(s string) []int {
	m := versions.FindString(s)
	if m == "" {
		return nil
	}
	var out []int
	for p := range strings.SplitSeq(m, ".") {
		n, err := strconv.Atoi(p)
		if err != nil {
			return nil
		}
		out = append(out, n)
	}
	return out
}

func truth(s string) bool {
	switch strings.ToLower(s) {
	case "true", "yes", "y", "on":
		return true
	}
	x, err := strconv.ParseFloat(s, 64)
	return err == nil && x != 0
}

// told is whether one of the conditions holds, nil where nothing that they look at is there.
func told(cs []cond, e env) *bool {
	yes := anyHolds(cs, e)
	for _, c := range cs {
		for _, p := range c.paths() {
			if yes || slices.ContainsFunc(p.find(e), func(n node) bool { s, ok := text(n.v); return ok && !blank(s) }) {
				return &yes
			}
		}
	}
	return nil
}

// anyHolds reports whether one of the conditions holds.
func anyHolds(cs []cond, e env) bool {
	for _, c := range cs {
		if c.holds(e) {
			return true
		}
	}
	return false
}
