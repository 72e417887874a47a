package pivot

import (
	"fmt"
	"io"
	"math"
	"strconv"

	"sluice/report"
)

// WriteText writes the result for a terminal: a table for each conversion, the
// best shares, every input, the notes.
func (r *Result) WriteText(w io.Writer) error {
	for _, b := range r.Best {
		fmt.Fprintf(w, "\n%s\n", r.headline(b))
		if err := r.moneyTable(b).WriteText(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
		if err := r.riskTable(b).WriteText(w); err != nil {
			return err
		}
	}
	fmt.Fprintln(w, "\nInputs")
	if err := r.inputTable().WriteText(w); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nNotes")
	for _, n := range r.allNotes() {
		if _, err := fmt.Fprintln(w, "  "+n); err != nil {
			return err
		}
	}
	return nil
}

func (r *Result) headline(b Best) string {
	return fmt.Sprintf("%s: the present value is best at %s of the site, %s MW of AI (median %s); the careful choice is %s, %s MW (P5 %s)",
		b.Conversion, report.Compact(b.Share, report.Fraction), report.Exact(b.AIMW, "", 1), report.Compact(b.NPVP50USD, "USD"),
		report.Compact(b.Careful, report.Fraction), report.Exact(b.CarefulMW, "", 1), report.Compact(b.NPVP5USD, "USD"))
}

func (r *Result) stepsOf(conversion string) []Step {
	var out []Step
	for _, s := range r.Steps {
		if s.Conversion == conversion {
			out = append(out, s)
		}
	}
	return out
}

func orNaN(x *float64) float64 {
	if x == nil {
		return math.NaN()
	}
	return *x
}

// emphasis is the row of the best share, counted from 1.
func emphasis(steps []Step, share float64) int {
	for i, s := range steps {
		if s.Share == share {
			return i + 1
		}
	}
	return 0
}

func usd(title string) report.Column { return report.Column{Title: title, Unit: "USD", Compact: true} }

func (r *Result) moneyTable(b Best) *report.Table {
	t := &report.Table{
		Columns: []report.Column{
			{Title: "share", Unit: report.Fraction, Compact: true},
			{Title: "AI MW", Decimals: 1},
			usd("capital"),
			usd("mining/yr"), usd("AI/yr"), usd("profit P5"), usd("P50"), usd("P95"),
			usd("NPV P5"), usd("P50"), usd("P95"),
			{Title: "IRR", Unit: report.Fraction, Decimals: 1},
			{Title: "payback", Unit: "yr", Decimals: 1},
		},
		Note: "A year is the first whole year of service. IRR and payback are of the mean cash over that without a conversion.",
	}
	steps := r.stepsOf(b.Conversion)
	for _, s := range steps {
		t.Rows = append(t.Rows, []any{
			s.Share, s.AIMW, s.CapexUSD, s.MiningProfitUSD, s.AIProfitUSD, s.ProfitUSD.P5, s.ProfitUSD.P50, s.ProfitUSD.P95,
			s.NPVUSD.P5, s.NPVUSD.P50, s.NPVUSD.P95, orNaN(s.IRR), orNaN(s.Payback),
		})
	}
	t.Emphasis = emphasis(steps, b.Share)
	return t
}

func (r *Result) riskTable(b Best) *report.Table {
	t := &report.Table{
		Columns: []report.Column{
			{Title: "share", Unit: report.Fraction, Compact: true},
			usd("mean month"),
			{Title: "variation", Decimals: 2},
			usd("cash at risk"), usd("worst quarter"),
			usd("flexibility/yr"), usd("calls alone/yr"),
			{Title: "cut h/yr", Decimals: 1},
			{Title: "cut alone h/yr", Decimals: 1},
			{Title: "backup MWh/yr", Decimals: 0},
		},
		Note: "Variation is the standard deviation of monthly cash over its mean; cash at risk the mean month less the P5 month; worst quarter the P5 over scenarios. " +
			"Flexibility is what miners and AI earn more together than each alone, calls alone what the grid's calls would cost the AI without miners.",
	}
	steps := r.stepsOf(b.Conversion)
	for _, s := range steps {
		t.Rows = append(t.Rows, []any{
			s.Share, s.MeanMonthUSD, orNaN(s.CashCV), s.CashAtRiskUSD, s.WorstQuarterUSD,
			s.FlexibilityUSD, s.CalledAloneUSD, s.CutHours, s.CutAloneHours, s.BackupMWh,
		})
	}
	t.Emphasis = emphasis(steps, b.Share)
	return t
}

func (r *Result) inputTable() *report.Table {
	t := &report.Table{Columns: []report.Column{{Title: "input"}, {Title: "value", Right: true}, {Title: "unit"}, {Title: "source"}}}
	for _, in := range r.Inputs {
		v := fmt.Sprint(in.Value)
		if x, ok := in.Value.(float64); ok {
			v = strconv.FormatFloat(x, 'g', 8, 64)
		}
		t.Rows = append(t.Rows, []any{in.Name, v, in.Unit, in.Source})
	}
	return t
}

func (r *Result) allNotes() []string {
	h := r.History
	return append([]string{
		fmt.Sprintf("History: %d weeks from %s to %s; the grid calls in %.0f hours a year of them.", h.Weeks, h.From.Format("2006-01-02"), h.To.Format("2006-01-02"), h.CalledHoursYear),
		fmt.Sprintf("Hashprice: %.1f to %.1f USD per PH/s and day over the scenarios; %.1f %% a week of new deviation, half of a deviation gone after %.0f weeks.",
			h.LeastHashprice, h.MostHashprice, 100*h.WeeklyVolatility, h.HalfLifeWeeks),
		fmt.Sprintf("Optimiser: %d problems of 168 hours solved, from which %d weeks at a share and a hashprice follow; each is within %s of the proven bound, as a share of its turnover.",
			r.Solver.Solves, r.Solver.Direct, percent(r.Solver.WorstGap)),
	}, r.Notes...)
}

func percent(x float64) string { return strconv.FormatFloat(100*x, 'g', 2, 64) + " %" }

// WriteCSV writes a row for each conversion and share.
func (r *Result) WriteCSV(w io.Writer) error {
	t := &report.Table{}
	names := []string{
		"conversion", "share", "mining_mw", "ai_mw", "ai_it_mw", "hosts", "gpus", "capex_usd", "sold_usd", "write_off_usd",
		"mining_profit_usd_year", "ai_profit_usd_year", "profit_p5_usd_year", "profit_p50_usd_year", "profit_p95_usd_year",
		"npv_p5_usd", "npv_p50_usd", "npv_p95_usd", "npv_gain_p5_usd", "npv_gain_p50_usd", "npv_gain_p95_usd", "irr", "payback_years",
		"cash_cv", "mean_month_cash_usd", "worst_quarter_usd", "cash_at_risk_usd", "flexibility_usd_year", "ai_alone_curtailment_usd_year",
		"ai_cut_hours_year", "ai_alone_cut_hours_year", "backup_mwh_year", "energy_mwh_year",
	}
	for _, n := range names {
		t.Columns = append(t.Columns, report.Column{Title: n, Name: n})
	}
	for _, s := range r.Steps {
		t.Rows = append(t.Rows, []any{
			s.Conversion, s.Share, s.MiningMW, s.AIMW, s.AIITMW, s.Hosts, s.GPUs, s.CapexUSD, s.SoldUSD, s.WriteOffUSD,
			s.MiningProfitUSD, s.AIProfitUSD, s.ProfitUSD.P5, s.ProfitUSD.P50, s.ProfitUSD.P95,
			s.NPVUSD.P5, s.NPVUSD.P50, s.NPVUSD.P95, s.NPVGainUSD.P5, s.NPVGainUSD.P50, s.NPVGainUSD.P95, orNaN(s.IRR), orNaN(s.Payback),
			orNaN(s.CashCV), s.MeanMonthUSD, s.WorstQuarterUSD, s.CashAtRiskUSD, s.FlexibilityUSD, s.CalledAloneUSD,
			s.CutHours, s.CutAloneHours, s.BackupMWh, s.EnergyMWh,
		})
	}
	return t.WriteCSV(w)
}
