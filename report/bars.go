package report

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

func (c *Bars) inked() []Series {
	w := newInkwell()
	for _, s := range c.Series {
		w.reserve(s.Name, s.Ink)
	}
	out := make([]Series, len(c.Series))
	for j, s := range c.Series {
		s.Ink = w.ink(s.Name, s.Ink)
		out[j] = s
	}
	return out
}

// netShown says whether a stack has parts above and below zero, so that its sum
// is not its top.
func (c *Bars) netShown() bool {
	if !c.Stacked {
		return false
	}
	for i := range c.Groups {
		up, down := c.stack(i)
		if up > 0 && down < 0 {
			return true
		}
	}
	return false
}

// stack is the sum of a group's positive values and that of its negative ones.
func (c *Bars) stack(i int) (up, down float64) {
	for _, s := range c.Series {
		if v := at(s.Y, i); v > 0 {
			up += v
		} else if v < 0 {
			down += v
		}
	}
	return up, down
}

func (c *Bars) legend() []key {
	var keys []key
	for _, s := range c.inked() {
		keys = addKey(keys, key{s.Name, "area", s.Ink.css()})
	}
	if c.netShown() {
		keys = addKey(keys, key{"Sum", "sum", "var(--text)"})
	}
	return keys
}

func (c *Bars) draw(g *svg, wide bool) {
	width, height := wideWidth, 240.0
	if !wide {
		width, height = narrowWidth, 210
	}
	lo, hi := 0.0, 0.0
	for i := range c.Groups {
		if c.Stacked {
			up, down := c.stack(i)
			lo, hi = min(lo, down), max(hi, up)
			continue
		}
		for _, s := range c.Series {
			if v := at(s.Y, i); finite(v) {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
	}
	top, bottom := headRoom+12, headRoom+12+height
	y := newScale(lo, hi, bottom, top, c.Axis.Knee, true)
	ticks := y.ticks(c.Axis.Unit)
	x0 := 10.0
	for _, t := range ticks {
		x0 = max(x0, letters(t.text)+10)
	}
	x1 := width - 10
	g.start(width, bottom+42, c.summary())
	for _, t := range ticks {
		class := "grid"
		if t.strong {
			class = "base"
		}
		g.line(x0, y.at(t.at), x1, y.at(t.at), class)
		g.text(x0-8, y.at(t.at)+4, "end", "tick", "", t.text)
	}
	g.text(x0, headRoom-9, "start", "head", "", fit(axisTitle(c.Axis), x1-x0))
	if len(c.Groups) == 0 {
		g.text((x0+x1)/2, (top+bottom)/2, "middle", "tick", "", "no data")
	}
	slot := (x1 - x0) / float64(max(len(c.Groups), 1))
	write := c.writer(slot)
	for i := range c.Groups {
		x := x0 + slot*float64(i)
		if i+1 == c.Emphasis {
			g.rect(x+1, top-12, slot-2, bottom-top+50, "chosen", "", "")
		}
		if c.Stacked {
			c.drawStack(g, i, x, slot, y, write)
		} else {
			c.drawGroup(g, i, x, slot, y, write)
		}
	}
	g.line(x0, y.at(0), x1, y.at(0), "base")
	c.drawNames(g, x0, slot, bottom)
	g.end()
}

func (c *Bars) drawStack(g *svg, i int, x, slot float64, y scale, write func(float64) string) {
	w := min(slot*0.62, 84)
	x += (slot - w) / 2
	up, down := 0.0, 0.0
	for _, s := range c.inked() {
		v := at(s.Y, i)
		if !finite(v) || v == 0 {
			continue
		}
		base := &up
		if v < 0 {
			base = &down
		}
		a, b := y.at(*base), y.at(*base+v)
		*base += v
		// A hair of ground between the parts keeps neighbours of like lightness apart.
		h := math.Abs(a - b)
		g.rect(x, min(a, b), w, max(h-1, min(h, 0.6)), "", "fill:"+s.Ink.css(), c.tip(i, s))
	}
	net := up + down
	if up > 0 && down < 0 {
		g.rect(x-4, y.at(net)-1.5, w+8, 3, "sum", "", "")
	}
	text := write(net)
	if text == "" && i+1 == c.Emphasis { // over its neighbours
		g.text(x+w/2, y.to-1, "middle", c.valueClass(i), "", brief(net, c.Axis.Unit))
		return
	}
	if long := "sum " + text; up > 0 && down < 0 && text != "" && letters(long) <= slot-2 {
		text = long
	}
	at := y.at(up) - 6
	if up == 0 && down < 0 {
		at = y.at(down) + 15
	}
	g.text(x+w/2, at, "middle", c.valueClass(i), "", text)
}

func (c *Bars) drawGroup(g *svg, i int, x, slot float64, y scale, write func(float64) string) {
	n := float64(max(len(c.Series), 1))
	w := c.thickness(slot)
	x += (slot - w*n) / 2
	for j, s := range c.inked() {
		v := at(s.Y, i)
		if !finite(v) {
			continue
		}
		bx := x + w*float64(j)
		a, b := y.at(0), y.at(v)
		g.rect(bx+0.5, min(a, b), w-1, max(math.Abs(a-b), 0.5), "", "fill:"+s.Ink.css(), c.tip(i, s))
		if v == 0 {
			continue
		}
		ty := b - 6
		if v < 0 {
			ty = b + 15
		}
		g.text(bx+w/2, ty, "middle", c.valueClass(i), "", write(v))
	}
}

// thickness of one of a group's bars.
func (c *Bars) thickness(slot float64) float64 {
	return min(slot*0.86/float64(max(len(c.Series), 1)), 64)
}

// writer writes the values over all bars alike, in three digits, in two where
// three are too wide, or none: some alone would look chosen.
func (c *Bars) writer(slot float64) func(float64) string {
	room := slot - 2
	if !c.Stacked && len(c.Series) > 1 {
		room = c.thickness(slot) - 1
	}
	for _, write := range []func(float64, string) string{Compact, brief} {
		widest := 0.0
		for i := range c.Groups {
			up, down := c.stack(i)
			values := []float64{up + down}
			if !c.Stacked {
				values = values[:0]
				for _, s := range c.Series {
					values = append(values, at(s.Y, i))
				}
			}
			for _, v := range values {
				w := letters(write(v, c.Axis.Unit)) * 11 / 12 // the size of .value
				if i+1 == c.Emphasis {
					w *= 1.1 // it is in a bolder face
				}
				widest = max(widest, w)
			}
		}
		if widest <= room {
			return func(v float64) string { return write(v, c.Axis.Unit) }
		}
	}
	return func(float64) string { return "" }
}

func (c *Bars) valueClass(i int) string {
	if i+1 == c.Emphasis {
		return "value strong"
	}
	return "value"
}

func (c *Bars) tip(i int, s Series) string {
	return c.Groups[i] + "\n" + s.Name + ": " + Compact(at(s.Y, i), c.Axis.Unit)
}

// drawNames writes the groups' names, in two lines where one is too narrow, and
// only every so many where names are many and still too wide.
func (c *Bars) drawNames(g *svg, x0, slot, bottom float64) {
	widest := 0.0
	for _, n := range c.Groups {
		a, b := halves(n, slot)
		widest = max(widest, letters(a), letters(b))
	}
	every := 1
	if len(c.Groups) > 8 && widest > slot {
		every = int(math.Ceil((widest + 4) / slot))
	}
	for i, n := range c.Groups {
		if (i-max(c.Emphasis-1, 0))%every != 0 { // the one that matters is among them
			continue
		}
		class := "name"
		if i+1 == c.Emphasis {
			class = "name strong"
		}
		room := slot * float64(every)
		x := x0 + slot*(float64(i)+0.5)
		a, b := halves(n, room)
		g.text(x, bottom+18, "middle", class, "", fit(a, room))
		if b != "" {
			g.text(x, bottom+33, "middle", class, "", fit(b, room))
		}
	}
}

// halves breaks a name that is wider than w after a space or a hyphen.
func halves(s string, w float64) (a, b string) {
	s = printable(s)
	if letters(s) <= w {
		return s, ""
	}
	best := math.Inf(1)
	a = s
	for i, r := range s {
		if r != ' ' && r != '-' {
			continue
		}
		h, t := s[:i+1], s[i+1:]
		if m := max(letters(h), letters(t)); m < best && utf8.RuneCountInString(t) > 2 {
			best, a, b = m, strings.TrimSpace(h), t
		}
	}
	return a, b
}

func (c *Bars) summary() string {
	var b strings.Builder
	b.WriteString(c.Title + ".")
	for i, n := range c.Groups {
		b.WriteString(" " + n + ":")
		for j, s := range c.Series {
			if j > 0 {
				b.WriteString(",")
			}
			fmt.Fprintf(&b, " %s %s", s.Name, Compact(at(s.Y, i), c.Axis.Unit))
		}
		b.WriteString(".")
	}
	return b.String()
}
