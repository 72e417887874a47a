package dispatch

import (
	"fmt"
	"math"
	"slices"
)

// checker finds the first thing that is wrong. An instance is gone through
// without words, which is quick; one that is wrong is gone through again, to
// say what it is.
type checker struct {
	words bool
	bad   bool
	err   error
	T     int
}

func (c *checker) fail(prefix, field string, value any, why string) {
	c.bad = true
	if c.err == nil && c.words {
		if s, ok := value.(string); ok {
			value = fmt.Sprintf("%q", clip(s))
		}
		c.err = invalid("%s%s: %v %s", prefix, field, value, why)
	}
}

// at says where in the instance a thing is, for fields' names to follow.
func (c *checker) at(list string, i int, name string) string {
	switch {
	case !c.words:
		return ""
	case name == "":
		return fmt.Sprintf("%s[%d].", list, i)
	}
	return fmt.Sprintf("%s[%d] (%s).", list, i, clip(name))
}

func (c *checker) count(prefix, field string, n int) {
	if n < 0 || n > maxUnits {
		c.fail(prefix, field, n, fmt.Sprintf("is not between 0 and %d", maxUnits))
	}
}

func (c *checker) number(prefix, field string, x float64) {
	if !(math.Abs(x) <= maxNumber) {
		c.fail(prefix, field, x, "is not a finite number of reasonable size")
	}
}

func (c *checker) positive(prefix, field string, x float64) {
	c.number(prefix, field, x)
	if x < 0 {
		c.fail(prefix, field, x, "is negative")
	}
}

// series checks a series: its length, and its values; null stands for no limit
// where that is allowed.
func (c *checker) series(prefix, field string, s *Series, null, negative bool) {
	switch {
	case c.bad:
	case s.bad != "":
		c.fail(prefix, field, s.bad, "is neither a number nor an array of numbers")
	case s.values == nil:
		c.value(prefix, field, s.all, null, negative)
	case len(s.values) != c.T:
		c.fail(prefix, field, fmt.Sprintf("%d values", len(s.values)), fmt.Sprintf("where %d intervals are", c.T))
	default:
		for t, x := range s.values {
			if !(math.Abs(x) <= maxNumber) || x < 0 {
				f := field
				if c.words {
					f = fmt.Sprintf("%s[%d]", field, t)
				}
				c.value(prefix, f, x, null, negative)
			}
		}
	}
}

func (c *checker) value(prefix, field string, x float64, null, negative bool) {
	switch {
	case math.IsInf(x, 1) && null:
	case math.IsInf(x, 1):
		c.fail(prefix, field, "null", "where a finite number is due")
	case x < 0 && !negative:
		c.fail(prefix, field, x, "is negative")
	default:
		c.number(prefix, field, x)
	}
}

// name checks that thing i has a name, and that none before it has the same.
func (c *checker) name(prefix string, i int, all *names) {
	switch s := all.name(i); {
	case s == "":
		c.fail(prefix, "name", "", "is not a name")
	case all.find(s) != i:
		c.fail(prefix, "name", s, "is given twice")
	}
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
