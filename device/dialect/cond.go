package dialect

import (
	"fmt"
	"regexp"
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
//
// several of them joined with " and ".
type cond struct {
	src   string
	terms []term
}

type term struct {
	path path
	not  bool
	op   string // "", exists, is, isnt, >=, >, <, <=
	re   *regexp.Regexp
	ver  []int
}

var operators = regexp.MustCompile(`^(.*?) +(exists|is|isnt|>=|<=|>|<)(?: +(.*))?$`)

func parseCond(src string) (cond, error) {
	c := cond{src: src}
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
				return c, fmt.Errorf("%q compares with nothing", part)
			case t.op == "is" || t.op == "isnt":
				re, err := regexp.Compile(m[3])
				if err != nil {
					return c, fmt.Errorf("%q: %w", part, err)
				}
				t.re = re
			default:
				if t.ver = version(m[3]); t.ver == nil {
					return c, fmt.Errorf("%q: %q is no number or version", part, m[3])
				}
			}
		}
		p, err := parsePath(s)
		if err != nil {
			return c, err
		}
		t.path = p
		c.terms = append(c.terms, t)
	}
	return c, nil
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
	for i := range parsed.terms {
		parsed.terms[i].path.at = spot(n)
		d.paths = append(d.paths, parsed.terms[i].path)
	}
	*c = parsed
}

// holds reports whether all terms hold. An empty condition holds.
func (c cond) holds(e env) bool {
	for _, t := range c.terms {
		if t.holds(e) == t.not {
			return false
		}
	}
	return true
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
	some, match := false, false
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
			match = match || t.re.MatchString(s)
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

// any reports whether one of the conditions holds.
func anyHolds(cs []cond, e env) bool {
	for _, c := range cs {
		if c.holds(e) {
			return true
		}
	}
	return false
}
