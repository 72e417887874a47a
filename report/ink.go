package report

import "fmt"

// Ink is the colour of one meaning. The same meaning has the same ink in every
// chart, here and on the dashboard.
type Ink int

// Inks of meanings, and six plain ones to tell policies or cases apart. The
// pairs within each of the two groups stay apart for the colour-blind; lines of
// plain inks can be Dashed as well.
const (
	Auto    Ink = iota // the next plain ink that the chart has not used
	Mining             // bitcoin mining
	AI                 // AI work
	Reserve            // power held for the grid
	Idle               // machines that stand still
	Other              // the rest: cooling, losses
	Price              // the price of energy
	Limit              // what must not be passed
	First              // the one to look at
	Second
	Third
	Fourth
	Fifth
	Sixth
	inkEnd
)

// inks holds the CSS name of each ink with its colour on light and on dark
// ground. Mining, AI, Price and Limit are the dashboard's.
var inks = [inkEnd]struct{ name, light, dark string }{
	Mining:  {"mining", "#d08a1b", "#e2a13c"},
	AI:      {"ai", "#0f8f8d", "#35bdbb"},
	Reserve: {"reserve", "#86d43a", "#d9ee8a"},
	Idle:    {"idle", "#c3ced6", "#34434f"},
	Other:   {"other", "#445563", "#5a6f8a"},
	Price:   {"price", "#7440c9", "#c7a4ff"},
	Limit:   {"limit", "#c62f37", "#ff6f78"},
	First:   {"first", "#0b62a8", "#62b5ff"},
	Second:  {"second", "#ea6507", "#f6c063"},
	Third:   {"third", "#7c96a8", "#6c757f"},
	Fourth:  {"fourth", "#a71c70", "#d64fe0"},
	Fifth:   {"fifth", "#14202a", "#e2eaf0"},
	Sixth:   {"sixth", "#3e4f22", "#71a234"},
}

// css is the ink as the value of a CSS property.
func (k Ink) css() string { return "var(--" + k.name() + ")" }

func (k Ink) name() string {
	if k <= Auto || k >= inkEnd {
		k = Third
	}
	return inks[k].name
}

// palette is the inks as CSS custom properties, for light or dark ground.
func palette(dark bool) string {
	s := ""
	for k := Auto + 1; k < inkEnd; k++ {
		c := inks[k].light
		if dark {
			c = inks[k].dark
		}
		s += fmt.Sprintf("--%s:%s;", inks[k].name, c)
	}
	return s
}

// inkwell hands out plain inks to those who asked for none: each name keeps its
// ink throughout a chart, and no ink that a name has asked for is handed out.
type inkwell struct {
	of   map[string]Ink
	used [inkEnd]bool
}

func newInkwell() *inkwell { return &inkwell{of: map[string]Ink{}} }

// reserve notes the inks that are asked for, before any is handed out.
func (w *inkwell) reserve(name string, k Ink) {
	if k > Auto && k < inkEnd {
		w.of[name], w.used[k] = k, true
	}
}

func (w *inkwell) ink(name string, asked Ink) Ink {
	if asked > Auto && asked < inkEnd {
		return asked
	}
	if k, ok := w.of[name]; ok {
		return k
	}
	k := Third // with more names than inks, the last ones share the grey
	for c := First; c < inkEnd; c++ {
		if !w.used[c] {
			k = c
			break
		}
	}
	w.of[name], w.used[k] = k, true
	return k
}
