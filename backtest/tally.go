package backtest

import (
	"encoding/json"
	"math"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/site"
)

// Result is what a policy made of the range. All money is USD. Profit is mining +
// AI + reserves − energy. Of hindsight, a bound, nothing but the profit is known.
type Result struct {
	Name        string   `json:"name"`
	ProfitUSD   float64  `json:"profit_usd"`
	Capture     *float64 `json:"capture"` // share of hindsight's profit; null without it
	EnergyMWh   float64  `json:"energy_mwh"`
	EnergyUSD   float64  `json:"energy_usd"`
	MiningUSD   float64  `json:"mining_usd"`   // revenue, after the pool's fee
	AIUSD       float64  `json:"ai_usd"`       // revenue
	ReserveUSD  float64  `json:"reserve_usd"`  // revenue
	HoursMined  float64  `json:"hours_mined"`  // of the whole fleet at full power
	GPUHours    float64  `json:"gpu_hours"`    // sold
	JobsDone    int      `json:"jobs_done"`    // ended well
	JobsLate    int      `json:"jobs_late"`    // after their deadline, or open after it
	JobsLost    int      `json:"jobs_lost"`    // their clients left before they started
	Preemptions int      `json:"preemptions"`  // of jobs
	Switches    float64  `json:"switches"`     // machines that changed their mode
	Seconds     float64  `json:"wall_seconds"` // that it took
	// Note says why what is null is not known; empty: all is.
	Note string `json:"note,omitempty"`
}

// boundNote is the note of hindsight.
const boundNote = "a proven bound, not a run: part of it is what limits are worth at the prices of power that prove it, which belongs to no use, so that it has no revenue, energy or jobs of its own"

// MarshalJSON writes null for what is not known of a bound.
func (r Result) MarshalJSON() ([]byte, error) {
	type plain Result
	if r.Name != Hindsight {
		return json.Marshal(plain(r))
	}
	b, err := json.Marshal(plain(r))
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil, err
	}
	for k := range fields {
		if k != "name" && k != "profit_usd" && k != "capture" && k != "wall_seconds" && k != "note" {
			fields[k] = nil
		}
	}
	return json.Marshal(fields)
}

// Day is a day's sums, UTC.
type Day struct {
	Date      time.Time `json:"date"`
	ProfitUSD float64   `json:"profit_usd"`
	MiningMWh float64   `json:"mining_mwh"`
	AIMWh     float64   `json:"ai_mwh"`
	PriceUSD  float64   `json:"price_usd_per_mwh"` // plain mean

	steps int
}

// Point is a step of the week of the highest price.
type Point struct {
	At       time.Time `json:"at"`
	Price    float64   `json:"price_usd_per_mwh"`
	MiningMW float64   `json:"mining_mw"`
	AIMW     float64   `json:"ai_mw"`
	ReadyMW  float64   `json:"ready_mw"` // kept ready for reserves
}

// tally adds a policy's settlements up. It keeps a row for each day, and the week
// around the highest price so far.
type tally struct {
	Result
	days []Day

	o        *Options
	step     time.Duration
	fullWh   float64 // of the fleet in a step, at the meter
	gpu      map[string]bool
	idleWh   float64            // of all hosts in a step, at the meter
	unitW    map[string]float64 // of a busy unit of each class of hosts, at the meter
	settling moment             // the step that is settled next
	now      moment

	week  []Point // the running one, at most weekSpan long
	spike []Point // around peak
	peak  float64
	after int // steps that still belong to spike
}

const weekSpan = 7 * 24 * time.Hour

func newTally(o *Options, policy string, step time.Duration) *tally {
	t := &tally{o: o, step: step, gpu: map[string]bool{}, unitW: map[string]float64{}}
	t.Name = policy
	for _, c := range o.Site.Classes {
		most := 0.0
		for _, m := range c.Modes {
			most = max(most, float64(m.Power))
		}
		t.fullWh += most * float64(o.Count[c.Name]) * o.Site.Overhead * step.Hours()
	}
	for _, h := range o.Site.Hosts {
		t.gpu[h.Name] = h.Model != ""
		for _, x := range h.Hosts {
			t.idleWh += float64(x.IdleW) * o.Site.Overhead * step.Hours()
			t.unitW[h.Name] = max(t.unitW[h.Name], float64(x.UnitW)*o.Site.Overhead)
		}
	}
	return t
}

