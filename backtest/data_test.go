package backtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/backtest"
	"sluice/feed"
	"sluice/history"
)

// autumn is a past over a change of clocks in the United States, with everything
// in its prices that can be wrong. It returns them as a file, and as what should
// count.
func autumn() (p *past, text []byte) {
	p = market(6, 12, time.Hour)
	p.from = time.Date(2023, 10, 28, 0, 0, 0, 0, time.UTC)
	lines := strings.Split(strings.TrimSpace(string(csv("real_time", p.from, p.step, p.price))), "\n")
	at := func(day, hour int) int { return 1 + 24*day + hour } // in lines
	drop := func(i int) { lines[i] = "" }
	unknown := func(i int) { p.price[i-1] = math.NaN() }
	for h := range 3 { // a gap
		drop(at(4, 5+h))
		unknown(at(4, 5+h))
	}
	lines[at(5, 2)] = strings.Split(lines[at(5, 2)], ",")[0] + "," // a blank
	unknown(at(5, 2))
	lines[at(5, 9)] = strings.Split(lines[at(5, 9)], ",")[0] + ",9e9" // absurd
	unknown(at(5, 9))
	lines[at(5, 10)] = strings.Split(lines[at(5, 10)], ",")[0] + ",n/k" // absurd
	unknown(at(5, 10))
	lines[at(6, 3)] += "\n" + lines[at(6, 3)]                                                          // a duplicate
	lines[at(6, 8)] += "\n" + strings.Split(lines[at(6, 8)], ",")[0] + ",77"                           // restated
	p.price[at(6, 8)-1] = 77                                                                           //
	lines[at(7, 3)], lines[at(7, 5)] = lines[at(7, 5)], lines[at(7, 3)]                                // out of order
	lines[at(7, 8)] += "\n" + p.from.Add(7*day+8*time.Hour+10*time.Minute).Format(time.RFC3339) + ",5" // off the grid
	drop(at(8, 7))                                                                                     // 2023-11-05T07:00Z
	unknown(at(8, 7))
	kept := lines[:0]
	for _, l := range lines {
		if l != "" {
			kept = append(kept, l)
		}
	}
	return p, []byte(strings.Join(kept, "\n") + "\n")
}

// Whatever is wrong with the prices is found and told with file and line, and the
// run goes on by the stated rule: the day-ahead price stands in.
func TestFaultsInTheDataAreTold(t *testing.T) {
	p, text := autumn()
	s, count := farm(0)
	s.Hosts = nil
	o := p.options(t, s, count, 9)
	spec := o.Series[feed.RealTimePrice]
	spec.Path = put(t, t.TempDir(), "prices.csv", text)
	o.Series[feed.RealTimePrice] = spec
	r := runAll(t, o, backtest.Always, backtest.LastPrice, backtest.Sluice)

	for i, v := range p.price { // by hand, with what stands in
		if math.IsNaN(v) {
			p.price[i] = p.ahead[i]
		}
	}
	want := byHand(p, o)
	if got := result(t, r, backtest.Always); !near(got.EnergyUSD, want.energyUSD, 9*24*4e-4) {
		t.Errorf("energy cost %v, by hand %v", got.EnergyUSD, want.energyUSD)
	}

	out, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var told struct{ Findings []history.Finding }
	if err := json.Unmarshal(out, &told); err != nil {
		t.Fatal(err)
	}
	var page, plain bytes.Buffer
	if err := r.WriteText(&plain); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	lineOf := func(needle string) int {
		return 1 + strings.Count(string(text[:strings.Index(string(text), needle)]), "\n")
	}
	want2 := map[string]int{
		history.Gap: lineOf("2023-11-01T04:00:00Z"), history.Blank: lineOf("2023-11-02T02:00:00Z"), history.Absurd: lineOf("2023-11-02T09:00:00Z"),
		history.Duplicate: lineOf("2023-11-03T03:00:00Z") + 1, history.Conflict: lineOf("2023-11-03T08:00:00Z") + 1,
		history.OffGrid: lineOf("2023-11-04T08:10:00Z"), history.DST: lineOf("2023-11-05T06:00:00Z"), history.Unordered: lineOf("2023-11-04T03:00:00Z"),
	}
	for kind, line := range want2 {
		found := false
		for _, f := range told.Findings {
			found = found || f.Kind == kind && f.Line == line && filepath.Base(f.Path) == "prices.csv"
		}
		place := fmt.Sprintf("prices.csv:%d:", line)
		if !found || !strings.Contains(plain.String(), place) || !strings.Contains(page.String(), place) {
			t.Errorf("%s of line %d is not told everywhere: %v, %v", kind, line, told.Findings, plain.String())
		}
	}
	if len(r.Rules) == 0 || !strings.Contains(page.String(), "day-ahead price of its interval") {
		t.Error("the rules are not told")
	}
}

