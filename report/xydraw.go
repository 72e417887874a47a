package report

import (
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
	bins, how := c.bins()
	title := axisTitle(p.Axis)
	if len(p.Areas) > 0 {
		title += how
	}
	g.text(x0, f.head, "start", "head", "", fit(title, x1-x0))
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
	drawAreas(g, p, f.y, px, end, bins)
	for _, b := range p.Bands {
		drawBand(g, b, p.Steps, f.y, px, end)
	}
	for _, s := range p.Lines {
		class := "line"
		if s.Dashed {
			class = "line dashed"
		}
		d, travel := linePath(s.Y, p.Steps, f.y, px, end)
		if travel > 3*(x1-x0) {
			class += " fine" // a thick line would hide itself
		}
		g.path(d, class, "stroke:"+s.Ink.css())
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
		t += " (bent scale)"
	}
	return t
}

// linePath is the d of a line with gaps where values are missing. A value with
// gaps on both sides is a dot. travel is how many pixels it goes up and down.
func linePath(v []float64, hold bool, y scale, px []float64, end float64) (path string, travel float64) {
	var d pen
	for _, run := range runs(v, len(px)) {
		last := run[0]
		for _, k := range extremes(v, px, run) {
			if hold {
				d.to(px[k], y.at(v[last]))
			}
			d.to(px[k], y.at(v[k]))
			travel += math.Abs(y.at(v[k]) - y.at(v[last]))
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
	return d.b.String(), travel
}

// drawAreas draws the stack from its outline inwards, each area over the one
// before, so that no seams show between them.
func drawAreas(g *svg, p *Panel, y scale, px []float64, end float64, bins [][2]int) {
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
	// Of each column of pixels the widest that the band is there.
	var x, lo, hi, both []float64
	for _, bin := range pixelBins(px) {
		l, h := math.NaN(), math.NaN()
		for k := bin[0]; k < bin[1]; k++ {
			if a, b := at(b.Low, k), at(b.High, k); finite(a) && finite(b) {
				if !finite(l) {
					l, h = a, b
				}
				l, h = min(l, a), max(h, b)
			}
		}
		x, lo, hi, both = append(x, px[bin[0]]), append(lo, l), append(hi, h), append(both, l+h)
	}
	var d pen
	for _, run := range runs(both, len(both)) {
		type point struct{ x, y float64 }
		var back []point
		for k := run[0]; k < run[1]; k++ {
			d.to(x[k], y.at(hi[k]))
			back = append(back, point{x[k], y.at(lo[k])})
			if hold {
				next := end
				if k+1 < len(x) {
					next = x[k+1]
				}
				d.to(next, y.at(hi[k]))
				back = append(back, point{next, y.at(lo[k])})
			}
		}
		for _, q := range slices.Backward(back) {
			d.to(q.x, q.y)
		}
		d.close()
	}
	g.path(d.b.String(), "spread", "fill:"+b.Ink.css())
	mid, _ := linePath(b.Mid, hold, y, px, end)
	g.path(mid, "line", "stroke:"+b.Ink.css())
}

func (c *xy) drawFoot(g *svg, xt []tick) {
	y := c.box[len(c.box)-1].bottom
	edge := -math.MaxFloat64
	for _, t := range xt {
		half := letters(t.text) / 2
		x := max(min(c.across.at(t.at), g.w-half), half)
		if x-half < edge {
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
