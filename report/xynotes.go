package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// ending is a line's name at its end.
type ending struct {
	y           float64
	name, value string
	ink         Ink
}

// ends names the lines of a panel where they end, from the top down, where there
// are few enough to be told apart.
func (c *xy) ends(i int) []ending {
	p, f := &c.panels[i], c.box[i]
	n := len(p.Lines) + len(p.Bands)
	if len(p.Areas) > 0 || n < 2 || float64(n)*15 > f.bottom-f.top {
		return nil
	}
	var out []ending
	add := func(name string, ink Ink, y []float64) {
		for k := len(c.x) - 1; k >= 0; k-- {
			if v := at(y, k); finite(v) {
				out = append(out, ending{f.y.at(v), fit(name, 150), Compact(v, p.Axis.Unit), ink})
				return
			}
		}
	}
	for _, s := range p.Lines {
		add(s.Name, s.Ink, s.Y)
	}
	for _, b := range p.Bands {
		add(b.Name, b.Ink, b.Mid)
	}
	slices.SortStableFunc(out, func(a, b ending) int { return int(math.Copysign(1, a.y-b.y)) })
	return out
}

func (c *xy) drawEnds(g *svg, i int) {
	const apart = 15
	f := c.box[i]
	es := c.ends(i)
	low := f.top + 4
	for k := range es { // downwards
		es[k].y = max(es[k].y, low)
		low = es[k].y + apart
	}
	high := f.bottom
	for k := len(es) - 1; k >= 0; k-- { // and up again from the floor
		es[k].y = min(es[k].y, high)
		high = es[k].y - apart
	}
	for _, e := range es {
		g.rect(c.across.to+6, e.y-3, 8, 6, "", "fill:"+e.ink.css(), "")
		g.pair(c.across.to+19, e.y+4, e.name, e.value)
	}
}

func (c *xy) drawMarks(g *svg) {
	bottom := c.box[len(c.box)-1].bottom
	var edge [markRows]float64 // how far each row is written
	for _, m := range c.marks {
		if !finite(m.X) || m.X < c.across.lo || m.X > c.across.hi {
			continue
		}
		x := c.across.at(m.X)
		text := fit(m.Text, c.across.to-c.across.from)
		half := letters(text)/2 + 2
		mid := max(min(x, c.across.to-half), c.across.from+half)
		row := min(len(c.marks), markRows) - 1
		for row > 0 && mid-half < edge[row] {
			row--
		}
		y := c.box[0].head + markRow*float64(row+1)
		g.line(x, y+4, x, bottom, "mark")
		if mid-half >= edge[row] {
			g.text(mid, y, "middle", "note", "", text)
			edge[row] = mid + half
		}
	}
}

// drawTips lays columns over the picture that tell the values under the pointer.
func (c *xy) drawTips(g *svg) {
	top, bottom := c.box[0].top, c.box[len(c.box)-1].bottom
	const most = 150
	wide := max((c.across.to-c.across.from)/most, 1)
	for from := 0; from < len(c.x); {
		x := c.across.at(c.x[from])
		to := from + 1
		for to < len(c.x) && c.across.at(c.x[to]) < x+wide {
			to++
		}
		next := c.across.to
		if to < len(c.x) {
			next = c.across.at(c.x[to])
		}
		g.rect(x, top, next-x, bottom-top, "tip", "", c.tip(from, to))
		from = to
	}
}

func (c *xy) tip(from, to int) string {
	var b strings.Builder
	b.WriteString(c.place(c.x[from]))
	if to-from > 1 {
		b.WriteString(" to " + c.place(c.x[to-1]))
	}
	say := func(name, unit string, y []float64) {
		lo, hi := math.Inf(1), math.Inf(-1)
		for i := from; i < to; i++ {
			if v := at(y, i); finite(v) {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
		if lo > hi {
			return
		}
		s := Compact(lo, unit)
		if h := Compact(hi, unit); h != s {
			s += " to " + h
		}
		fmt.Fprintf(&b, "\n%s: %s", name, s)
	}
	for _, p := range c.panels {
		for _, s := range slices.Backward(p.Areas) {
			say(s.Name, p.Axis.Unit, s.Y)
		}
		for _, s := range p.Lines {
			say(s.Name, p.Axis.Unit, s.Y)
		}
		for _, s := range p.Bands {
			say(s.Name+", low", p.Axis.Unit, s.Low)
			say(s.Name, p.Axis.Unit, s.Mid)
			say(s.Name+", high", p.Axis.Unit, s.High)
		}
	}
	return b.String()
}
