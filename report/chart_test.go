package report

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawn(c Chart, wide bool) string {
	var g svg
	c.draw(&g, wide)
	return g.b.String()
}

var drawnBar = regexp.MustCompile(`<rect style="fill:var\(--([a-z]+)\)" x="([\d.-]+)" y="([\d.-]+)" width="([\d.-]+)" height="([\d.-]+)"><title>`)

type bar struct {
	ink        string
	x, y, w, h float64
}

func bars(s string) (out []bar) {
	for _, m := range drawnBar.FindAllStringSubmatch(s, -1) {
		b := bar{ink: m[1]}
		for i, p := range []*float64{&b.x, &b.y, &b.w, &b.h} {
			*p, _ = strconv.ParseFloat(m[i+2], 64)
		}
		out = append(out, b)
	}
	return out
}

// Bars are as high as their values, stand on zero, and do not overlap.
func TestBarsAreAsHighAsTheirValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups, n := rapid.IntRange(1, 8).Draw(t, "groups"), rapid.IntRange(1, 3).Draw(t, "series")
		c := &Bars{Groups: make([]string, groups), Stacked: rapid.Bool().Draw(t, "stacked"), Emphasis: rapid.IntRange(0, groups).Draw(t, "emphasis")}
		for s := range n {
			c.Series = append(c.Series, Series{Name: strconv.Itoa(s), Ink: First + Ink(s), Y: rapid.SliceOfN(rapid.Float64Range(10, 100), groups, groups).Draw(t, "y")})
		}
		got := bars(drawn(c, rapid.Bool().Draw(t, "wide")))
		if len(got) != groups*n {
			t.Fatalf("%d bars for %d groups of %d", len(got), groups, n)
		}
		perPixel := 0.0 // in values
		for k, b := range got {
			v := c.Series[k%n].Y[k/n]
			if b.ink != c.Series[k%n].Ink.name() {
				t.Fatalf("bar %d is %s", k, b.ink)
			}
			h := b.h
			if c.Stacked {
				h++ // the hair between parts
			}
			if perPixel == 0 {
				perPixel = v / h
			}
			if math.Abs(v/perPixel-h) > 0.02*h+0.6 {
				t.Fatalf("%v is %v px high, where the first has %v a px", v, h, perPixel)
			}
			if k == 0 {
				continue
			}
			a := got[k-1]
			if c.Stacked && k%n > 0 {
				if a.x != b.x || b.y+b.h > a.y+0.15 {
					t.Fatalf("part %v does not stand on %v", b, a)
				}
			} else if a.x+a.w > b.x {
				t.Fatalf("bar %v overlaps %v", b, a)
			}
		}
	})
}

func TestNegativePartsHangBelowZero(t *testing.T) {
	c := &Bars{Groups: []string{"a", "b"}, Stacked: true, Axis: Axis{Unit: "USD"}, Series: []Series{
		{Name: "up", Ink: AI, Y: []float64{3e6, 1e6}}, {Name: "down", Ink: Mining, Y: []float64{-1e6, 5e5}},
	}}
	s := drawn(c, true)
	b := bars(s)
	if len(b) != 4 || b[1].y < b[0].y+b[0].h {
		t.Errorf("the loss is not under the gain: %v", b)
	}
	for _, want := range []string{"sum $2.00 M", `class="sum"`, "$1.50 M"} {
		if !strings.Contains(s, want) {
			t.Errorf("no %s", want)
		}
	}
	if k := c.legend(); len(k) != 3 || k[2].Name != "Sum" {
		t.Errorf("legend %v", k)
	}
}

var drawnPath = regexp.MustCompile(`<path class="([a-z ]+)" style="[a-z]+:var\(--([a-z]+)\)" d="([^"]*)"`)

// paths are the points of each path, of every class and ink.
func paths(t tester, s string) map[string][][2]float64 {
	out := map[string][][2]float64{}
	for _, m := range drawnPath.FindAllStringSubmatch(s, -1) {
		out[m[1]+" "+m[2]] = points(t, m[3])
	}
	return out
}

