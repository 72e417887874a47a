package report

import (
	"math"
	"time"

	"pgregory.net/rapid"
)

// Generators of pages that nobody would draw on purpose: hostile texts, values
// that are no numbers, rows of unlike lengths.

func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{
			"", "<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "</svg></title></style>", "]]>", "a & b", "'--",
			"\x00\x07\x1b[31m", "\xff\xfe", "\u202egnp", "{{.Title}}", "javascript:alert(1)", "日本語", "a\nb\tc", "expression(1);}",
		}),
		rapid.String(),
	)
}

func anyValue() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.SampledFrom([]float64{0, -1, 1, math.NaN(), math.Inf(1), math.Inf(-1), 1e300, -1e300, 1e17, 5e-324, 1e-9, 9000}),
		rapid.Float64Range(-1e7, 1e7),
	)
}

func anyValues() *rapid.Generator[[]float64] { return rapid.SliceOfN(anyValue(), 0, 40) }

func anyInk() *rapid.Generator[Ink] {
	return rapid.Custom(func(t *rapid.T) Ink { return Ink(rapid.IntRange(-2, int(inkEnd)+2).Draw(t, "ink")) })
}

func anySeries() *rapid.Generator[Series] {
	return rapid.Custom(func(t *rapid.T) Series {
		return Series{anyText().Draw(t, "name"), anyInk().Draw(t, "ink"), rapid.Bool().Draw(t, "dashed"), anyValues().Draw(t, "y")}
	})
}

func anyAxis() *rapid.Generator[Axis] {
	return rapid.Custom(func(t *rapid.T) Axis {
		return Axis{
			anyText().Draw(t, "axis"),
			rapid.OneOf(rapid.SampledFrom([]string{"", "USD", "USD/MWh", Fraction, "MW", "GPU-hours"}), anyText()).Draw(t, "unit"),
			rapid.SampledFrom([]float64{0, 0, 50, 1e-3, -1, math.NaN(), math.Inf(1), 5e-324, 1e300}).Draw(t, "knee"),
		}
	})
}

func anyPanel() *rapid.Generator[Panel] {
	return rapid.Custom(func(t *rapid.T) Panel {
		p := Panel{
			Axis: anyAxis().Draw(t, "axis"), Areas: rapid.SliceOfN(anySeries(), 0, 3).Draw(t, "areas"),
			Lines: rapid.SliceOfN(anySeries(), 0, 3).Draw(t, "lines"), Steps: rapid.Bool().Draw(t, "steps"),
			Height: rapid.SampledFrom([]float64{0, 1, 0.5, -1, 1e9, math.NaN(), math.Inf(1)}).Draw(t, "height"),
		}
		if rapid.Bool().Draw(t, "band") {
			p.Bands = []Band{{anyText().Draw(t, "name"), anyInk().Draw(t, "ink"), anyValues().Draw(t, "low"), anyValues().Draw(t, "mid"), anyValues().Draw(t, "high")}}
		}
		return p
	})
}

func anyTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.OneOf(
			rapid.Int64Range(1.6e9, 1.7e9),
			rapid.SampledFrom([]int64{0, -62135596800, 253402300799, 1 << 40, -1 << 40}),
		).Draw(t, "unix"), 0)
	})
}

func anyMarks(t *rapid.T) []Mark {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Mark {
		return Mark{anyTime().Draw(t, "at"), anyValue().Draw(t, "x"), anyText().Draw(t, "mark")}
	}), 0, 4).Draw(t, "marks")
}

func anyChart() *rapid.Generator[Chart] {
	return rapid.Custom(func(t *rapid.T) Chart {
		title, text := anyText().Draw(t, "title"), anyText().Draw(t, "text")
		panels := rapid.SliceOfN(anyPanel(), 0, 3).Draw(t, "panels")
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			c := &Timeline{Title: title, Text: text, At: rapid.SliceOfN(anyTime(), 0, 40).Draw(t, "at"), Panels: panels, Marks: anyMarks(t)}
			if rapid.Bool().Draw(t, "zoned") {
				c.Zone = chicago
			}
			return c
		case 1:
			return &Curves{title, text, anyAxis().Draw(t, "x"), anyValues().Draw(t, "at"), panels, anyMarks(t)}
		}
		return &Bars{
			title, text, anyAxis().Draw(t, "axis"), rapid.SliceOfN(anyText(), 0, 14).Draw(t, "groups"),
			rapid.SliceOfN(anySeries(), 0, 4).Draw(t, "series"), rapid.Bool().Draw(t, "stacked"), rapid.IntRange(-1, 15).Draw(t, "emphasis"),
		}
	})
}

func anyTable() *rapid.Generator[*Table] {
	return rapid.Custom(func(t *rapid.T) *Table {
		cell := rapid.OneOf(
			rapid.Map(anyText(), func(s string) any { return s }), rapid.Map(anyValue(), func(v float64) any { return v }),
			rapid.Map(rapid.Int(), func(n int) any { return n }), rapid.Just[any](nil),
		)
		column := rapid.Custom(func(t *rapid.T) Column {
			return Column{
				Title: anyText().Draw(t, "title"), Name: anyText().Draw(t, "name"), Unit: rapid.SampledFrom([]string{"", "USD", Fraction, "MW", "<b>"}).Draw(t, "unit"),
				Bare: rapid.Bool().Draw(t, "bare"), Decimals: rapid.IntRange(-1, 30).Draw(t, "decimals"), Compact: rapid.Bool().Draw(t, "compact"), Right: rapid.Bool().Draw(t, "right"),
			}
		})
		return &Table{
			Columns: rapid.SliceOfN(column, 0, 6).Draw(t, "columns"), Rows: rapid.SliceOfN(rapid.SliceOfN(cell, 0, 8), 0, 6).Draw(t, "rows"),
			Emphasis: rapid.IntRange(-1, 8).Draw(t, "emphasis"), Note: anyText().Draw(t, "note"),
		}
	})
}

func anyPage() *rapid.Generator[Page] {
	return rapid.Custom(func(t *rapid.T) Page {
		p := Page{Title: anyText().Draw(t, "title"), Subtitle: anyText().Draw(t, "subtitle"), Made: anyText().Draw(t, "made"), Notes: []string{anyText().Draw(t, "note")}}
		p.Facts = []Fact{{anyText().Draw(t, "label"), anyText().Draw(t, "value"), anyText().Draw(t, "note"), anyInk().Draw(t, "ink")}}
		s := Section{Title: anyText().Draw(t, "section"), Text: anyText().Draw(t, "text"), Charts: rapid.SliceOfN(anyChart(), 0, 3).Draw(t, "charts")}
		if rapid.Bool().Draw(t, "tabled") {
			s.Table = anyTable().Draw(t, "table")
		}
		p.Sections = []Section{s}
		return p
	})
}

var chicago = mustZone("America/Chicago")

func mustZone(name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return z
}
