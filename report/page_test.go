package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What may stand in a page. Everything that could load or run something is not
// here.
var (
	elements = words("html head meta title style body main header section footer figure figcaption div h1 h2 h3 p dl dt dd ul li i " +
		"table thead tbody tr th td svg path rect text tspan")
	attributes = words("lang charset name content http-equiv class style scope tabindex role aria-label aria-hidden viewBox " +
		"x y width height rx d fill stroke stroke-width stroke-linecap text-anchor")
	tag       = regexp.MustCompile(`<(/?)([^\s/>]*)([^>]*)>`)
	attribute = regexp.MustCompile(`([^\s"'=/]+)(?:="([^"]*)")?`)
	logo      = regexp.MustCompile(`<svg class="logo".*</svg>\n`)
	picture   = regexp.MustCompile(`(?s)<svg.*?</svg>`)
)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

type tester interface {
	Helper()
	Fatalf(string, ...any)
}

// checkPage fails where a page holds anything but the elements above, a number
// that is none, or a picture that is not XML.
func checkPage(t tester, page string) {
	t.Helper()
	body := strings.TrimPrefix(page, "<!doctype html>")
	from, to := strings.Index(body, "<style>"), strings.Index(body, "</style>")
	if style := body[from:to]; regexp.MustCompile(`(?i)url\(|@import|://`).MatchString(style) {
		t.Fatalf("the style refers to something outside")
	}
	for _, m := range tag.FindAllStringSubmatch(logo.ReplaceAllString(body[:from]+body[to:], ""), -1) {
		if !elements[m[2]] {
			t.Fatalf("an element <%s> in %q", m[2], m[0])
		}
		for _, a := range attribute.FindAllStringSubmatch(m[3], -1) {
			if !attributes[a[1]] {
				t.Fatalf("an attribute %q in %q", a[1], m[0])
			}
			switch a[1] {
			case "style":
				if !regexp.MustCompile(`^(--mark|fill|stroke):var\(--[a-z]+\)$`).MatchString(a[2]) {
					t.Fatalf("a style %q", a[2])
				}
			case "x", "y", "width", "height", "d", "viewBox":
				checkNumbers(t, a[2])
			}
		}
	}
	for _, p := range picture.FindAllString(page, -1) {
		checkXML(t, p)
	}
}

var coordinate = regexp.MustCompile(`-?[0-9.]+|NaN|Inf|[A-Za-z]`)

func checkNumbers(t tester, s string) {
	for _, w := range coordinate.FindAllString(s, -1) {
		if v, err := strconv.ParseFloat(w, 64); err == nil && (math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) > 1e4) {
			t.Fatalf("a coordinate %s in %.80q", w, s)
		} else if err != nil && !slices.Contains([]string{"M", "L", "H", "V", "Z", "h"}, w) {
			t.Fatalf("%q among the coordinates %.80q", w, s)
		}
	}
}

func checkXML(t tester, s string) {
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("a picture is not XML: %v\n%.300s", err, s)
		}
	}
}

func html(t tester, p Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.WriteHTML(&b); err != nil {
		t.Fatalf("%v", err)
	}
	return b.String()
}

func TestAnyPageIsSafeAndDrawn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPage().Draw(t, "page")
		page := html(t, p)
		checkPage(t, page)
		if page != html(t, p) {
			t.Fatalf("the same data made another page")
		}
	})
}

// The check itself must see what it is there for.
func TestCheckPageSees(t *testing.T) {
	good := html(t, Page{Title: "T", Sections: []Section{{Charts: []Chart{&Bars{}}}}})
	checkPage(t, good)
	for _, bad := range []string{
		"<script>x</script>", `<p onclick="x">`, `<img src="x">`, `<p style="background:url(x)">`, `<svg><path d="M0 NaN"/></svg>`,
		`<svg><path d="M0 +Inf"/></svg>`, `<svg><path d="M0 1e9"/></svg>`, `<svg><p></svg>`,
	} {
		var r failed
		func() {
			defer func() { _ = recover() }()
			checkPage(&r, strings.Replace(good, "</main>", bad+"</main>", 1))
		}()
		if !r {
			t.Errorf("a page with %s passes", bad)
		}
	}
}

type failed bool

func (f *failed) Helper() {}

func (f *failed) Fatalf(string, ...any) {
	*f = true
	panic("failed")
}

