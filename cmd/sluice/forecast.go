package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/feed"
	"sluice/forecast"
	"sluice/history"
)

// forecastCmd measures the forecast over recorded prices.
func forecastCmd() *cobra.Command {
	var realTime, dayAhead, column, aheadColumn, from, to string
	var strikes []float64
	var asJSON bool
	c := &cobra.Command{
		Use:   "evaluate --real-time FILE --column NAME --strike USD --from DATE --to DATE",
		Short: "Walk forward over recorded prices and measure what the forecast is worth",
		Long: `Walks forward over recorded prices with a load that is worth so much a MWh and
runs or not in each interval. What is known then: day-ahead prices from 18:00 UTC of
the day before, real-time prices of intervals that have ended, the calendar.

  always      the load runs in every interval
  last price  it runs if the last price was below the strike
  forecast    it runs if the expected price is below the strike
  hindsight   it runs if the price is below the strike: the best there is

The regret of a rule is what it earns less than hindsight. All learning is on the
past; intervals without a price are left out.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "real-time", "strike", "from", "to"); err != nil {
				return err
			}
			for _, k := range strikes {
				if math.IsNaN(k) || math.IsInf(k, 0) {
					return sluice.Errorf(sluice.Invalid, "give a price per MWh, such as 50", "--strike: %v is no price", k)
				}
			}
			a, err := instant("from", from)
			if err != nil {
				return err
			}
			b, err := instant("to", to)
			if err != nil {
				return err
			}
			if !a.Before(b) {
				return sluice.Errorf(sluice.Invalid, "--to is excluded", "the range from %s to %s is empty", from, to)
			}
			bar := newProgress(cmd.ErrOrStderr(), "intervals")
			e := evaluation{realTime: realTime, dayAhead: dayAhead, column: column, aheadColumn: aheadColumn, from: a, to: b, strikes: strikes}
			out, err := e.run(cmd.Context(), func(done, total int) { bar.part("", done, total) })
			bar.done()
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				if len(out) == 1 {
					return enc.Encode(out[0])
				}
				return enc.Encode(out)
			}
			return writeEvaluation(cmd.OutOrStdout(), out)
		},
	}
	f := c.Flags()
	f.StringVar(&realTime, "real-time", "", "file of real-time prices (.csv or .csv.gz)")
	f.StringVar(&dayAhead, "day-ahead", "", "file of day-ahead prices; optional")
	f.StringVar(&column, "column", "", "column of the prices; may be left out where there is only one")
	f.StringVar(&aheadColumn, "day-ahead-column", "", "column of the day-ahead prices; may be left out where it has the same name, or is the only one")
	f.Float64SliceVar(&strikes, "strike", nil, "what the load is worth, per MWh; several may be given")
	f.Lookup("strike").DefValue = "" // else help would tell of a default []
	f.StringVar(&from, "from", "", "first day or instant, such as 2015-01-01")
	f.StringVar(&to, "to", "", "end, excluded")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return apiGroup("forecast", "What power is expected to cost, and how well that is known", c)
}

// evaluation is what is to be measured.
type evaluation struct {
	realTime, dayAhead  string
	column, aheadColumn string // empty: found out
	from, to            time.Time
	strikes             []float64
}

// worth is what rules earned with a load of one MW, in the currency of the prices.
type worth struct {
	Always    float64  `json:"always_usd_per_mw"`
	LastPrice float64  `json:"last_price_usd_per_mw"`
	Forecast  float64  `json:"forecast_usd_per_mw"`
	Hindsight float64  `json:"hindsight_usd_per_mw"`
	Regret    *float64 `json:"regret_ratio"` // of the forecast to that of the last price; null where that has none
	Intervals int      `json:"intervals"`
}

func (w *worth) ratio() {
	if last := w.Hindsight - w.LastPrice; last > 1e-9 {
		r := (w.Hindsight - w.Forecast) / last
		w.Regret = &r
	}
}

// measured is the result for one strike.
type measured struct {
	Strike float64 `json:"strike"`
	worth
	Currency string            `json:"currency"` // of all money here, whatever the names say
	StepS    float64           `json:"step_s"`
	Missing  int               `json:"intervals_missing"`
	Years    []year            `json:"years"`
	Findings []history.Finding `json:"findings"`
}

type year struct {
	Year int `json:"year"`
	worth
}

// learnYears is how much history before the range is learned from, at most.
const learnYears = 8

func (e *evaluation) run(ctx context.Context, progress func(done, total int)) ([]*measured, error) {
	lo, hi := feed.Bounds(feed.RealTimePrice)
	read := func(file, column string, to time.Time) (*history.Grid, error) {
		return history.Read(history.Spec{Path: file, Column: column, To: to, Low: lo, High: hi})
	}
	rt, err := read(e.realTime, e.column, e.to)
	if err != nil {
		return nil, err
	}
	end := rt.Time(len(rt.Values))
	if e.from.Before(rt.Start) || !e.from.Before(end) {
		return nil, sluice.Errorf(sluice.Invalid, "choose a range within it", "%s holds prices from %s to %s; %s is not within", e.realTime,
			rt.Start.Format(time.RFC3339), end.Format(time.RFC3339), e.from.Format(time.RFC3339))
	}
	var da *history.Grid
	if e.dayAhead != "" {
		if da, err = e.readAhead(read, rt.Column); err != nil {
			return nil, err
		}
	}
	f, err := forecast.New(forecast.Options{Step: rt.Step, Horizon: 1, Strikes: e.strikes})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.realTime, err)
	}
	out := make([]*measured, len(e.strikes))
	for i, k := range e.strikes {
		out[i] = &measured{Strike: k, Currency: currencyOf(rt.Column), StepS: rt.Step.Seconds(), Years: []year{}, Findings: []history.Finding{}}
		out[i].Findings = append(out[i].Findings, rt.Findings...)
		if da != nil {
			out[i].Findings = append(out[i].Findings, da.Findings...)
		}
	}
	first := 0
	if begin := e.from.AddDate(-learnYears, 0, 0); begin.After(rt.Start) {
		first = int(begin.Sub(rt.Start) / rt.Step)
	}
	published, last := 0, math.NaN()
	for i := first; i < len(rt.Values); i++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		now, price := rt.Time(i), rt.Values[i]
		published = publish(f, da, published, now)
		if !now.Before(e.from) {
			e.measure(out, f, now, price, last, rt.Step.Hours())
		}
		if !math.IsNaN(price) {
			f.Observe(now, price)
			last = price
		}
		if i%500 == 0 {
			progress(i-first, len(rt.Values)-first)
		}
	}
	for _, m := range out {
		m.ratio()
		for j := range m.Years {
			m.Years[j].ratio()
		}
	}
	return out, nil
}

// readAhead reads the day-ahead prices: the column that is named, else that of the
// real-time prices' name, else the only one.
func (e *evaluation) readAhead(read func(file, column string, to time.Time) (*history.Grid, error), realTime string) (*history.Grid, error) {
	to := e.to.Add(48 * time.Hour)
	if e.aheadColumn != "" {
		return read(e.dayAhead, e.aheadColumn, to)
	}
	da, err := read(e.dayAhead, realTime, to)
	if err == nil {
		return da, nil
	}
	if da, only := read(e.dayAhead, "", to); only == nil {
		return da, nil
	}
	return nil, fmt.Errorf("%w; --day-ahead-column names the one to read", err)
}

// publish tells the day-ahead prices that are known by now: those of the day, and
// from 18:00 UTC on those of the next.
func publish(f *forecast.Forecaster, da *history.Grid, from int, now time.Time) int {
	if da == nil {
		return 0
	}
	end := now.Truncate(24 * time.Hour).Add(24 * time.Hour)
	if now.Hour() >= 18 {
		end = end.Add(24 * time.Hour)
	}
	for ; from < len(da.Values) && da.Time(from).Before(end); from++ {
		f.Publish(da.Time(from), da.Step, da.Values[from])
	}
	return from
}

// measure lets each rule decide on the interval that begins now, and adds what that
// brought.
func (e *evaluation) measure(out []*measured, f *forecast.Forecaster, now time.Time, price, last, hours float64) {
	expected := f.Expect(now, 1)[0].Mean
	for i, k := range e.strikes {
		m := out[i]
		if math.IsNaN(price) {
			m.Missing++
			continue
		}
		if n := len(m.Years); n == 0 || m.Years[n-1].Year != now.Year() {
			m.Years = append(m.Years, year{Year: now.Year()})
		}
		gain := (k - price) * hours
		for _, w := range []*worth{&m.worth, &m.Years[len(m.Years)-1].worth} {
			w.Intervals++
			w.Always += gain
			if !(last >= k) { // before there is a last price it runs
				w.LastPrice += gain
			}
			if !(expected >= k) {
				w.Forecast += gain
			}
			w.Hindsight += math.Max(0, gain)
		}
	}
}

var currency = regexp.MustCompile(`(?i)(?:^|_)(usd|aud|eur|gbp|cad|nok|sek|dkk|jpy|chf|pln|inr|brl|nzd)_per_`)

// currencyOf is what the column's name says of its currency.
func currencyOf(column string) string {
	if m := currency.FindStringSubmatch(column); m != nil {
		return strings.ToUpper(m[1])
	}
	return "not said"
}

func writeEvaluation(w io.Writer, all []*measured) error {
	for _, m := range all {
		fmt.Fprintf(w, "strike %g per MWh, %d intervals of %s, %d without a price; %s per MW\n\n", m.Strike, m.Intervals, time.Duration(m.StepS)*time.Second, m.Missing, m.Currency)
		g := newGrid(w, "YEAR", "ALWAYS", "LAST PRICE", "FORECAST", "HINDSIGHT", "REGRET")
		row := func(name string, x worth) {
			r := "–"
			if x.Regret != nil {
				r = fmt.Sprintf("%.3f", *x.Regret)
			}
			g.row(name, fmt.Sprintf("%.0f", x.Always), fmt.Sprintf("%.0f", x.LastPrice), fmt.Sprintf("%.0f", x.Forecast), fmt.Sprintf("%.0f", x.Hindsight), r)
		}
		for _, y := range m.Years {
			row(fmt.Sprint(y.Year), y.worth)
		}
		row("all", m.worth)
		if err := g.flush(); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "REGRET is what the forecast earns less than hindsight, as a share of what the last price earns less.")
	if len(all) == 0 {
		return nil
	}
	for i, f := range all[0].Findings {
		if i == 10 {
			fmt.Fprintf(w, "and %d more findings in the data (--json has all)\n", len(all[0].Findings)-i)
			break
		}
		fmt.Fprintln(w, f)
	}
	return nil
}
