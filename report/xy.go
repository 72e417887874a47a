package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// xy draws a Timeline (zone is set, x is Unix seconds) or Curves.
type xy struct {
	title  string
	axis   Axis
	zone   *time.Location
	x      []float64
	panels []Panel
	marks  []Mark
	wide   bool

	across scale
	box    []frame // of each panel
}

// frame is where a panel's values go.
type frame struct {
	head        float64 // the baseline of its title
	top, bottom float64
	y           scale
}

// newXY copies the panels with their inks chosen.
func newXY(panels []Panel) *xy {
	c := &xy{panels: slices.Clone(panels)}
	w := newInkwell()
	for _, p := range panels {
		for _, s := range slices.Concat(p.Areas, p.Lines) {
			w.reserve(s.Name, s.Ink)
		}
		for _, b := range p.Bands {
			w.reserve(b.Name, b.Ink)
		}
	}
	for i := range c.panels {
		p := &c.panels[i]
		p.Areas, p.Lines, p.Bands = slices.Clone(p.Areas), slices.Clone(p.Lines), slices.Clone(p.Bands)
		for _, s := range [][]Series{p.Areas, p.Lines} {
			for j := range s {
				s[j].Ink = w.ink(s[j].Name, s[j].Ink)
			}
		}
		for j := range p.Bands {
			p.Bands[j].Ink = w.ink(p.Bands[j].Name, p.Bands[j].Ink)
		}
	}
	return c
}

func (c *xy) legend() []key {
	var keys []key
	for _, p := range c.panels {
		for _, s := range p.Areas {
			keys = addKey(keys, key{s.Name, "area", s.Ink.css()})
		}
		for _, b := range p.Bands {
			keys = addKey(keys, key{b.Name, "band", b.Ink.css()})
		}
		for _, s := range p.Lines {
			shape := "line"
			if s.Dashed {
				shape = "dash"
			}
			keys = addKey(keys, key{s.Name, shape, s.Ink.css()})
		}
	}
	return keys
}

// sizes of a picture, in pixels at full size.
func (c *xy) sizes() (width, panel float64) {
	if c.wide {
		return wideWidth, 220
	}
	return narrowWidth, 170
}

const (
	wideWidth, narrowWidth = 920.0, 380.0
	headRoom               = 26.0 // over a panel, for its title
	markRow, markRows      = 16.0, 2
)

func (c *xy) draw(g *svg) {
	c.sort()
	width, usual := c.sizes()
	y := 0.0
	for i := range c.panels {
		p := &c.panels[i]
		h := usual
		if p.Height > 0 {
			h = max(60, usual*min(p.Height, 4))
		}
		f := frame{head: y + 17, top: y + headRoom}
		if i == 0 { // what the marks say stands under the first panel's title
			f.top += markRow * float64(min(len(c.marks), markRows))
		}
		f.bottom = f.top + h
		lo, hi := p.extent(len(c.x))
		f.y = newScale(lo, hi, f.bottom, f.top, p.Axis.Knee, len(p.Areas) > 0)
		c.box = append(c.box, f)
		y = f.bottom + 8
	}
	left, right := 10.0, 14.0
	for i, p := range c.panels {
		for _, t := range c.box[i].y.ticks(p.Axis.Unit) {
			left = max(left, letters(t.text)+10)
		}
		if c.wide {
			for _, e := range c.ends(i) {
				right = max(right, letters(e.name+"  "+e.value)+24)
			}
		}
	}
	foot := 22.0
	if c.zone == nil && c.axis.Title != "" {
		foot += 18
	}
	g.start(width, y+foot, c.summary())
	c.across = c.horizontal(left, width-right)
	xt := c.xTicks()
	for i := range c.panels {
		c.drawPanel(g, i, xt)
	}
	if len(c.box) > 0 {
		c.drawFoot(g, xt)
		c.drawMarks(g)
		if c.wide {
			c.drawTips(g)
		}
	}
	g.end()
}

// sort puts places in order, and shortens them to what all series could have.
func (c *xy) sort() {
	order := make([]int, 0, len(c.x))
	sorted := true
	for i, x := range c.x {
		if finite(x) {
			sorted = sorted && len(order) == i && (i == 0 || c.x[i-1] <= x)
			order = append(order, i)
		} else {
			sorted = false
		}
	}
	if sorted {
		return
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case c.x[a] < c.x[b]:
			return -1
		case c.x[a] > c.x[b]:
			return 1
		}
		return 0
	})
	pick := func(v []float64) []float64 {
		out := make([]float64, len(order))
		for i, o := range order {
			out[i] = at(v, o)
		}
		return out
	}
	c.x = pick(c.x)
	for i := range c.panels {
		p := &c.panels[i]
		for j := range p.Areas {
			p.Areas[j].Y = pick(p.Areas[j].Y)
		}
		for j := range p.Lines {
			p.Lines[j].Y = pick(p.Lines[j].Y)
		}
		for j := range p.Bands {
			b := &p.Bands[j]
			b.Low, b.Mid, b.High = pick(b.Low), pick(b.Mid), pick(b.High)
		}
	}
}

// at is v[i], or NaN where there is none.
func at(v []float64, i int) float64 {
	if i < len(v) && finite(v[i]) {
		return v[i]
	}
	return math.NaN()
}

// extent is the smallest and the largest value of the first n places.
func (p *Panel) extent(n int) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	see := func(v float64) {
		if finite(v) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	for i := range n {
		for _, s := range p.Lines {
			see(at(s.Y, i))
		}
		for _, b := range p.Bands {
			see(at(b.Low, i))
			see(at(b.Mid, i))
			see(at(b.High, i))
		}
		up, down := 0.0, 0.0
		for _, s := range p.Areas {
			if v := at(s.Y, i); v >= 0 {
				up += v
			} else if v < 0 {
				down += v
			}
		}
		if len(p.Areas) > 0 {
			see(up)
			see(down)
		}
	}
	return lo, hi
}

// horizontal is the axis of places. Where values hold until the next, the last
// one holds as long as the one before it.
func (c *xy) horizontal(from, to float64) scale {
	s := scale{lo: 0, hi: 1, from: from, to: to}
	n := len(c.x)
	if n == 0 {
		return s
	}
	s.lo, s.hi = c.x[0], c.x[n-1]
	if n > 1 && slices.ContainsFunc(c.panels, func(p Panel) bool { return p.Steps }) {
		s.hi += c.x[n-1] - c.x[n-2]
	}
	if tiny(s.lo, s.hi) {
		room := max(1, math.Abs(s.lo)*1e-3)
		if c.zone != nil {
			room *= 1800
		}
		s.lo, s.hi = s.lo-room, s.hi+room
	}
	return s
}

func (c *xy) xTicks() []tick {
	if len(c.x) == 0 {
		return nil
	}
	if c.zone != nil {
		return timeTicks(c.across.lo, c.across.hi, int(c.across.room(50)), c.zone)
	}
	out := label(multiples(niceStep((c.across.hi-c.across.lo)/c.across.room(64)), c.across.lo, c.across.hi), c.axis.Unit)
	for i := range out {
		out[i].strong = false // zero is nothing special along this axis
	}
	return out
}

// summary is the picture in words, for those who do not see it.
func (c *xy) summary() string {
	var b strings.Builder
	b.WriteString(c.title + ".")
	if len(c.x) > 0 {
		fmt.Fprintf(&b, " From %s to %s.", c.place(c.x[0]), c.place(c.x[len(c.x)-1]))
	}
	say := func(name, unit string, y []float64) {
		lo, hi, last := math.Inf(1), math.Inf(-1), math.NaN()
		for i := range c.x {
			if v := at(y, i); finite(v) {
				lo, hi, last = min(lo, v), max(hi, v), v
			}
		}
		if lo > hi {
			fmt.Fprintf(&b, " %s: no values.", name)
			return
		}
		fmt.Fprintf(&b, " %s: %s to %s, at the end %s.", name, Compact(lo, unit), Compact(hi, unit), Compact(last, unit))
	}
	for _, p := range c.panels {
		for _, s := range slices.Concat(p.Areas, p.Lines) {
			say(s.Name, p.Axis.Unit, s.Y)
		}
		for _, s := range p.Bands {
			say(s.Name, p.Axis.Unit, s.Mid)
		}
	}
	return b.String()
}

// place is x in words.
func (c *xy) place(x float64) string {
	if c.zone != nil {
		return time.Unix(int64(x), 0).In(c.zone).Format("Mon 2 Jan 2006 15:04")
	}
	return Compact(x, c.axis.Unit)
}
