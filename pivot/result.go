package pivot

import "time"

// Result is the answer. Its JSON form is stable: see docs/pivot.md.
type Result struct {
	Site      string       `json:"site"`
	PowerMW   float64      `json:"power_mw"` // of the connection, for miners and conversions
	Years     int          `json:"years"`
	Scenarios int          `json:"scenarios"`
	Seed      uint64       `json:"seed"`
	History   HistoryFacts `json:"history"`
	Steps     []Step       `json:"steps"`
	Best      []Best       `json:"best"` // by conversion
	Solver    SolverFacts  `json:"solver"`
	Inputs    []Input      `json:"inputs"`
	Notes     []string     `json:"notes"`
}

// HistoryFacts is what the plan found in the history.
type HistoryFacts struct {
	From             time.Time `json:"from"`
	To               time.Time `json:"to"`
	Weeks            int       `json:"weeks"`
	WeeksLeftOut     int       `json:"weeks_left_out"`
	HoursHeld        int       `json:"hours_held"` // unknown ones that hold the value before them
	CalledHoursYear  float64   `json:"called_hours_year"`
	HalfLifeWeeks    float64   `json:"hashprice_half_life_weeks"`
	WeeklyVolatility float64   `json:"hashprice_weekly_volatility"` // standard deviation of what is new in a week, of the logarithm
	LeastHashprice   float64   `json:"hashprice_least_usd_ph_day"`  // of all scenarios
	MostHashprice    float64   `json:"hashprice_most_usd_ph_day"`
}

// SolverFacts says how the weeks were solved.
type SolverFacts struct {
	Solves     int     `json:"solves"`
	Direct     int     `json:"direct"`           // results that follow from the plans without limits
	Infeasible int     `json:"infeasible_hours"` // in which even what stands still draws more than the grid leaves, over all plants
	WorstGap   float64 `json:"worst_gap"`        // from a week's plan to the proven bound on every plan, as a share of its turnover
	Levels     int     `json:"hashprice_levels"`
}

// Step is one conversion at one share of the site. Money is USD; what is "a year"
// is the first whole year of service, which for share 0 is the same year without
// a conversion.
type Step struct {
	Conversion string  `json:"conversion"`
	Share      float64 `json:"share"`
	MiningMW   float64 `json:"mining_mw"` // of the miners that stay, at the meter
	AIMW       float64 `json:"ai_mw"`     // at the meter
	AIITMW     float64 `json:"ai_it_mw"`  // at the hosts' plugs
	Hosts      float64 `json:"hosts"`
	GPUs       float64 `json:"gpus"`

	CapexUSD    float64 `json:"capex_usd"`     // building and hosts
	SoldUSD     float64 `json:"sold_usd"`      // what the miners fetch that go
	WriteOffUSD float64 `json:"write_off_usd"` // their book value over that

	MiningProfitUSD float64   `json:"mining_profit_usd_year"` // mean
	AIProfitUSD     float64   `json:"ai_profit_usd_year"`     // mean
	ProfitUSD       Quantiles `json:"profit_usd_year"`

	NPVUSD     Quantiles `json:"npv_usd"`
	NPVGainUSD Quantiles `json:"npv_gain_usd"`  // over share 0 of the same scenario
	IRR        *float64  `json:"irr"`           // of the mean cash over that of share 0; nil: none, or more than one
	Payback    *float64  `json:"payback_years"` // of the same; nil: never, or nothing laid out

	CashCV          *float64 `json:"cash_cv"`           // of monthly cash; nil: the mean is not positive
	WorstQuarterUSD float64  `json:"worst_quarter_usd"` // P5 over scenarios of the year's worst quarter
	CashAtRiskUSD   float64  `json:"cash_at_risk_usd"`  // mean month less the P5 month
	MeanMonthUSD    float64  `json:"mean_month_cash_usd"`

	FlexibilityUSD float64 `json:"flexibility_usd_year"`          // see docs/pivot.md
	CalledAloneUSD float64 `json:"ai_alone_curtailment_usd_year"` // what the grid's calls would cost the AI without miners
	CutHours       float64 `json:"ai_cut_hours_year"`             // of the firm AI load
	CutAloneHours  float64 `json:"ai_alone_cut_hours_year"`       // the same without miners
	BackupMWh      float64 `json:"backup_mwh_year"`
	EnergyMWh      float64 `json:"energy_mwh_year"`

	ByYear []YearCash `json:"by_year"`
}

// YearCash is a year of the plan, the mean over the scenarios in USD.
type YearCash struct {
	Year       int     `json:"year"` // from 1
	MiningUSD  float64 `json:"mining_usd"`
	AIUSD      float64 `json:"ai_usd"`
	CapitalUSD float64 `json:"capital_usd"` // negative: laid out
}

// Best is the best share of a conversion by two rules.
type Best struct {
	Conversion string  `json:"conversion"`
	Share      float64 `json:"share"` // greatest median of the present value
	AIMW       float64 `json:"ai_mw"`
	NPVP50USD  float64 `json:"npv_p50_usd"`
	Careful    float64 `json:"careful_share"` // greatest P5 of the present value
	CarefulMW  float64 `json:"careful_ai_mw"`
	NPVP5USD   float64 `json:"npv_p5_usd"`
}

// orNil is nil for what is not known.
func orNil(x float64, ok bool) *float64 {
	if !ok {
		return nil
	}
	return &x
}
