package pivot

import (
	"fmt"
	"io"
	"slices"

	"sluice/report"
)

// WriteHTML writes one self-contained page with pictures.
func (r *Result) WriteHTML(w io.Writer) error {
	p := report.Page{
		Title:    "How much of " + r.Site + " to convert to AI",
		Subtitle: fmt.Sprintf("%s MW behind the connection, %d years, %d scenarios from %d weeks of history", report.Exact(r.PowerMW, "", 1), r.Years, r.Scenarios, r.History.Weeks),
		Notes:    r.allNotes(),
		Made:     "Made by sluice plan pivot. docs/pivot.md says how each figure is computed.",
	}
	for _, b := range r.Best {
		p.Facts = append(p.Facts, report.Fact{
			Label: b.Conversion, Value: report.Compact(b.AIMW, "MW"), Ink: report.AI,
			Note: fmt.Sprintf("has the best median present value, %s; the careful choice is %s", report.Compact(b.NPVP50USD, "USD"), report.Compact(b.CarefulMW, "MW")),
		})
	}
	for _, b := range r.Best {
		steps := r.stepsOf(b.Conversion)
		p.Sections = append(p.Sections, report.Section{
			Title: b.Conversion, Text: r.headline(b) + ".", Table: r.moneyTable(b),
			Charts: charts(steps, b),
		}, report.Section{Title: b.Conversion + ": risk and flexibility", Table: r.riskTable(b)})
	}
	p.Sections = append(p.Sections, report.Section{
		Title: "Inputs", Text: "Every input with its unit and where it comes from; what says assumption is one.", Table: r.inputTable(),
	})
	return p.WriteHTML(w)
}

func charts(steps []Step, b Best) []report.Chart {
	out := []report.Chart{presentValue(steps, b), profit(steps, b), cash(steps), capital(steps)}
	if slices.ContainsFunc(steps, func(s Step) bool { return s.FlexibilityUSD != 0 || s.CalledAloneUSD != 0 }) {
		out = append(out, flexibility(steps))
	}
	return append(out, years(steps, b))
}

func column(steps []Step, of func(*Step) float64) []float64 {
	out := make([]float64, len(steps))
	for i := range steps {
		out[i] = of(&steps[i])
	}
	return out
}

func shares(steps []Step) []float64 { return column(steps, func(s *Step) float64 { return s.Share }) }

func groups(steps []Step) []string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = report.Compact(s.Share, report.Fraction)
	}
	return out
}

var shareAxis = report.Axis{Title: "share of the site that is converted", Unit: report.Fraction}

func presentValue(steps []Step, b Best) report.Chart {
	marks := []report.Mark{{X: b.Share, Text: "best median"}}
	if b.Careful != b.Share {
		marks = append(marks, report.Mark{X: b.Careful, Text: "careful"})
	}
	return &report.Curves{
		Title: "Net present value by share", Text: "The line is the median over the scenarios, the band goes from P5 to P95.",
		X: shareAxis, At: shares(steps), Marks: marks,
		Panels: []report.Panel{{
			Axis: report.Axis{Title: "net present value", Unit: "USD"},
			Bands: []report.Band{{
				Name: "P5 to P95", Ink: report.First,
				Low:  column(steps, func(s *Step) float64 { return s.NPVUSD.P5 }),
				Mid:  column(steps, func(s *Step) float64 { return s.NPVUSD.P50 }),
				High: column(steps, func(s *Step) float64 { return s.NPVUSD.P95 }),
			}},
		}},
	}
}

func profit(steps []Step, b Best) report.Chart {
	return &report.Bars{
		Title: "Yearly profit by division", Text: "The first whole year of service, before capital; means over the scenarios.",
		Axis: report.Axis{Title: "profit", Unit: "USD"}, Groups: groups(steps), Stacked: true, Emphasis: emphasis(steps, b.Share),
		Series: []report.Series{
			{Name: "mining", Ink: report.Mining, Y: column(steps, func(s *Step) float64 { return s.MiningProfitUSD })},
			{Name: "AI", Ink: report.AI, Y: column(steps, func(s *Step) float64 { return s.AIProfitUSD })},
		},
	}
}

func cash(steps []Step) report.Chart {
	return &report.Curves{
		Title: "How much monthly cash swings", Text: "Cash at risk is the mean month less the P5 month; variation the standard deviation over the mean.",
		X: shareAxis, At: shares(steps),
		Panels: []report.Panel{
			{
				Axis: report.Axis{Title: "a month", Unit: "USD"},
				Lines: []report.Series{
					{Name: "mean month", Ink: report.First, Y: column(steps, func(s *Step) float64 { return s.MeanMonthUSD })},
					{Name: "cash at risk", Ink: report.Limit, Y: column(steps, func(s *Step) float64 { return s.CashAtRiskUSD })},
				},
			},
			{
				Axis:  report.Axis{Title: "variation", Unit: report.Fraction},
				Lines: []report.Series{{Name: "coefficient of variation", Ink: report.Second, Y: column(steps, func(s *Step) float64 { return orNaN(s.CashCV) })}},
			},
		},
	}
}

func capital(steps []Step) report.Chart {
	c := &report.Curves{
		Title: "Capital and payback", Text: "No share pays back within the plan: its mean cash over that without a conversion stays below the capital.",
		X: shareAxis, At: shares(steps),
		Panels: []report.Panel{{
			Axis:  report.Axis{Title: "capital", Unit: "USD"},
			Areas: []report.Series{{Name: "capital", Ink: report.Other, Y: column(steps, func(s *Step) float64 { return s.CapexUSD })}},
		}},
	}
	if slices.ContainsFunc(steps, func(s Step) bool { return s.Payback != nil }) {
		c.Text = "Payback is of the mean cash over that without a conversion; a gap means never within the plan."
		c.Panels = append(c.Panels, report.Panel{
			Axis:  report.Axis{Title: "payback", Unit: "years"},
			Lines: []report.Series{{Name: "payback", Ink: report.First, Y: column(steps, func(s *Step) float64 { return orNaN(s.Payback) })}},
		})
	}
	return c
}

func flexibility(steps []Step) report.Chart {
	return &report.Bars{
		Title: "What miners save the AI", Text: "A year of the grid's calls would cost the AI alone the one; together with miners the site keeps the other.",
		Axis: report.Axis{Title: "a year", Unit: "USD"}, Groups: groups(steps),
		Series: []report.Series{
			{Name: "calls, AI alone", Ink: report.Limit, Y: column(steps, func(s *Step) float64 { return s.CalledAloneUSD })},
			{Name: "value of flexibility", Ink: report.Mining, Y: column(steps, func(s *Step) float64 { return s.FlexibilityUSD })},
		},
	}
}

func years(steps []Step, b Best) report.Chart {
	i := max(emphasis(steps, b.Share), 1) - 1
	if i == 0 && len(steps) > 1 {
		i = 1 // without a conversion there is no capital to show
	}
	s := steps[i]
	c := &report.Bars{
		Title: "Cash by year at " + report.Compact(s.Share, report.Fraction), Text: "Means over the scenarios.",
		Axis: report.Axis{Title: "cash", Unit: "USD"}, Stacked: true,
		Series: []report.Series{{Name: "mining", Ink: report.Mining}, {Name: "AI", Ink: report.AI}, {Name: "capital", Ink: report.Other}},
	}
	for _, y := range s.ByYear {
		c.Groups = append(c.Groups, fmt.Sprint(y.Year))
		for j, v := range []float64{y.MiningUSD, y.AIUSD, y.CapitalUSD} {
			c.Series[j].Y = append(c.Series[j].Y, v)
		}
	}
	return c
}
