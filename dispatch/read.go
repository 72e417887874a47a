package dispatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode"

	"sluice"
)

const (
	maxInstanceBytes = 64 << 20
	maxIntervals     = 200_000
	maxUnits         = 1_000_000_000
	// Beyond this a sum of products may no longer be finite.
	maxNumber = 1e15
)

// ReadInstance reads and validates an instance of at most 64 MiB of JSON. What
// is wrong with it comes back as one error of kind sluice.Invalid that names
// the field and the value. Fields it does not know are ignored.
func ReadInstance(r io.Reader) (*Instance, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxInstanceBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the instance: %w", err)
	}
	if len(b) > maxInstanceBytes {
		return nil, invalid("instance: more than %d bytes", maxInstanceBytes)
	}
	in := new(Instance)
	if err := json.Unmarshal(b, in); err != nil {
		return nil, jsonError(b, err)
	}
	if err := in.Validate(); err != nil {
		return nil, err
	}
	return in, nil
}

const formHint = "the form of an instance is described under `sluice dispatch solve --help`"

func invalid(format string, args ...any) error {
	// Names come from outside: they may not break the line.
	msg := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, fmt.Sprintf(format, args...))
	return sluice.Errorf(sluice.Invalid, formHint, "%s", msg)
}

// jsonError names the field in which decoding failed, as far as it can be told.
func jsonError(b []byte, err error) error {
	var syn *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typ):
		field := typ.Field
		if field == "" {
			field = "instance"
		}
		return invalid("%s: %s where a %s is due", field, typ.Value, typ.Type)
	case errors.As(err, &syn):
		at := int(min(max(0, syn.Offset), int64(len(b))))
		line := 1 + bytes.Count(b[:at], []byte("\n"))
		near := b[max(0, at-1):min(len(b), at+20)]
		return invalid("%s: not JSON at line %d near %q: %v", lastKey(b[:at]), line, near, err)
	}
	return invalid("instance: %v", err)
}

// lastKey returns the last object key in b, or "instance".
func lastKey(b []byte) string {
	for i := bytes.LastIndexByte(b, ':'); i > 0; i = bytes.LastIndexByte(b[:i], ':') {
		k := bytes.TrimRight(b[:i], " \t\r\n")
		if len(k) < 2 || k[len(k)-1] != '"' {
			continue
		}
		if j := bytes.LastIndexByte(k[:len(k)-1], '"'); j >= 0 {
			return clip(string(k[j+1 : len(k)-1]))
		}
	}
	return "instance"
}

// checker collects the first thing that is wrong.
type checker struct {
	err error
	T   int
}

func (c *checker) fail(field string, value any, why string) {
	if c.err == nil {
		if s, ok := value.(string); ok {
			value = fmt.Sprintf("%q", clip(s))
		}
		c.err = invalid("%s: %v %s", field, value, why)
	}
}

func (c *checker) count(field string, n int) {
	if n < 0 || n > maxUnits {
		c.fail(field, n, fmt.Sprintf("is not between 0 and %d", maxUnits))
	}
}

func (c *checker) number(field string, x float64) {
	if math.IsNaN(x) || math.Abs(x) > maxNumber {
		c.fail(field, x, "is not a finite number of reasonable size")
	}
}

func (c *checker) positive(field string, x float64) {
	c.number(field, x)
	if x < 0 {
		c.fail(field, x, "is negative")
	}
}

// series checks a series: its length, and its values by check; null stands for
// no limit where that is allowed.
func (c *checker) series(field string, s Series, null, negative bool) {
	if c.err != nil {
		return
	}
	if s.bad != "" {
		c.fail(field, s.bad, "is neither a number nor an array of numbers")
		return
	}
	if s.values != nil && len(s.values) != c.T {
		c.fail(field, fmt.Sprintf("%d values", len(s.values)), fmt.Sprintf("where %d intervals are", c.T))
		return
	}
	one := func(field string, x float64) {
		if math.IsInf(x, 1) {
			if !null {
				c.fail(field, "null", "where a finite number is due")
			}
			return
		}
		c.number(field, x)
		if x < 0 && !negative {
			c.fail(field, x, "is negative")
		}
	}
	if s.values == nil {
		one(field, s.all)
		return
	}
	for t, x := range s.values {
		if !(math.Abs(x) <= maxNumber) || x < 0 {
			one(fmt.Sprintf("%s[%d]", field, t), x)
		}
	}
}