// begin notes the step that begins.
func (t *tally) begin(x moment) { t.settling, t.now = t.now, x }

// settle takes a settled interval in.
func (t *tally) settle(s site.Settled, uses []compute.Use) {
	t.drawn(&s, uses)
	mining, ai := s.MiningRev.USD(), s.AIRev.USD()
	reserve := s.ReserveRev.USD()
	energy := s.EnergyCost.USD()
	profit := mining + ai + reserve - energy
	t.ProfitUSD += profit
	t.MiningUSD += mining
	t.AIUSD += ai
	t.ReserveUSD += reserve
	t.EnergyUSD += energy
	t.EnergyMWh += s.MeterWh.MWh()
	if t.fullWh > 0 {
		t.HoursMined += float64(s.MiningWh) / t.fullWh * t.step.Hours()
	}
	for _, u := range uses {
		if t.gpu[u.Class] {
			t.GPUHours += u.UnitSeconds / 3600
		}
	}
	t.day(s.From, profit, s)
	t.spikeWeek(s)
}

// drawn puts the energy of jobs right that have ended since the last turn. The site
// books what it reads at its turns; live these are seconds apart, here a step, and a
// job that ended within it has gone from the readings. What it drew follows from
// what it used.
func (t *tally) drawn(s *site.Settled, uses []compute.Use) {
	wh := t.idleWh
	for _, u := range uses {
		wh += t.unitW[u.Class] * u.UnitSeconds / 3600
	}
	more := sluice.WattHours(math.Round(wh)) - s.AIWh
	s.AIWh += more
	s.MeterWh += more
	s.EnergyCost += more.Cost(s.EnergyPrice)
}

func (t *tally) day(at time.Time, profit float64, s site.Settled) {
	date := at.Truncate(24 * time.Hour)
	if n := len(t.days); n == 0 || t.days[n-1].Date.Before(date) {
		t.days = append(t.days, Day{Date: date})
	}
	d := &t.days[len(t.days)-1]
	price := s.EnergyPrice.USDPerMWh()
	d.ProfitUSD += profit
	d.MiningMWh += s.MiningWh.MWh()
	d.AIMWh += s.AIWh.MWh()
	d.PriceUSD += (price - d.PriceUSD) / float64(d.steps+1)
	d.steps++
}

// spikeWeek keeps three and a half days around the highest price.
func (t *tally) spikeWeek(s site.Settled) {
	h := t.step.Hours()
	p := Point{At: s.From, Price: s.EnergyPrice.USDPerMWh(), MiningMW: s.MiningWh.MWh() / h, AIMW: s.AIWh.MWh() / h, ReadyMW: readyOf(s) / h}
	half := int(weekSpan / t.step / 2)
	if len(t.week) > 2*half {
		t.week = append(t.week[:0], t.week[len(t.week)-half:]...)
	}
	t.week = append(t.week, p)
	switch {
	case len(t.spike) == 0 || p.Price > t.peak:
		t.peak, t.after = p.Price, half
		t.spike = append([]Point(nil), t.week[max(0, len(t.week)-1-half):]...)
	case t.after > 0:
		t.after--
		t.spike = append(t.spike, p)
	}
}

// job counts a job that has ended, or that stands open at the end.
func (t *tally) job(j compute.Job, now time.Time) {
	t.Preemptions += j.Preemptions
	switch {
	case lost(j):
		t.JobsLost++
		return
	case j.State == compute.Succeeded:
		t.JobsDone++
	}
	if late(j, now) {
		t.JobsLate++
	}
}

// readyOf is what stood ready for reserves, in MW·h.
func readyOf(s site.Settled) float64 {
	sum := 0.0
	for _, r := range s.Interval.Reserves {
		sum += r.ReadyWh.MWh()
	}
	return sum
}
