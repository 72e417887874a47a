package report_test

import (
	"io"
	"os"
	"time"

	"sluice/report"
)

func Example() {
	table := &report.Table{
		Columns: []report.Column{
			{Title: "Policy", Name: "name"},
			{Title: "Profit", Name: "profit_usd", Unit: "USD"},
			{Title: "Capture", Name: "capture", Unit: report.Fraction, Decimals: 1},
		},
		Rows:     [][]any{{"always", 412_345.6, 0.6641}, {"sluice", 613_210.2, 0.9876}},
		Emphasis: 2,
	}
	_ = table.WriteText(os.Stdout)

	start := time.Date(2021, 2, 12, 0, 0, 0, 0, time.UTC)
	page := report.Page{
		Title: "Backtest of West Texas 1",
		Facts: []report.Fact{{Label: "Profit", Value: report.Compact(613_210.2, "USD"), Note: "98.8 % of hindsight's"}},
		Sections: []report.Section{{
			Title: "The week of the worst spike", Table: table,
			Charts: []report.Chart{&report.Timeline{
				Title: "Power by use against price",
				At:    []time.Time{start, start.Add(time.Hour), start.Add(2 * time.Hour)},
				Panels: []report.Panel{
					{
						Axis: report.Axis{Title: "Power", Unit: "MW"}, Steps: true,
						Areas: []report.Series{{Name: "AI", Ink: report.AI, Y: []float64{2, 3, 3}}, {Name: "Mining", Ink: report.Mining, Y: []float64{10, 10, 0}}},
						Lines: []report.Series{{Name: "Limit", Ink: report.Limit, Dashed: true, Y: []float64{14, 14, 14}}},
					},
					{
						Axis: report.Axis{Title: "Price", Unit: "USD/MWh", Knee: 50}, Steps: true, Height: 0.6,
						Lines: []report.Series{{Name: "Price", Ink: report.Price, Y: []float64{22, 85, 8983}}},
					},
				},
				Marks: []report.Mark{{At: start.Add(2 * time.Hour), Text: "the grid's emergency"}},
			}},
		}},
	}
	_ = page.WriteHTML(io.Discard)
	// Output:
	// Policy    Profit  Capture
	//   ─────────────────────────
	//   always  $412,346   66.4 %
	// > sluice  $613,210   98.8 %
}