func (c *checker) name(field, name string, seen map[string]bool) {
	switch {
	case name == "":
		c.fail(field, "", "is not a name")
	case seen[name]:
		c.fail(field, name, "is given twice")
	}
	seen[name] = true
}

// Validate reports the first thing wrong with the instance, as an error of kind
// sluice.Invalid that names the field and the value.
func (in *Instance) Validate() error {
	c := &checker{T: in.Intervals}
	if in.Intervals < 1 || in.Intervals > maxIntervals {
		c.fail("intervals", in.Intervals, fmt.Sprintf("is not between 1 and %d", maxIntervals))
		return c.err
	}
	if !(in.StepMinutes > 0) || in.StepMinutes > 1e6 {
		c.fail("step_minutes", in.StepMinutes, "is not a positive number of minutes")
	}
	if !in.PriceUSDPerMW.set {
		c.fail("price_usd_per_mwh", "", "is missing")
	}
	c.series("price_usd_per_mwh", in.PriceUSDPerMW, false, true)
	in.checkNodes(c)
	for i, d := range in.DemandCharges {
		f := fmt.Sprintf("demand_charges[%d].", i)
		c.positive(f+"usd_per_kw", d.USDPerKW)
		c.positive(f+"already_kw", d.AlreadyKW)
		if d.From < 0 || d.From > d.To || d.To > in.Intervals {
			c.fail(f+"from, to", fmt.Sprintf("[%d, %d)", d.From, d.To), fmt.Sprintf("is not a range within the %d intervals", in.Intervals))
		}
	}
	seen := map[string]bool{}
	for i := range in.Reserves {
		r := &in.Reserves[i]
		f := fmt.Sprintf("reserves[%d].", i)
		c.name(f+"name", r.Name, seen)
		c.series(f+"usd_per_mw_h", r.USDPerMWh, false, true)
		if r.MaxKW != nil {
			c.series(f+"max_kw", *r.MaxKW, true, false)
		}
		c.series(f+"committed_kw", r.CommittedKW, false, false)
		c.positive(f+"shortfall_usd_per_mw_h", r.ShortfallUSDPerMW)
	}
	in.checkClasses(c)
	in.checkJobs(c)
	return c.err
}

func (in *Instance) checkNodes(c *checker) {
	parent := map[string]string{}
	seen := map[string]bool{}
	root := ""
	for i := range in.Nodes {
		n := &in.Nodes[i]
		f := fmt.Sprintf("nodes[%d].", i)
		c.name(f+"name", n.Name, seen)
		parent[n.Name] = n.Parent
		if n.Parent == "" {
			if root != "" {
				c.fail(f+"parent", n.Name, "has none, and neither has "+root+": there is one root")
			}
			root = n.Name
		}
		if n.LimitKW != nil {
			c.series(f+"limit_kw", *n.LimitKW, true, false)
		}
	}
	for i := range in.Nodes {
		if p := in.Nodes[i].Parent; p != "" && !seen[p] {
			c.fail(fmt.Sprintf("nodes[%d].parent", i), p, "is not a node")
		}
	}
	if c.err != nil {
		return
	}
	if root == "" {
		c.fail("nodes", fmt.Sprintf("%d nodes", len(in.Nodes)), "have no root, or a cycle")
	}
	// A node is sound once its way up is known to end at the root.
	sound := map[string]bool{root: true}
	for i := range in.Nodes {
		var way []string
		n := in.Nodes[i].Name
		for ; !sound[n]; n = parent[n] {
			if len(way) > len(in.Nodes) {
				c.fail(fmt.Sprintf("nodes[%d].parent", i), in.Nodes[i].Parent, "leads into a cycle")
				return
			}
			way = append(way, n)
		}
		for _, w := range way {
			sound[w] = true
		}
	}
}