// Faults of years before the range are no findings, and do not take the place of
// those within it, of which a hundred are listed.
func TestFaultsBeforeTheRange(t *testing.T) {
	p := market(1, 30, time.Hour)
	for i := 0; i < 20*24; i += 2 {
		p.price[i] = math.NaN()
	}
	p.price[25*24] = math.NaN()
	s, count := farm(0)
	s.Hosts = nil
	r := runAll(t, p.options(t, s, count, 8), backtest.Always)
	if len(r.Findings) != 1 || r.Findings[0].Kind != history.Blank || r.Findings[0].Line != 25*24+2 {
		t.Errorf("findings: %v", r.Findings)
	}
}

// A hole of a week is filled by the rule; a longer one is refused.
func TestHoles(t *testing.T) {
	for hours, ok := range map[int]bool{7 * 24: true, 7*24 + 1: false} {
		p := flatPast(14, time.Hour, 20, 70)
		for i := range hours {
			p.price[100+i] = math.NaN()
		}
		s, count := farm(0)
		o := p.options(t, s, count, 12)
		r, err := backtest.Run(context.Background(), o, []string{backtest.Always})
		switch {
		case ok && err != nil:
			t.Errorf("%d hours: %v", hours, err)
		case ok:
			if got := result(t, r, backtest.Always); !near(got.EnergyUSD/got.EnergyMWh, 20, 1e-3) {
				t.Errorf("the price that stands in is %v", got.EnergyUSD/got.EnergyMWh)
			}
		case sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "2023-03-12T04:00:00Z") || !strings.Contains(err.Error(), "real_time.csv"):
			t.Errorf("%d hours: %v", hours, err)
		}
	}
}

// A run that makes no sense is refused with one error that says how to mend it.
func TestRefuses(t *testing.T) {
	p := market(1, 6, time.Hour)
	p.work(1, 3, 3)
	for name, x := range map[string]struct {
		set  func(*backtest.Options)
		says string
	}{
		"before the series": {func(o *backtest.Options) { o.From = p.from.Add(-day) }, "begins"},
		"after the series":  {func(o *backtest.Options) { o.From, o.To = p.from.Add(99*day), p.from.Add(100*day) }, "ends at 2023-03-06T23:00:00Z"},
		"empty":             {func(o *backtest.Options) { o.To = o.From }, "is empty"},
		"off the grid":      {func(o *backtest.Options) { o.From = o.From.Add(10 * time.Minute) }, "does not begin a step"},
		"no prices":         {func(o *backtest.Options) { delete(o.Series, feed.RealTimePrice) }, "real_time_usd_per_mwh"},
		"no hashprice":      {func(o *backtest.Options) { delete(o.Series, feed.Hashprice) }, "what miners earn is not known"},
		"no file": {func(o *backtest.Options) {
			s := o.Series[feed.DayAheadPrice]
			s.Path += "x"
			o.Series[feed.DayAheadPrice] = s
		}, "day_ahead.csvx"},
		"no such column": {func(o *backtest.Options) {
			s := o.Series[feed.RealTimePrice]
			s.Column = "real_tim"
			o.Series[feed.RealTimePrice] = s
		}, "did you mean real_time?"},
		"no jobs' file":          {func(o *backtest.Options) { o.Jobs.Path += "x" }, "jobs.csvx"},
		"hashprice begins later": {func(o *backtest.Options) { o.From = p.from }, "hashprice.csv"},
		"after the prices alone": {func(o *backtest.Options) {
			o.From, o.To = p.from.Add(99*day), p.from.Add(100*day)
			o.Site.Classes = nil
			o.Series = map[feed.Quantity]history.Spec{feed.RealTimePrice: o.Series[feed.RealTimePrice]}
		}, "real_time.csv has no row from 2023-06-07T00:00:00Z"},
		"steps of 25 minutes": {func(o *backtest.Options) {
			s := o.Series[feed.RealTimePrice]
			s.Path, s.Step = put(t, t.TempDir(), "odd.csv", csv("real_time", p.from, 25*time.Minute, p.price)), 25*time.Minute
			o.Series[feed.RealTimePrice] = s
		}, "divides it"},
	} {
		for _, policy := range backtest.Policies() {
			s, count := farm(0)
			o := p.options(t, s, count, 3)
			x.set(&o)
			_, err := backtest.Run(context.Background(), o, []string{policy})
			if k := sluice.KindOf(err); err == nil || k != sluice.Invalid && k != sluice.NotFound || !strings.Contains(err.Error(), x.says) {
				t.Errorf("%s, %s: %v (%v)", name, policy, err, sluice.KindOf(err))
			}
		}
	}
	s, count := farm(0)
	if _, err := backtest.Run(context.Background(), p.options(t, s, count, 3), []string{backtest.Always, "sluce"}); sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), `"sluce"`) {
		t.Error(err)
	}
}

// Prices may end a little before the range does: what stands in is told as a gap.
func TestPricesEndEarly(t *testing.T) {
	p := market(1, 8, time.Hour)
	s, count := farm(0)
	o := p.options(t, s, count, 3)
	o.To = o.To.Add(5 * time.Hour)
	r := runAll(t, o)
	found := false
	for _, f := range r.Findings {
		found = found || f.Kind == history.Gap && f.Count == 5 && filepath.Base(f.Path) == "real_time.csv"
	}
	if !found {
		t.Errorf("the five hours at the end are not told: %v", r.Findings)
	}
}
