package pivot

import (
	"fmt"
	"math"
	"path/filepath"
	"time"

	"sluice"
	"sluice/history"
)

// Series says where the history is recorded; a zero Spec is absent. Of what
// miners earn either Hashprice is needed, or BTC, Difficulty and Subsidy; without
// any of them it counts as steady.
type Series struct {
	RealTime                                  history.Spec // in the site's currency per MWh
	Hashprice, BTC, Difficulty, Subsidy, Fees history.Spec
	USDPer                                    float64 // US dollars for one unit of the site's currency
}

// maxFindings is how many findings are told one by one.
const maxFindings = 3

// ReadHistory reads the series and puts them on one grid of hours: finer series
// by the mean of an hour, coarser ones by the value that holds. The range is that
// which all of them cover.
func ReadHistory(s Series) (History, error) {
	var h History
	if s.RealTime.Path == "" {
		return h, sluice.Errorf(sluice.Invalid, "add it under history.series", "a plan needs a series of real_time_usd_per_mwh")
	}
	var found []history.Finding
	price, err := read(s.RealTime, &found)
	if err != nil {
		return h, err
	}
	grids := []*history.Grid{price}
	var network []*history.Grid
	specs := []history.Spec{s.Hashprice}
	if s.Hashprice.Path == "" {
		specs = []history.Spec{s.BTC, s.Difficulty, s.Subsidy}
	}
	for _, spec := range specs {
		if spec.Path == "" {
			network = nil
			break
		}
		g, err := read(spec, &found)
		if err != nil {
			return h, err
		}
		network = append(network, g)
	}
	var fees *history.Grid
	if len(network) == 3 && s.Fees.Path != "" {
		if fees, err = read(s.Fees, &found); err != nil {
			return h, err
		}
	}
	grids = append(grids, network...)
	from, to := price.Start, price.Time(len(price.Values))
	for _, g := range grids {
		if g.Start.After(from) {
			from = g.Start
		}
		if end := g.Time(len(g.Values)); end.Before(to) {
			to = end
		}
	}
	from = from.Add(24*time.Hour - 1).Truncate(24 * time.Hour)
	if n := int(to.Sub(from) / time.Hour); n <= 0 {
		return h, sluice.Errorf(sluice.Invalid, "give series that cover the same time", "the recorded prices and those of the bitcoin network have no hour in common")
	}
	h.Start = from
	h.Notes = told(found, from, to)
	h.Source = describe(price, s.RealTime)
	assumed := 0
	for t := from; t.Before(to); t = t.Add(time.Hour) {
		h.Price = append(h.Price, hour(price, t)*s.USDPer)
		switch len(network) {
		case 1:
			h.Hashprice = append(h.Hashprice, hour(network[0], t))
		case 3:
			subsidy := hour(network[2], t)
			fee := math.NaN()
			if fees != nil {
				fee = hour(fees, t)
			}
			if math.IsNaN(fee) {
				fee = sluice.AssumedFeeShare * subsidy
				assumed++
			}
			h.Hashprice = append(h.Hashprice, hashprice(hour(network[0], t), hour(network[1], t), subsidy, fee))
		}
	}
	switch len(network) {
	case 1:
		h.HashFrom = describe(network[0], s.Hashprice)
	case 3:
		h.HashFrom = fmt.Sprintf("formula from %s, %s and %s", filepath.Base(s.BTC.Path), filepath.Base(s.Difficulty.Path), filepath.Base(s.Subsidy.Path))
	}
	if assumed > 0 {
		h.HashFrom += fmt.Sprintf("; transaction fees taken as %g %% of the subsidy in %d of %d hours", 100*sluice.AssumedFeeShare, assumed, len(h.Price))
	}
	return h, nil
}

// hashprice is sluice.NetworkHashprice where all of its parts are known.
func hashprice(btc, difficulty, subsidy, fees float64) float64 {
	if math.IsNaN(btc + difficulty + subsidy + fees) {
		return math.NaN()
	}
	return sluice.NetworkHashprice(btc, difficulty, subsidy, fees).USDPerPHDay()
}

// read reads a series and adds what was found in it.
func read(spec history.Spec, found *[]history.Finding) (*history.Grid, error) {
	g, err := history.Read(spec)
	if err != nil {
		return nil, err
	}
	*found = append(*found, g.Findings...)
	return g, nil
}

// told are the first findings of the range, in words, and how many there are.
func told(found []history.Finding, from, to time.Time) []string {
	var out []string
	n := 0
	for _, f := range found {
		if !f.From.Before(to) || !f.To.After(from) {
			continue
		}
		if n++; n <= maxFindings {
			out = append(out, f.String()+".")
		}
	}
	if n > maxFindings {
		out = append(out, fmt.Sprintf("There are %d more findings like these in the recorded series.", n-maxFindings))
	}
	return out
}

// hour is the mean of what is known of the hour from t, or what holds in it.
func hour(g *history.Grid, t time.Time) float64 {
	if g.Step >= time.Hour {
		v, _ := g.At(t)
		return v
	}
	sum, n := 0.0, 0.0
	for at := t; at.Before(t.Add(time.Hour)); at = at.Add(g.Step) {
		if v, ok := g.At(at); ok {
			sum, n = sum+v, n+1
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / n
}

func describe(g *history.Grid, spec history.Spec) string {
	column := ""
	if spec.Column != "" {
		column = ", column " + spec.Column
	}
	return fmt.Sprintf("%s%s, a row each %s", filepath.Base(spec.Path), column, g.Step)
}
