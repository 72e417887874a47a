package backtest

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"sluice/report"
)

// table is the report's figures, a row for each policy.
func (r *Report) table() *report.Table {
	t := &report.Table{
		Columns: []report.Column{
			{Title: "Policy", Name: "name"},
			{Title: "Profit", Name: "profit_usd", Unit: "USD", Compact: true},
			{Title: "Capture", Name: "capture", Unit: report.Fraction, Decimals: 1},
			{Title: "Mining", Name: "mining_usd", Unit: "USD", Compact: true},
			{Title: "AI", Name: "ai_usd", Unit: "USD", Compact: true},
			{Title: "Reserves", Name: "reserve_usd", Unit: "USD", Compact: true},
			{Title: "Energy cost", Name: "energy_usd", Unit: "USD", Compact: true},
			{Title: "Energy", Name: "energy_mwh", Unit: "MWh", Bare: true},
			{Title: "Hours mined", Name: "hours_mined"},
			{Title: "GPU-hours", Name: "gpu_hours"},
			{Title: "Late", Name: "jobs_late"},
			{Title: "Lost", Name: "jobs_lost"},
			{Title: "Pauses", Name: "preemptions"},
			{Title: "Switches", Name: "switches"},
		},
		Note: "Profit is the revenue of mining (after the pool's fee), AI and reserves less the cost of energy. Capture is the share of hindsight's profit, a bound that nobody could pass. Hours mined are those of the whole fleet at full power; switches count machines that changed their mode, pauses jobs that were stopped before they were done.",
	}
	for i, p := range r.Policies {
		if p.Name == Sluice {
			t.Emphasis = i + 1
		}
		capture := math.NaN()
		if p.Capture != nil {
			capture = *p.Capture
		}
		row := []any{p.Name, p.ProfitUSD, capture, p.MiningUSD, p.AIUSD, p.ReserveUSD, p.EnergyUSD, p.EnergyMWh, p.HoursMined, p.GPUHours, p.JobsLate, p.JobsLost, p.Preemptions, p.Switches}
		if p.Name == Hindsight { // a bound has no parts
			row = []any{p.Name, p.ProfitUSD, capture}
			for len(row) < len(t.Columns) {
				row = append(row, math.NaN())
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// WriteText writes the table and what was found in the data, for a terminal.
func (r *Report) WriteText(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s, %s to %s, steps of %s\n\n", r.Site, r.From.Format(time.RFC3339), r.To.Format(time.RFC3339), r.step()); err != nil {
		return err
	}
	t := r.table()
	t.Note = ""
	if err := t.WriteText(w); err != nil {
		return err
	}
	for _, p := range r.Policies {
		if p.Note == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s: %s.\n", p.Name, p.Note); err != nil {
			return err
		}
	}
	if len(r.Findings) > 0 {
		if _, err := fmt.Fprintf(w, "\nThe data:\n"); err != nil {
			return err
		}
	}
	for i, f := range r.Findings {
		if i == shown {
			_, err := fmt.Fprintf(w, "  and %d more (--json has all)\n", len(r.Findings)-i)
			return err
		}
		if _, err := fmt.Fprintf(w, "  %s\n", f); err != nil {
			return err
		}
	}
	return nil
}

// shown is how many findings are listed for people.
const shown = 20

// WriteCSV writes the table as CSV, a row for each policy, all digits.
func (r *Report) WriteCSV(w io.Writer) error { return r.table().WriteCSV(w) }

func (r *Report) step() time.Duration { return time.Duration(r.StepS * float64(time.Second)) }

// WriteHTML writes the report as one page with pictures.
func (r *Report) WriteHTML(w io.Writer) error {
	p := report.Page{
		Title:    r.Site + ": what each way of running it would have earned",
		Subtitle: fmt.Sprintf("%s to %s, in steps of %s, over recorded prices", r.From.Format("2 January 2006"), r.To.Add(-time.Second).Format("2 January 2006"), r.step()),
		Facts:    r.facts(),
		Sections: []report.Section{{Title: "Policies side by side", Text: r.explained(), Table: r.table(), Charts: r.bars()}},
		Notes:    r.notes(),
		Made:     "Made by sluice backtest.",
	}
	if c := r.profits(); c != nil {
		p.Sections = append(p.Sections, report.Section{Title: "Profit over time", Charts: []report.Chart{c}})
	}
	if c := r.uses(); c != nil {
		p.Sections = append(p.Sections, report.Section{Title: "What the power was used for", Charts: []report.Chart{c}})
	}
	if c := r.week(); c != nil {
		p.Sections = append(p.Sections, report.Section{Title: "The week of the highest price", Charts: []report.Chart{c}})
	}
	return p.WriteHTML(w)
}

func (r *Report) policy(name string) (Result, bool) {
	i := slices.IndexFunc(r.Policies, func(p Result) bool { return p.Name == name })
	if i < 0 {
		return Result{}, false
	}
	return r.Policies[i], true
}

// main is the policy that the pictures are of: the controller's, else the first.
func (r *Report) main() string {
	if _, ok := r.policy(Sluice); ok {
		return Sluice
	}
	for _, p := range r.Policies {
		if p.Name != Hindsight {
			return p.Name
		}
	}
	return ""
}

func (r *Report) facts() []report.Fact {
	var out []report.Fact
	s, ok := r.policy(r.main())
	if !ok {
		return nil
	}
	out = append(out, report.Fact{Label: "Profit of " + s.Name, Value: report.Compact(s.ProfitUSD, "USD"), Note: "after energy"})
	if s.Capture != nil {
		out = append(out, report.Fact{Label: "Of what hindsight could earn at most", Value: report.Exact(*s.Capture, report.Fraction, 1)})
	}
	for _, other := range []string{Always, LastPrice, Static} {
		if p, ok := r.policy(other); ok && other != s.Name {
			out = append(out, report.Fact{Label: "More than " + other, Value: report.Compact(s.ProfitUSD-p.ProfitUSD, "USD")})
		}
	}
	return out
}

func (r *Report) explained() string {
	text := ""
	for _, p := range r.Policies {
		text += p.Name + ": " + Explain(p.Name) + " "
	}
	return text
}

func (r *Report) bars() []report.Chart {
	b := &report.Bars{Title: "Where the profit comes from", Axis: report.Axis{Title: "USD", Unit: "USD"}, Stacked: true}
	rows := []report.Series{{Name: "Mining", Ink: report.Mining}, {Name: "AI", Ink: report.AI}, {Name: "Reserves", Ink: report.Reserve}, {Name: "Energy", Ink: report.Other}}
	for _, p := range r.Policies {
		if p.Name == Hindsight {
			continue // a bound has no parts
		}
		b.Groups = append(b.Groups, p.Name)
		if p.Name == Sluice {
			b.Emphasis = len(b.Groups)
		}
		for i, v := range []float64{p.MiningUSD, p.AIUSD, p.ReserveUSD, -p.EnergyUSD} {
			rows[i].Y = append(rows[i].Y, v)
		}
	}
	if len(b.Groups) == 0 {
		return nil
	}
	b.Series = rows
	return []report.Chart{b}
}

var inkOf = map[string]report.Ink{Sluice: report.First, Always: report.Second, Static: report.Third, LastPrice: report.Fourth}

// profits is the profit since the start of each policy.
func (r *Report) profits() report.Chart {
	c := &report.Timeline{Title: "Profit since the start, by policy", Text: "Below: the mean price of each day. The axis of prices bends, so that a day of 20 and one of 5,000 $/MWh can both be read."}
	lines := report.Panel{Axis: report.Axis{Title: "Profit", Unit: "USD"}, Height: 1.4}
	price := report.Panel{Axis: report.Axis{Title: "Price", Unit: "USD/MWh", Knee: 100}, Steps: true, Height: 0.7}
	for _, p := range r.Policies {
		days := r.Days[p.Name]
		if len(days) == 0 || p.Name == Hindsight {
			continue
		}
		sum := 0.0
		s := report.Series{Name: p.Name, Ink: inkOf[p.Name]}
		first := len(c.At) == 0
		var prices []float64
		for _, d := range days {
			sum += d.ProfitUSD
			s.Y = append(s.Y, sum)
			if first {
				c.At = append(c.At, d.Date)
				prices = append(prices, d.PriceUSD)
			}
		}
		if first {
			price.Lines = []report.Series{{Name: "Price of power", Ink: report.Price, Y: prices}}
		}
		lines.Lines = append(lines.Lines, s)
	}
	if len(c.At) < 2 {
		return nil
	}
	c.Panels = []report.Panel{lines, price}
	return c
}

// uses is the mean power of each use by day.
func (r *Report) uses() report.Chart {
	days := r.Days[r.main()]
	if len(days) < 2 {
		return nil
	}
	c := &report.Timeline{Title: "Mean power of each day by use, policy " + r.main()}
	mining, ai := report.Series{Name: "Mining", Ink: report.Mining}, report.Series{Name: "AI", Ink: report.AI}
	for _, d := range days {
		c.At = append(c.At, d.Date)
		hours := float64(d.steps) * r.StepS / 3600
		mining.Y = append(mining.Y, d.MiningMWh/hours)
		ai.Y = append(ai.Y, d.AIMWh/hours)
	}
	c.Panels = []report.Panel{{Axis: report.Axis{Title: "Power", Unit: "MW"}, Areas: []report.Series{ai, mining}, Steps: true}}
	return c
}

// week is the week of the worst spike.
func (r *Report) week() report.Chart {
	spike := r.Spike[r.main()]
	if len(spike) < 2 {
		return nil
	}
	c := &report.Timeline{Title: "Power by use and its price around the highest price, policy " + r.main(), Text: "Miners step aside while power is dear; what stands ready for reserves is drawn dashed."}
	mining, ai, ready := report.Series{Name: "Mining", Ink: report.Mining}, report.Series{Name: "AI", Ink: report.AI}, report.Series{Name: "Ready for reserves", Ink: report.Reserve, Dashed: true}
	price := report.Series{Name: "Price of power", Ink: report.Price}
	most, any := 0, false
	for i, p := range spike {
		c.At = append(c.At, p.At)
		mining.Y, ai.Y, ready.Y = append(mining.Y, p.MiningMW), append(ai.Y, p.AIMW), append(ready.Y, p.ReadyMW)
		price.Y = append(price.Y, p.Price)
		any = any || p.ReadyMW > 0
		if p.Price > spike[most].Price {
			most = i
		}
	}
	use := report.Panel{Axis: report.Axis{Title: "Power", Unit: "MW"}, Areas: []report.Series{ai, mining}, Steps: true, Height: 1.2}
	if any {
		use.Lines = []report.Series{ready}
	}
	c.Panels = []report.Panel{use, {Axis: report.Axis{Title: "Price", Unit: "USD/MWh", Knee: 100}, Lines: []report.Series{price}, Steps: true}}
	c.Marks = []report.Mark{{At: spike[most].At, Text: report.Exact(spike[most].Price, "USD/MWh", 0)}}
	return c
}

func (r *Report) notes() []string {
	out := append([]string{}, r.Rules...)
	for i, f := range r.Findings {
		if i == shown {
			out = append(out, fmt.Sprintf("and %d more findings", len(r.Findings)-i))
			break
		}
		out = append(out, f.String())
	}
	return out
}