func (in *Instance) checkClasses(c *checker) {
	nodes := map[string]bool{}
	for i := range in.Nodes {
		nodes[in.Nodes[i].Name] = true
	}
	seen := map[string]bool{}
	for i := range in.Classes {
		if c.err != nil {
			return
		}
		k := &in.Classes[i]
		f := fmt.Sprintf("classes[%d] (%s).", i, clip(k.Name))
		c.name(f+"name", k.Name, seen)
		if !nodes[k.Node] {
			c.fail(f+"node", k.Node, "is not a node")
		}
		c.count(f+"count", k.Count)
		if len(k.Modes) == 0 || len(k.Modes) > 100 {
			c.fail(f+"modes", fmt.Sprintf("%d modes", len(k.Modes)), "where 1 to 100 are due")
		}
		modes := map[string]bool{}
		for j := range k.Modes {
			m := &k.Modes[j]
			g := fmt.Sprintf("%smodes[%d].", f, j)
			c.name(g+"name", m.Name, modes)
			if m.Name == JobMode {
				c.fail(g+"name", m.Name, "is reserved")
			}
			c.positive(g+"power_kw", m.PowerKW)
			c.series(g+"usd_per_hour", m.USDPerHour, false, true)
			c.positive(g+"shed_kw", m.ShedKW)
			c.count(g+"min_intervals", m.MinIntervals)
			c.positive(g+"early_usd", m.early())
		}
		modes[JobMode] = true
		total := 0
		for _, m := range sortedKeys(k.Initial) {
			if !modes[m] {
				c.fail(f+"initial", m, "is not a mode")
			}
			c.count(f+"initial."+m, k.Initial[m])
			total += k.Initial[m]
		}
		if total != k.Count {
			c.fail(f+"initial", total, fmt.Sprintf("units do not add up to the count of %d", k.Count))
		}
		held := map[string]int{}
		for j, d := range k.Dwell {
			g := fmt.Sprintf("%sdwell[%d].", f, j)
			if !modes[d.Mode] || d.Mode == JobMode {
				c.fail(g+"mode", d.Mode, "is not a mode of the class")
			}
			c.count(g+"units", d.Units)
			c.count(g+"left", d.Left)
			if held[d.Mode] += d.Units; held[d.Mode] > k.Initial[d.Mode] {
				c.fail(g+"units", held[d.Mode], fmt.Sprintf("units should stay in %s, where %d are", d.Mode, k.Initial[d.Mode]))
			}
		}
		pairs := map[string]bool{}
		for j, s := range k.Switches {
			g := fmt.Sprintf("%sswitches[%d].", f, j)
			if !modes[s.From] {
				c.fail(g+"from", s.From, "is not a mode")
			}
			if !modes[s.To] {
				c.fail(g+"to", s.To, "is not a mode")
			}
			if p := s.From + "\x00" + s.To; s.From == s.To || pairs[p] {
				c.fail(g+"to", s.To, "from "+s.From+" is given twice or is no switch")
			} else {
				pairs[p] = true
			}
			c.number(g+"usd", s.USD)
			c.positive(g+"lost_minutes", s.LostMinutes)
		}
	}
}

func (in *Instance) checkJobs(c *checker) {
	class := map[string]*Class{}
	running := map[string]int{}
	for i := range in.Classes {
		class[in.Classes[i].Name] = &in.Classes[i]
	}
	seen := map[string]bool{}
	for i := range in.Jobs {
		if c.err != nil {
			return
		}
		j := &in.Jobs[i]
		f := fmt.Sprintf("jobs[%d] (%s).", i, clip(j.Name))
		c.name(f+"name", j.Name, seen)
		if class[j.Class] == nil {
			c.fail(f+"class", j.Class, "is not a class")
		}
		c.count(f+"units", j.Units)
		c.count(f+"intervals", j.Intervals)
		if j.Intervals < 1 {
			c.fail(f+"intervals", j.Intervals, "is less than 1")
		}
		c.number(f+"usd_per_unit_hour", j.USDPerUnitHour)
		c.positive(f+"power_kw", j.PowerKW)
		c.positive(f+"shed_kw", j.ShedKW)
		c.count(f+"earliest", j.Earliest)
		if j.Deadline != nil {
			c.count(f+"deadline", *j.Deadline)
		}
		c.positive(f+"late_usd_per_interval", j.LateUSDPerInterval)
		c.positive(f+"preempt_usd", j.PreemptUSD)
		c.count(f+"restart_intervals", j.RestartIntervals)
		c.count(f+"restart_left", j.RestartLeft)
		c.positive(f+"unserved_usd_per_interval", j.UnservedUSDPerInterval)
		if j.Running {
			running[j.Class] += j.Units
			if j.Earliest != 0 {
				c.fail(f+"earliest", j.Earliest, "where a running job has 0")
			}
		}
	}
	for i := range in.Classes {
		k := &in.Classes[i]
		if got := k.Initial[JobMode]; got != running[k.Name] {
			c.fail(fmt.Sprintf("classes[%d] (%s).initial.job", i, clip(k.Name)), got,
				fmt.Sprintf("units where running jobs hold %d", running[k.Name]))
		}
	}
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	// Names are few: an insertion sort keeps errors the same from run to run.
	for i := 1; i < len(keys); i++ {
		for j := i; j > 0 && strings.Compare(keys[j], keys[j-1]) < 0; j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}