func points(t tester, d string) (out [][2]float64) {
	var x, y float64
	for _, m := range regexp.MustCompile(`([MLHVZh])([\d.-]*) ?([\d.-]*)`).FindAllStringSubmatch(d, -1) {
		a, _ := strconv.ParseFloat(m[2], 64)
		b, _ := strconv.ParseFloat(m[3], 64)
		switch m[1] {
		case "M", "L":
			x, y = a, b
		case "H":
			x = a
		case "V":
			y = a
		default:
			continue
		}
		out = append(out, [2]float64{x, y})
	}
	if len(out) == 0 && d != "" {
		t.Fatalf("no points in %q", d)
	}
	return out
}

func hours(n int) (at []time.Time) {
	for i := range n {
		at = append(at, time.Unix(1.6e9+3600*int64(i), 0))
	}
	return at
}

// Every value of a line stands where the scale says, and steps hold it until the
// next.
func TestLinesGoThroughTheirValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 60).Draw(t, "n")
		v := rapid.SliceOfN(rapid.Float64Range(-50, 50), n, n).Draw(t, "v")
		v[0], v[1] = -50, 50 // the axis, then, is from −60 to 60 or wider alike
		steps := rapid.Bool().Draw(t, "steps")
		c := &Timeline{At: hours(n), Panels: []Panel{{Lines: []Series{{Name: "a", Ink: First, Y: v}}, Steps: steps}}}
		got := paths(t, drawn(c, rapid.Bool().Draw(t, "wide")))
		line := got["line first"]
		if line == nil {
			line = got["line first fine"]
		}
		if line == nil {
			for k, p := range got {
				if strings.HasSuffix(k, "first") {
					line = p
				}
			}
		}
		y0, y1 := line[0][1], 0.0 // of −50 and of 50
		for _, p := range line {
			if y1 == 0 || p[1] < y1 {
				y1 = p[1]
			}
		}
		x0, x1 := line[0][0], line[len(line)-1][0]
		parts := float64(n - 1)
		if steps {
			parts = float64(n)
		}
		for i, a := range v {
			x, y := x0+(x1-x0)*float64(i)/parts, y0+(y1-y0)*(a+50)/100
			want := [][2]float64{{x, y}}
			if steps {
				want = append(want, [2]float64{x + (x1-x0)/parts, y})
			}
			for _, w := range want {
				if !slices.ContainsFunc(line, func(p [2]float64) bool { return math.Abs(p[0]-w[0]) < 0.2 && math.Abs(p[1]-w[1]) < 0.2 }) {
					t.Fatalf("value %d, %v, is not at %v: %v", i, a, w, line)
				}
			}
		}
	})
}

// The areas' outlines, one over the other, are the sums of their values.
func TestAreasStack(t *testing.T) {
	at := hours(4)
	c := &Timeline{At: at, Panels: []Panel{{Steps: true, Areas: []Series{
		{Name: "a", Ink: AI, Y: []float64{2, 2, 2, 2}},
		{Name: "b", Ink: Mining, Y: []float64{8, 0, 8, math.NaN()}},
		{Name: "none", Ink: Other, Y: []float64{0, 0, 0}},
	}}}}
	s := drawn(c, true)
	got := paths(t, s)
	if _, ok := got["area other"]; ok {
		t.Error("an area of nothing is drawn")
	}
	if strings.Index(s, "--mining") > strings.Index(s, "--ai") {
		t.Error("the outline is drawn over what lies in it")
	}
	for k, p := range got {
		for i := 1; i < len(p); i++ {
			if p[i][0] != p[i-1][0] && p[i][1] != p[i-1][1] {
				t.Errorf("%s slopes from %v to %v: values hold until the next", k, p[i-1], p[i])
			}
		}
	}
	top := func(k string) (hi, lo float64) {
		hi = math.Inf(1)
		for _, p := range got[k] {
			hi, lo = min(hi, p[1]), max(lo, p[1])
		}
		return hi, lo
	}
	ai, zero := top("area ai")
	mining, _ := top("area mining")
	if math.Abs((zero-mining)/(zero-ai)-5) > 0.02 {
		t.Errorf("10 stands at %v, 2 at %v, zero at %v", mining, ai, zero)
	}
}

