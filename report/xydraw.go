package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

func (c *xy) drawPanel(g *svg, i int, xt []tick) {
	p, f := &c.panels[i], c.box[i]
	x0, x1 := c.across.from, c.across.to
	for _, t := range f.y.ticks(p.Axis.Unit) {
		y := f.y.at(t.at)
		class := "grid"
		if t.strong {
			class = "base"
		}
		g.line(x0, y, x1, y, class)
		g.text(x0-8, y+4, "end", "tick", "", t.text)
	}
	for _, t := range xt {
		if x := c.across.at(t.at); x >= x0-0.1 && x <= x1+0.1 {
			g.line(x, f.top, x, f.bottom, "grid")
		}
	}
	g.text(x0, f.top-9, "start", "head", "", fit(axisTitle(p.Axis), x1-x0))
	if len(c.x) == 0 {
		g.text((x0+x1)/2, (f.top+f.bottom)/2, "middle", "tick", "", "no data")
		return
	}
	px := make([]float64, len(c.x))
	for k, x := range c.x {
		px[k] = c.across.at(x)
	}
	end := px[len(px)-1]
	if p.Steps {
		end = x1
	}
	drawAreas(g, p, f.y, px, end)
	for _, b := range p.Bands {
		drawBand(g, b, p.Steps, f.y, px, end)
	}
	for _, s := range p.Lines {
		class := "line"
		if s.Dashed {
			class = "line dashed"
		}
		g.path(linePath(s.Y, p.Steps, f.y, px, end), class, "stroke:"+s.Ink.css())
	}
	if c.wide {
		c.drawEnds(g, i)
	}
}

func axisTitle(a Axis) string {
	_, after := split(a.Unit)
	t := a.Title
	if strings.HasPrefix(after, "/") || len([]rune(after)) > 4 {
		before, _ := split(a.Unit)
		t += ", " + strings.TrimSpace(before+after)
	}
	if a.Knee > 0 {
		t += " (scale bent above " + Compact(a.Knee, a.Unit) + ")"
	}
	return t
}

// linePath is the d of a line with gaps where values are missing. A value with
// gaps on both sides is a dot.
func linePath(v []float64, hold bool, y scale, px []float64, end float64) string {
	var d pen
	for _, run := range runs(v, len(px)) {
		last := run[0]
		for _, k := range extremes(v, px, run) {
			if hold {
				d.to(px[k], y.at(v[last]))
			}
			d.to(px[k], y.at(v[k]))
			last = k
		}
		until := px[run[1]-1]
		if hold {
			until = end
			if run[1] < len(px) {
				until = px[run[1]]
			}
		}
		d.to(until, y.at(v[run[1]-1]))
		if run[1]-run[0] == 1 && !hold {
			d.b.WriteString("h0")
		}
		d.lift()
	}
	return d.b.String()
}

// drawAreas draws the stack from its outline inwards, each area over the one
// before, so that no seams show between them.
func drawAreas(g *svg, p *Panel, y scale, px []float64, end float64) {
	bins := pixelBins(px)
	up, down := make([]float64, len(bins)), make([]float64, len(bins))
	shapes := make([]string, len(p.Areas))
	for j, s := range p.Areas {
		some := false
		for b, bin := range bins {
			m := mean(s.Y, bin)
			some = some || m != 0
			up[b] += max(m, 0)
			down[b] += min(m, 0)
		}
		if !some {
			continue
		}
		for _, edge := range [][]float64{up, down} {
			if slices.ContainsFunc(edge, func(v float64) bool { return v != 0 }) {
				shapes[j] += areaPath(edge, bins, p.Steps, y, px, end)
			}
		}
	}
	for j, s := range slices.Backward(p.Areas) {
		g.path(shapes[j], "area", "fill:"+s.Ink.css())
	}
}

// areaPath is the d of the area between zero and the edge.
func areaPath(edge []float64, bins [][2]int, hold bool, y scale, px []float64, end float64) string {
	var d pen
	zero := y.at(0)
	d.to(px[0], zero)
	for b, bin := range bins {
		if hold && b > 0 {
			d.to(px[bin[0]], y.at(edge[b-1]))
		}
		d.to(px[bin[0]], y.at(edge[b]))
	}
	d.to(end, y.at(edge[len(edge)-1]))
	d.to(end, zero)
	d.close()
	return d.b.String()
}

func drawBand(g *svg, b Band, hold bool, y scale, px []float64, end float64) {
	both := make([]float64, len(px))
	for k := range px {
		both[k] = at(b.Low, k) + at(b.High, k)
	}
	var d pen
	for _, run := range runs(both, len(px)) {
		type point struct{ x, y float64 }
		var back []point
		for k := run[0]; k < run[1]; k++ {
			hi, lo := y.at(b.High[k]), y.at(b.Low[k])
			d.to(px[k], hi)
			back = append(back, point{px[k], lo})
			if hold {
				next := end
				if k+1 < len(px) {
					next = px[k+1]
				}
				d.to(next, hi)
				back = append(back, point{next, lo})
			}
		}
		for _, q := range slices.Backward(back) {
			d.to(q.x, q.y)
		}
		d.close()
	}
	g.path(d.b.String(), "spread", "fill:"+b.Ink.css())
	g.path(linePath(b.Mid, hold, y, px, end), "line", "stroke:"+b.Ink.css())
}

// ending is a line's name at its end.
type ending struct {
	y    float64
	text string
	ink  Ink
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
				out = append(out, ending{f.y.at(v), fit(name, 130) + "  " + Compact(v, p.Axis.Unit), ink})
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
		g.text(c.across.to+18, e.y+4, "start", "end", "", e.text)
	}
}

func (c *xy) drawFoot(g *svg, xt []tick) {
	y := c.box[len(c.box)-1].bottom
	edge := -math.MaxFloat64
	for _, t := range xt {
		x := c.across.at(t.at)
		half := letters(t.text) / 2
		if x-half < edge || x+half > g.w || x-half < 0 {
			continue
		}
		class := "tick"
		if t.strong {
			class = "tick strong"
		}
		g.text(x, y+18, "middle", class, "", t.text)
		edge = x + half + 4
	}
	if c.zone == nil && c.axis.Title != "" {
		g.text((c.across.from+c.across.to)/2, y+38, "middle", "head", "", fit(axisTitle(Axis{Title: c.axis.Title, Unit: c.axis.Unit}), g.w))
	}
}

func (c *xy) drawMarks(g *svg) {
	top, bottom := c.box[0].top, c.box[len(c.box)-1].bottom
	for _, m := range c.marks {
		if !finite(m.X) || m.X < c.across.lo || m.X > c.across.hi {
			continue
		}
		x := c.across.at(m.X)
		g.line(x, top, x, bottom, "mark")
		side, dx := "start", 5.0
		if x > (c.across.from+c.across.to)/2 {
			side, dx = "end", -5
		}
		room := max(x-c.across.from, c.across.to-x)
		g.text(x+dx, top+12, side, "note", "", fit(m.Text, room))
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
