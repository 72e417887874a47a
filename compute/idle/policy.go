package idle

import (
	"fmt"
	"math"
	"time"

	"sluice"
)

// Rig is what one GPU would do if it mined.
type Rig struct {
	MHs      float64
	Power    sluice.Watts // while it mines
	Idle     sluice.Watts // while it does not: that is paid anyhow
	Measured bool         // Power and MHs are of this GPU, not of the configuration
}

// Verdict says whether a GPU should mine, and why, in money.
type Verdict struct {
	GPU     int     `json:"gpu"`
	Mine    bool    `json:"mine"`
	Why     string  `json:"why"`
	EarnUSD float64 `json:"earn_usd_per_hour"`
	CostUSD float64 `json:"cost_usd_per_hour"` // of the power that mining adds, at the meter
	AddsW   float64 `json:"adds_w"`            // at the meter
	Known   bool    `json:"known"`             // both figures are
}

// Net is what mining leaves in an hour.
func (v Verdict) Net() float64 { return v.EarnUSD - v.CostUSD }

// Judge says whether a GPU should mine. mining says whether it does and since tells
// the instant of the last change, zero for none. A price that is not known, or a
// Value that is stale or of another algorithm, means no.
func Judge(gpu int, rig Rig, value Value, price *sluice.EnergyPrice, t Terms, mining bool, since, now time.Time) Verdict {
	v := Verdict{GPU: gpu}
	age := now.Sub(value.AsOf)
	switch {
	case value.USDPerDay <= 0 || math.IsNaN(value.USDPerDay) || math.IsInf(value.USDPerDay, 0):
		v.Why = "what its algorithm earns is not known: it does not mine"
		return v
	case value.AsOf.IsZero() || age > t.MaxAge || age < -24*time.Hour:
		v.Why = fmt.Sprintf("what %s earns is of %s and counts for %s only: it does not mine", value.Algorithm, value.AsOf.UTC().Format("2006-01-02 15:04"), span(t.MaxAge))
		return v
	case price == nil:
		v.Why = "the price of power is not known: it does not mine"
		return v
	case rig.MHs <= 0 || rig.Power <= 0:
		v.Why = "its hashrate or power is not known: it does not mine"
		return v
	}
	v.Known = true
	v.EarnUSD = rig.MHs * value.USDPerDay / 24 * (1 - t.Fee)
	v.AddsW = float64(max(0, rig.Power-rig.Idle)) * max(1, t.Overhead)
	v.CostUSD = v.AddsW / 1e6 * price.USDPerMWh()
	earns := fmt.Sprintf("mining earns %s USD/h; %s at %s $/MWh costs %s", money(v.EarnUSD), kW(v.AddsW), number(price.USDPerMWh()), money(v.CostUSD))
	dwell := now.Sub(since)
	switch {
	case mining && v.Net() > 0:
		v.Mine, v.Why = true, earns+": it pays"
	case mining && !since.IsZero() && dwell < t.MinOn:
		v.Mine, v.Why = true, earns+fmt.Sprintf(": it does not pay, and it stops in %s, after its least time", span(t.MinOn-dwell))
	case mining:
		v.Why = earns + ": it does not pay"
	case v.Net() <= 0:
		v.Why = earns + ": it does not pay"
	case v.Net() < t.Margin*math.Abs(v.CostUSD):
		v.Why = earns + fmt.Sprintf(": it pays by less than the margin of %.0f %%", 100*t.Margin)
	case !since.IsZero() && dwell < t.MinOff:
		v.Why = earns + fmt.Sprintf(": it pays, and it begins in %s, after its least time off", span(t.MinOff-dwell))
	default:
		v.Mine, v.Why = true, earns+": it pays"
	}
	return v
}

func money(usd float64) string { return fmt.Sprintf("%.3f", usd) }

func kW(w float64) string { return fmt.Sprintf("%.2f kW", w/1000) }

func number(v float64) string { return fmt.Sprintf("%.4g", v) }

func span(d time.Duration) string { return d.Round(time.Second).String() }