func FuzzWriteHTML(f *testing.F) {
	for _, s := range []string{"<script>", "\x00", "\xff", `"'>`, "{{.}}", "</svg>", "--!>", "&amp;"} {
		f.Add(s, 1.0)
	}
	f.Add("NaN", math.NaN())
	f.Fuzz(func(t *testing.T, s string, v float64) {
		at := []time.Time{time.Unix(0, 0), time.Unix(3600, 0)}
		panel := []Panel{{
			Axis: Axis{s, s, v}, Areas: []Series{{Name: s, Y: []float64{v, 1}}}, Lines: []Series{{Name: s, Y: []float64{1, v}}, {Name: s + "2", Y: []float64{v}}},
			Bands: []Band{{s, AI, []float64{v}, []float64{v}, []float64{v}}}, Height: v,
		}}
		checkPage(t, html(t, Page{
			Title: s, Subtitle: s, Made: s, Notes: []string{s}, Facts: []Fact{{s, s, s, Mining}},
			Sections: []Section{{s, s, &Table{Columns: []Column{{Title: s, Unit: s}}, Rows: [][]any{{s, v}, {v}}, Note: s}, []Chart{
				&Timeline{s, s, nil, at, panel, []Mark{{at[0], v, s}}},
				&Curves{s, s, Axis{s, s, v}, []float64{v, 1}, panel, []Mark{{at[0], v, s}}},
				&Bars{s, s, Axis{s, s, v}, []string{s, s}, []Series{{Name: s, Y: []float64{v, -v}}, {Name: s, Y: []float64{-1, 1}}}, true, 1},
			}}},
		}))
	})
}

func TestEveryTextIsThere(t *testing.T) {
	n := 0
	var all []string
	text := func() string {
		n++
		all = append(all, fmt.Sprintf("text%02d<&", n))
		return all[n-1]
	}
	at := []time.Time{time.Unix(0, 0), time.Unix(86400, 0)}
	y := []float64{1, 2}
	page := html(t, Page{
		Title: text(), Subtitle: text(), Made: text(), Notes: []string{text()}, Facts: []Fact{{text(), text(), text(), AI}},
		Sections: []Section{{text(), text(), &Table{Columns: []Column{{Title: text()}}, Rows: [][]any{{text()}}, Note: text()}, []Chart{
			&Timeline{text(), text(), nil, at, []Panel{{Axis: Axis{Title: text()}, Areas: []Series{{Name: text(), Y: y}}, Lines: []Series{{Name: text(), Y: y}}}}, []Mark{{At: at[0], Text: text()}}},
			&Curves{text(), text(), Axis{Title: text()}, y, []Panel{{Axis: Axis{Title: text()}, Bands: []Band{{text(), AI, y, y, y}}}}, []Mark{{X: 1, Text: text()}}},
			&Bars{text(), text(), Axis{Title: text()}, []string{text(), text()}, []Series{{Name: text(), Y: y}}, false, 0},
		}}},
	})
	for _, s := range all {
		want := strings.NewReplacer("<", "&lt;", "&", "&amp;").Replace(s)
		if !strings.Contains(page, ">"+want+"<") {
			t.Errorf("%q does not stand in the page as a text of its own", s)
		}
	}
}

func TestLongSeriesStaySmall(t *testing.T) {
	const n = 105_120 // a year of five minutes
	at := make([]time.Time, n)
	rows := make([][]float64, 8)
	for i := range at {
		at[i] = time.Unix(1.6e9+300*int64(i), 0)
		for s := range rows {
			rows[s] = append(rows[s], 50+40*math.Sin(float64(i*(s+3)))+float64(i)/1e4)
		}
	}
	series := func(rows [][]float64) (out []Series) {
		for i, y := range rows {
			out = append(out, Series{Name: fmt.Sprint("series ", i), Y: y})
		}
		return out
	}
	page := html(t, Page{Sections: []Section{{Charts: []Chart{
		&Timeline{At: at, Panels: []Panel{{Lines: series(rows[:5])}, {Lines: series(rows[5:6]), Steps: true, Axis: Axis{Knee: 50}}}},
		&Timeline{At: at, Panels: []Panel{{Areas: series(rows[:5]), Steps: true}, {Lines: series(rows[7:]), Steps: true}}},
	}}}})
	checkPage(t, page)
	if len(page) > 1<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
}

func TestWriteErrorsAreReturned(t *testing.T) {
	table := &Table{Columns: []Column{{Title: "a"}}, Rows: [][]any{{strings.Repeat("x", 1e4)}}}
	for name, write := range map[string]func(io.Writer) error{
		"html": Page{Sections: []Section{{Table: table}}}.WriteHTML, "text": table.WriteText, "csv": table.WriteCSV,
	} {
		if err := write(full{}); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("%s to a full disk: %v", name, err)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }
