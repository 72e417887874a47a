package jobfile

import (
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// gpuWish is one alternative of accelerators; the zero value asks for none.
type gpuWish struct {
	model string
	count int
}

// accelerators reads A100, A100:8, {A100: 8}, and the alternatives [A100, L4:2],
// in order of preference, and {A100:1, L4:2}, of which any will do.
func (p *parser) accelerators(e pair) (all []gpuWish, ordered bool) {
	add := func(n ast.Node, spec string) {
		if g, ok := p.gpu(n, spec); ok && !slices.Contains(all, g) {
			all = append(all, g)
		}
	}
	seq, list := e.value.(*ast.SequenceNode)
	switch {
	case isMapping(e.value):
		for _, f := range p.repeated(e.value, "accelerators") { // {A100:4, A100:8} too
			spec := f.key
			if n := p.text(f); n != "" {
				spec += ":" + n
			}
			add(f.node, spec)
		}
	case list:
		for _, n := range seq.Values {
			s, ok := scalar(n)
			if !ok {
				p.wrong(where(n), "accelerators: a list holds names, such as [A100:8, H100:8]")
				continue
			}
			add(n, s)
		}
		ordered = len(all) > 1
	default:
		// A set may also stand in one text: "{A100:1, L4:1}".
		s := p.text(e)
		if inner, ok := strings.CutPrefix(s, "{"); ok && strings.HasSuffix(inner, "}") {
			for part := range strings.SplitSeq(strings.TrimSuffix(inner, "}"), ",") {
				add(e.value, strings.Trim(strings.TrimSpace(part), `'"`))
			}
		} else if s != "" {
			add(e.value, s)
		}
	}
	if len(all) > 50 {
		p.wrong(where(e.value), "accelerators: more than 50 alternatives")
		all = all[:1]
	}
	return all, ordered
}

// byMemory is an accelerator asked for as [MANUFACTURER:]80GB[+][:COUNT].
var byMemory = regexp.MustCompile(`(?i)^([a-z]+:)?[0-9]+[gmt]b\+?(:.*)?$`)

func (p *parser) gpu(n ast.Node, spec string) (gpuWish, bool) {
	model, count, given := strings.Cut(spec, ":")
	model, count = strings.TrimSpace(model), strings.TrimSpace(count)
	num := 1.0
	if byMemory.MatchString(spec) {
		p.wrong(where(n), "accelerators: %q asks by memory, which is not supported: name the models that will do, {A100-80GB:1, H100:1}", spec)
		return gpuWish{}, false
	}
	if given {
		var err error
		num, err = strconv.ParseFloat(count, 64)
		if err == nil && num > 0 && num < 1 {
			p.warn(where(n), "accelerators: %s: a job has its GPUs for itself: a whole one is taken, and paid", spec)
			num = 1
		}
		if err != nil || !(num >= 1 && num <= 1024) || num != math.Trunc(num) {
			p.wrong(where(n), "accelerators: %q is no number of GPUs (write A100:8)", count)
			return gpuWish{}, false
		}
	}
	if !taskName.MatchString(model) {
		p.wrong(where(n), "accelerators: %q is no GPU model (write A100:8)", model)
		return gpuWish{}, false
	}
	return gpuWish{model, int(num)}, true
}

// amount reads a positive number that may end in +, for at least: everything is
// at least here.
func (p *parser) amount(e pair, most float64, form string) float64 {
	s := p.text(e)
	if s == "" {
		return 0
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "+")), 64)
	if err != nil || math.IsNaN(v) || v <= 0 || v > most {
		p.wrong(where(e.value), "%s: %q is no amount (write %s)", e.key, s, form)
		return 0
	}
	return v
}

// size reads an amount of bytes in GB, which are 2^30 bytes as with SkyPilot.
func (p *parser) size(e pair, most float64, plus bool) float64 {
	s := p.text(e)
	if s == "" {
		return 0
	}
	num := strings.TrimSpace(s)
	if plus {
		num = strings.TrimSpace(strings.TrimSuffix(num, "+"))
	}
	digits := strings.TrimRight(num, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.ToLower(strings.TrimSpace(num[len(digits):]))
	factor, ok := map[string]float64{
		"": 1, "b": 1.0 / (1 << 30), "k": 1.0 / (1 << 20), "m": 1.0 / (1 << 10), "g": 1, "t": 1 << 10, "p": 1 << 20,
	}[strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i")]
	v, err := strconv.ParseFloat(digits, 64)
	if v *= factor; !ok || err != nil || math.IsNaN(v) || v <= 0 || v > most {
		p.wrong(where(e.value), "%s: %q is no amount (write 16, 16GB or 512MB)", e.key, s)
		return 0
	}
	return v
}

const maxPorts = 1000

// ports reads 8080, 8000-8010 or a list of these.
func (p *parser) ports(e pair) []int {
	var out []int
	for _, n := range items(e.value) {
		s, ok := scalar(n)
		from, to, isRange := strings.Cut(strings.TrimSpace(s), "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.Atoi(strings.TrimSpace(from))
		b, err2 := strconv.Atoi(strings.TrimSpace(to))
		switch {
		case !ok || err1 != nil || err2 != nil || a < 1 || b > 65535 || a > b:
			p.wrong(where(n), "ports: %q is no port or range of ports (write 8080 or 8000-8010)", s)
		case len(out)+b-a >= maxPorts:
			p.wrong(where(n), "ports: more than %d", maxPorts)
		default:
			for port := a; port <= b; port++ {
				out = append(out, port)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// image reads docker:IMAGE. What else SkyPilot knows are images of other
// providers' machines.
func (p *parser) image(e pair) string {
	if isMapping(e.value) {
		p.wrong(where(e.node), "image_id by region is not supported: write image_id: docker:IMAGE")
		return ""
	}
	s := p.expand(e, p.text(e))
	name, docker := strings.CutPrefix(s, "docker:")
	switch {
	case s == "":
		return ""
	case strings.HasPrefix(s, "skypilot:"):
		p.warn(where(e.value), "image_id %s is left aside: it is a machine image of SkyPilot's own; write docker:IMAGE for a container's", s)
		return ""
	case !docker:
		p.wrong(where(e.value), "image_id %s is a machine image of another provider: write docker:IMAGE, or leave it out and install what is missing in setup", s)
		return ""
	case name == "" || len(name) > 500 || strings.ContainsAny(name, " \t\n\"'\\$`;|&<>") || strings.HasPrefix(name, "-") || path.Clean(name) != name:
		p.wrong(where(e.value), "image_id: %q is no name of a container image", name)
		return ""
	}
	return name
}