func TestGapsAndDots(t *testing.T) {
	nan := math.NaN()
	c := &Timeline{At: hours(7), Panels: []Panel{{Lines: []Series{{Name: "a", Ink: First, Y: []float64{1, 2, nan, 5, nan, 3, 4}}}}}}
	m := drawnPath.FindStringSubmatch(drawn(c, true))
	if n := strings.Count(m[3], "M"); n != 3 {
		t.Errorf("%d pieces in %s, want 3", n, m[3])
	}
	if n := strings.Count(m[3], "h0"); n != 1 {
		t.Errorf("%d dots in %s, want 1", n, m[3])
	}
	if s := drawn(&Timeline{Panels: []Panel{{}}}, true); !strings.Contains(s, "no data") {
		t.Error("an empty picture does not say so")
	}
}

// The order in which values are given does not matter.
func TestOrderDoesNotMatter(t *testing.T) {
	at, y, z := []float64{3, 1, 2, math.NaN()}, []float64{30, 10, 20, 5}, []float64{3, 1, 2}
	sorted := &Curves{At: []float64{1, 2, 3}, Panels: []Panel{{Lines: []Series{{Name: "a", Y: []float64{10, 20, 30}}}, Bands: []Band{{"b", AI, []float64{1, 2, 3}, []float64{1, 2, 3}, []float64{1, 2, 3}}}}}}
	mixed := &Curves{At: at, Panels: []Panel{{Lines: []Series{{Name: "a", Y: y}}, Bands: []Band{{"b", AI, z, z, z}}}}}
	if a, b := drawn(sorted, true), drawn(mixed, true); a != b {
		t.Errorf("drawn in order:\n%s\nand out of it:\n%s", a, b)
	}
	if y[0] != 30 || at[0] != 3 {
		t.Error("the caller's values were moved")
	}
}

func TestTipsAndWords(t *testing.T) {
	c := &Timeline{
		Title: "Power", Zone: chicago, At: hours(3), Marks: []Mark{{At: hours(2)[1], Text: "the spike"}},
		Panels: []Panel{
			{Axis: Axis{Title: "Power", Unit: "MW"}, Areas: []Series{{Name: "AI", Ink: AI, Y: []float64{1, 2, 3}}}, Steps: true},
			{Axis: Axis{Title: "Price", Unit: "USD/MWh", Knee: 50}, Lines: []Series{{Name: "Price", Ink: Price, Y: []float64{20, 9000, -5}}}},
		},
	}
	s := drawn(c, true)
	for _, want := range []string{
		"<title>Sun 13 Sep 2020 08:26\nAI: 2 MW\nPrice: $9,000/MWh</title>",
		`aria-label="Power. From Sun 13 Sep 2020 07:26 to Sun 13 Sep 2020 09:26. AI: 1 MW to 3 MW, at the end 3 MW. Price: −$5/MWh to $9,000/MWh, at the end −$5/MWh."`,
		">the spike<", ">Price, $/MWh (bent scale)<",
	} {
		if !strings.Contains(s, want) {
			t.Errorf("no %q in\n%s", want, s)
		}
	}
	if narrow := drawn(c, false); strings.Contains(narrow, "<title>") {
		t.Error("a phone has no pointer, but tips")
	}
}

func TestNamesBreakAndShorten(t *testing.T) {
	for _, c := range []struct {
		s    string
		w    float64
		a, b string
	}{
		{"last-price", 60, "last-", "price"}, {"static", 60, "static", ""}, {"100 %", 20, "100 %", ""}, {"a very long name", 60, "a very", "long name"},
	} {
		if a, b := halves(c.s, c.w); a != c.a || b != c.b {
			t.Errorf("halves(%q) is %q and %q", c.s, a, b)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s, w := rapid.String().Draw(t, "s"), rapid.Float64Range(30, 200).Draw(t, "w")
		if got := fit(s, w); letters(got) > w+12 {
			t.Fatalf("%q is %v wide, not %v", got, letters(got), w)
		}
	})
}
