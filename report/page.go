package report

import (
	_ "embed"
	"html/template"
	"io"

	"sluice"
)

// Page is one self-contained HTML document.
type Page struct {
	Title    string
	Subtitle string // of what, from when to when
	// Facts are the few figures that answer the question, large on top.
	Facts    []Fact
	Sections []Section
	// Notes say how the figures came about and where they fall short.
	Notes []string
	// Made says with what and from what the page was made. It stands at the foot.
	Made string
}

// Fact is one large figure.
type Fact struct {
	Label string
	Value string // with its unit, as of Compact
	Note  string
	Ink   Ink // a division's colour; Auto is plain
}

// Section is a titled part of the page: text, then a table, then pictures. All
// but the title may be missing.
type Section struct {
	Title  string
	Text   string
	Table  *Table
	Charts []Chart
}

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// pageView is what page.html shows of a Page.
type pageView struct {
	Page
	Style    template.CSS
	Sections []sectionView
}

type sectionView struct {
	Section
	Table  *tableView
	Charts []chartView
}

type chartView struct {
	Title, Text  string
	Legend       []keyView
	Wide, Narrow template.HTML // svg.go escapes what callers gave
}

type keyView struct {
	Name  string
	Shape string
	Style template.CSS
}

type tableView struct {
	Head []cellView
	Rows []rowView
	Note string
}

type rowView struct {
	Strong bool
	Cells  []cellView
}

type cellView struct {
	Text  string
	Right bool
}

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"ink": func(k Ink) template.CSS {
		if k == Auto {
			return ""
		}
		return template.CSS("--mark:" + k.css())
	},
}).Parse(pageHTML))

// WriteHTML writes the page. It needs nothing but the browser that shows it: no
// script, no font, no picture of its own or of others is loaded.
func (p Page) WriteHTML(w io.Writer) error {
	v := pageView{Page: p, Style: template.CSS(":root{" + palette(false) + "}\n" +
		"@media screen and (prefers-color-scheme:dark){:root{" + palette(true) + "}}\n" + pageCSS)}
	for _, s := range p.Sections {
		sv := sectionView{Section: s, Table: viewTable(s.Table)}
		for _, c := range s.Charts {
			sv.Charts = append(sv.Charts, viewChart(c))
		}
		v.Sections = append(v.Sections, sv)
	}
	if err := pageTemplate.Execute(w, v); err != nil {
		return sluice.Errorf(sluice.Internal, "", "write the page %q: %v", p.Title, err)
	}
	return nil
}

func viewChart(c Chart) chartView {
	v := chartView{}
	v.Title, v.Text = c.caption()
	for _, k := range c.legend() {
		v.Legend = append(v.Legend, keyView{k.Name, k.Shape, template.CSS("--mark:" + k.Ink)})
	}
	var wide, narrow svg
	c.draw(&wide, true)
	c.draw(&narrow, false)
	v.Wide, v.Narrow = template.HTML(wide.b.String()), template.HTML(narrow.b.String())
	return v
}

func viewTable(t *Table) *tableView {
	if t == nil {
		return nil
	}
	v := &tableView{Note: t.Note}
	for j, c := range t.Columns {
		v.Head = append(v.Head, cellView{c.heading(), t.right(j)})
	}
	for i := range t.Rows {
		r := rowView{Strong: i+1 == t.Emphasis}
		for j, c := range t.Columns {
			r.Cells = append(r.Cells, cellView{c.text(t.cell(i, j)), t.right(j)})
		}
		v.Rows = append(v.Rows, r)
	}
	return v
}
