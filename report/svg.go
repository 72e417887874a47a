package report

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// svg writes one picture. Every text passes through esc, in start, rect, text and pair;
// nothing else writes what a caller gave.
type svg struct {
	b strings.Builder
	w float64 // width in units of the viewBox, which are CSS pixels at full size
}

// esc makes s safe as XML text and as an attribute in double quotes. What XML
// cannot hold at all (control characters, broken UTF-8) is left out.
func esc(s string) string {
	return escaper.Replace(printable(s))
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

// printable is s without what terminals and XML cannot show. Line ends become
// spaces.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r), r == utf8.RuneError, r == 0xFFFE, r == 0xFFFF, unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}

// num writes a coordinate with one decimal: a tenth of a pixel.
func num(v float64) string {
	s := strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
	if s == "-0" {
		return "0"
	}
	return s
}

func (g *svg) start(w, h float64, label string) {
	g.w = w
	g.raw(`<svg viewBox="0 0 ` + num(w) + " " + num(h) + `" role="img" aria-label="` + esc(label) + `">`)
}

func (g *svg) end() { g.raw("</svg>") }

func (g *svg) raw(s string) { g.b.WriteString(s) }

// style is the attributes of a thing that is drawn: a class of page.css, and CSS
// of our own making.
func style(class, css string) string {
	s := ""
	if class != "" {
		s += ` class="` + class + `"`
	}
	if css != "" {
		s += ` style="` + css + `"`
	}
	return s
}

func (g *svg) line(x0, y0, x1, y1 float64, class string) {
	g.raw(`<path` + style(class, "") + ` d="M` + num(x0) + " " + num(y0) + "L" + num(x1) + " " + num(y1) + `"/>`)
}

func (g *svg) rect(x, y, w, h float64, class, css, tip string) {
	g.raw(`<rect` + style(class, css) + ` x="` + num(x) + `" y="` + num(y) + `" width="` + num(max(w, 0)) + `" height="` + num(max(h, 0)) + `"`)
	if tip == "" {
		g.raw("/>")
		return
	}
	lines := strings.Split(tip, "\n")
	for i, l := range lines {
		lines[i] = esc(l)
	}
	g.raw("><title>" + strings.Join(lines, "\n") + "</title></rect>")
}

// text writes s with its baseline at y; anchor is start, middle or end.
func (g *svg) text(x, y float64, anchor, class, css, s string) {
	g.raw(`<text` + style(class, css) + ` x="` + num(x) + `" y="` + num(y) + `" text-anchor="` + anchor + `">` + esc(s) + "</text>")
}

// pair writes a name and its value in a stronger face.
func (g *svg) pair(x, y float64, name, value string) {
	g.raw(`<text class="end" x="` + num(x) + `" y="` + num(y) + `">` + esc(name) + ` <tspan class="strong">` + esc(value) + "</tspan></text>")
}

func (g *svg) path(d, class, css string) {
	if d != "" {
		g.raw(`<path` + style(class, css) + ` d="` + d + `"/>`)
	}
}

// pen builds the d of a path.
type pen struct {
	b    strings.Builder
	down bool
	x, y string
}

func (p *pen) lift() { p.down = false }

func (p *pen) to(x, y float64) {
	sx, sy := num(x), num(y)
	switch {
	case !p.down:
		p.b.WriteString("M" + sx + " " + sy)
	case sx == p.x && sy == p.y:
		return
	case sx == p.x:
		p.b.WriteString("V" + sy)
	case sy == p.y:
		p.b.WriteString("H" + sx)
	default:
		p.b.WriteString("L" + sx + " " + sy)
	}
	p.down, p.x, p.y = true, sx, sy
}

func (p *pen) close() {
	if p.down {
		p.b.WriteString("Z")
	}
	p.down = false
}

// letters is about how wide s is at 12 px in the widest of the page's faces.
func letters(s string) float64 {
	n := 0.0
	for _, r := range s {
		switch {
		case strings.ContainsRune(" .,:;'|!il", r):
			n += 3.9
		case strings.ContainsRune("mwMW%@—", r):
			n += 11
		case r > 0x2E80:
			n += 12
		default:
			n += 7.5
		}
	}
	return n
}

// fit is s, shortened where it is wider than w.
func fit(s string, w float64) string {
	s = printable(s)
	if letters(s) <= w {
		return s
	}
	r := []rune(s)
	for len(r) > 1 && letters(string(r))+8 > w {
		r = r[:len(r)-1]
	}
	return strings.TrimRight(string(r), " ") + "…"
}
