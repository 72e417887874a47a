package backtest

import (
	"maps"
	"slices"
	"time"

	"sluice"
	"sluice/feed"
	"sluice/history"
	"sluice/site"
)

// Options describe a backtest.
type Options struct {
	// Site is the site as the controller knows it: Name, Nodes, Classes, Hosts,
	// Reserves, Guard, Ramp, Overhead, PoolFee and Horizon. The rest is the
	// engine's.
	Site site.Options
	// Count is how many miners each class has.
	Count map[string]int
	// Series are the recorded series; that of feed.RealTimePrice is needed, and
	// those from which a hashprice follows where there are miners.
	Series map[feed.Quantity]history.Spec
	// USDPer converts the prices of power (and of reserves) into USD; 0 is 1.
	USDPer float64
	// Jobs is the recorded stream of AI jobs; nil: none arrive.
	Jobs  *history.JobSpec
	Terms Terms

	From, To time.Time // half-open; whole steps of the real-time series
	// Banks is how many machines stand for all miners, default 96: of a site of
	// twelve classes each is 8 banks.
	Banks int
	// Learn is how much history before From the forecast may learn from, default
	// four years. What lies before it is not read.
	Learn time.Duration
	// Progress, where it is set, is told now and then how far a policy has come.
	Progress func(policy string, done, total int)
}

// Terms are those on which the jobs of a trace are taken to be sold.
type Terms struct {
	MinHours float64 // shorter jobs are left out
	MaxHours float64 // longer jobs are cut to it; 0: not
	// Slack is when a job is due: so many times its running time after it came;
	// less than 1 counts as 1.
	Slack float64
	// Patience is how long a client waits for a job to start, and how long after
	// it was due for its end; then the job is lost. 0 is a day.
	Patience time.Duration
}

// length is how long a job runs.
func (t Terms) length(j history.Job) time.Duration {
	if most := time.Duration(t.MaxHours * float64(time.Hour)); most > 0 {
		return min(j.Duration, most)
	}
	return j.Duration
}

func (t Terms) due(at time.Time, d time.Duration) time.Time {
	return at.Add(time.Duration(t.Slack * float64(d)))
}

// gone is when a job's client does not want its result any more.
func (t Terms) gone(at time.Time, d time.Duration) time.Time { return t.due(at, d).Add(t.Patience) }

// Policies, in the order of a report.
const (
	Always    = "always"     // mine without pause
	Static    = "static"     // each use keeps its share of the power; nothing is stopped for a price or for the other use
	LastPrice = "last-price" // each unit runs where its strike price is above the last price
	Sluice    = "sluice"     // the live controller
	Hindsight = "hindsight"  // an upper bound on all of them
)

// Policies returns the names of all policies.
func Policies() []string { return []string{Always, Static, LastPrice, Sluice, Hindsight} }

// Explain says in a sentence what a policy does.
func Explain(policy string) string {
	switch policy {
	case Always:
		return "Miners run whatever power costs; jobs start when there is room and are never paused for a price. Limits are kept. No reserves are sold."
	case Static:
		return "The power of all AI hosts at full load is set aside for them for good; miners run without pause in the rest. No reserves are sold."
	case LastPrice:
		return "A unit runs in the next interval if its strike price is above the price of the last one that ended. No reserves are sold."
	case Sluice:
		return "The live controller: forecast, optimiser with dwell and switching costs, reserves, preemption by money."
	case Hindsight:
		return "An upper bound: no policy that keeps the limits could have earned more, whatever it had known. It is the sum over blocks of the optimiser's proven bounds, prices and arrivals known, the state at each block's start free, dwell and wear left out."
	}
	return ""
}

func (o *Options) fill() error {
	if _, ok := o.Series[feed.RealTimePrice]; !ok {
		return sluice.Errorf(sluice.Invalid, "add it under history.series", "a backtest needs a series of %s", feed.RealTimePrice)
	}
	if !o.From.Before(o.To) {
		return sluice.Errorf(sluice.Invalid, "the end of the range is excluded", "the range from %s to %s is empty", o.From.Format(time.RFC3339), o.To.Format(time.RFC3339))
	}
	// What cannot be a value of the quantity is absurd, also where nobody says so.
	o.Series = maps.Clone(o.Series)
	for q, s := range o.Series {
		if s.Low == 0 && s.High == 0 {
			s.Low, s.High = feed.Bounds(q)
			o.Series[q] = s
		}
	}
	o.Terms.Slack = max(o.Terms.Slack, 1)
	if o.Terms.Patience <= 0 {
		o.Terms.Patience = 24 * time.Hour
	}
	if o.Banks <= 0 {
		o.Banks = 96
	}
	if o.Learn <= 0 {
		o.Learn = 4 * 365 * 24 * time.Hour
	}
	if o.USDPer <= 0 {
		o.USDPer = 1
	}
	if o.Site.Overhead <= 0 {
		o.Site.Overhead = 1 // as the site itself takes it
	}
	return nil
}

// reserves are the names of what the site sells.
func (o *Options) reserves() []string {
	var out []string
	for _, r := range o.Site.Reserves {
		out = append(out, r.Name)
	}
	return out
}

// Check says whether a policy of the name exists.
func Check(policy string) error {
	if !slices.Contains(Policies(), policy) {
		return sluice.Errorf(sluice.Invalid, "policies are always, static, last-price, sluice and hindsight", "there is no policy %q", policy)
	}
	return nil
}
