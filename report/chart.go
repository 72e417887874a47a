package report

import "time"

// Chart is a picture of a section: a *Timeline, *Curves or *Bars.
type Chart interface {
	// caption is what stands over the picture and under it.
	caption() (title, text string)
	// legend is the picture's keys, each name once.
	legend() []key
	// draw draws the picture for a desk (wide) or a phone.
	draw(g *svg, wide bool)
}

// Timeline shows values over time, in panels under each other that share the
// time axis: profit over the price, say, or megawatts by use over the price.
type Timeline struct {
	Title string
	Text  string // what to see in it, under the picture
	// Zone is the clock of the axis; nil is UTC.
	Zone *time.Location
	// At is the time of each value of all series, ascending.
	At     []time.Time
	Panels []Panel
	Marks  []Mark
}

// Curves shows values over a number: profit over the share that is converted.
type Curves struct {
	Title string
	Text  string
	X     Axis
	// At is the place of each value of all series, ascending.
	At     []float64
	Panels []Panel
	Marks  []Mark
}

// Axis says what is measured, and in what unit (as for Exact).
type Axis struct {
	Title string
	Unit  string
	// Knee bends the axis: straight up to about that value, a logarithm beyond, so
	// that prices of 20 and of 5,000 can both be read. 0 is a straight axis.
	Knee float64
}

// Panel is one field of a Timeline or of Curves, with its own vertical axis.
// Areas lie on top of each other, the first at the bottom; bands and lines are
// drawn over them.
type Panel struct {
	Axis  Axis
	Areas []Series
	Bands []Band
	Lines []Series
	// Steps holds each value until the next, as prices and setpoints do; without it
	// values are joined by straight lines.
	Steps bool
	// Height is the panel's, as a multiple of the usual one; 0 is 1.
	Height float64
}

// Series is one named row of values, one for each place of its chart. A value
// that is not known is NaN: lines have a gap there, areas and bars nothing.
type Series struct {
	Name   string
	Ink    Ink
	Dashed bool
	Y      []float64
}

// Band is a middle line between two others: a median between P5 and P95.
type Band struct {
	Name           string
	Ink            Ink
	Low, Mid, High []float64
}

// Mark is a moment, or a place of Curves, that the picture points at.
type Mark struct {
	At   time.Time // in a Timeline
	X    float64   // in Curves
	Text string
}

// Bars shows figures side by side: profit by division for each policy.
type Bars struct {
	Title string
	Text  string
	Axis  Axis
	// Groups are the names under the axis; each series has one value for each.
	Groups []string
	Series []Series
	// Stacked puts a group's bars on top of each other, negative ones below zero, and
	// writes their sum.
	Stacked bool
	// Emphasis is the group that matters most, counted from 1; 0 is none.
	Emphasis int
}

// key is one entry of a legend.
type key struct {
	Name  string
	Shape string // of page.css: area, line, dash, band, sum
	Ink   string
}

func addKey(keys []key, k key) []key {
	for _, o := range keys {
		if o.Name == k.Name {
			return keys
		}
	}
	return append(keys, k)
}

func (c *Timeline) caption() (title, text string) { return c.Title, c.Text }
func (c *Curves) caption() (title, text string)   { return c.Title, c.Text }
func (c *Bars) caption() (title, text string)     { return c.Title, c.Text }

func (c *Timeline) legend() []key { return newXY(c.Panels).legend() }
func (c *Curves) legend() []key   { return newXY(c.Panels).legend() }

func (c *Timeline) draw(g *svg, wide bool) {
	p := newXY(c.Panels)
	p.title, p.zone, p.wide = c.Title, c.Zone, wide
	if p.zone == nil {
		p.zone = time.UTC
	}
	for _, t := range c.At {
		p.x = append(p.x, float64(t.Unix())+float64(t.Nanosecond())/1e9)
	}
	for _, m := range c.Marks {
		p.marks = append(p.marks, Mark{X: float64(m.At.Unix()), Text: m.Text})
	}
	p.draw(g)
}

func (c *Curves) draw(g *svg, wide bool) {
	p := newXY(c.Panels)
	p.title, p.axis, p.wide, p.x, p.marks = c.Title, c.X, wide, c.At, c.Marks
	p.draw(g)
}
