package pivot

import "math"

// This file holds every default with its source. A default without a public
// source says that it is an assumption; a figure from quotes says whose.

var none = math.NaN()

const (
	assumedStandstill = "assumption: the second half of the default lead time; no longer than the lead time"
	paysDefault       = "the usual terms: a hosting client pays its own energy, a renter of GPUs does not"
	renewDefault      = "default: hosts at their life's end are replaced at the same capital and rate for a megawatt"
)

var termQuantities = []quantity[Terms]{
	{"hashprice_usd_per_ph_day", "USD per PH/s and day", none, 0, 1e5, "", func(t *Terms) *Number { return &t.Hashprice }},
	{
		"difficulty_growth", "a year", 0.15, -0.9, 5,
		"assumption: 15 %, as new machines became more efficient (Antminer S19 Pro 29.5 J/TH in 2020, S21 17.5 J/TH in 2023/24); halvings, which take 16 % a year on average, count as growth",
		func(t *Terms) *Number { return &t.DifficultyGrowth },
	},
	{"btc_growth", "a year", 0, -0.9, 5, "assumption: bitcoin's price stays, on average over the scenarios", func(t *Terms) *Number { return &t.BTCGrowth }},
	{"hashprice_half_life_weeks", "weeks", none, 0.1, 520, "", func(t *Terms) *Number { return &t.HalfLife }},
	{"power_price_factor", "multiple of the history's prices", 1, 0, 100, "assumption: prices as in the history", func(t *Terms) *Number { return &t.PowerLevel }},
	{
		"capture", "share of hindsight's mining margin", 0.96, 0, 1,
		"the lowest of three years of the example, docs/backtest.md; put in what `sluice backtest` measures as capture of the policy sluice over your own",
		func(t *Terms) *Number { return &t.Capture },
	},
	{"discount_rate", "a year", 0.12, -0.5, 5, "assumption", func(t *Terms) *Number { return &t.Discount }},
	{"mining_opex_usd_per_mw_year", "USD per MW and year", 80_000, 0, 1e7, "assumption: about 9 USD/MWh of staff, repairs and rent", func(t *Terms) *Number { return &t.MiningOpex }},
	{"block_weeks", "weeks", 4, 1, 52, "assumption: long enough to keep a cold spell or a rally together", func(t *Terms) *Number { return &t.BlockWeeks }},

	{"contract.adder_usd_per_mwh", "USD/MWh", 0, -1000, 1000, "default: the real-time price is all that energy costs", func(t *Terms) *Number { return &t.Adder }},
	{"contract.block", "kW", 0, 0, 1e9, "default: no block at a fixed price", func(t *Terms) *Number { return &t.BlockKW }},
	{"contract.block_usd_per_mwh", "USD/MWh", 0, -1000, 10000, "default: no block at a fixed price", func(t *Terms) *Number { return &t.BlockPrice }},
	{"contract.demand_usd_per_kw_month", "USD per kW and month", 0, 0, 1000, "default: no demand charge", func(t *Terms) *Number { return &t.Demand }},
	{"contract.coincident_usd_per_kw_year", "USD per kW and year", 0, 0, 10000, "default: no charge on the grid's peaks", func(t *Terms) *Number { return &t.Coincident }},
	{"contract.coincident_hours", "hours a year", 60, 1, 8760, "assumption: to miss ERCOT's four coincident peaks, loads stay out of some 60 hours a year", func(t *Terms) *Number { return &t.CoincidentHours }},

	{"connection.firm_share", "share of the connection", 1, 0, 1, "default: all of it is firm", func(t *Terms) *Number { return &t.FirmShare }},
	{
		"connection.curtail_hours", "hours a year", 44, 0, 8760,
		"0.5 % of the hours: the middle case of Norris and others, Rethinking Load Growth, Duke University, February 2025, 0.5 % of a year at full load, as hours of a whole call",
		func(t *Terms) *Number { return &t.CurtailHours },
	},
	{"connection.curtail_above_usd_per_mwh", "USD/MWh", none, -1000, 100000, "", func(t *Terms) *Number { return &t.CurtailAbove }},
}

var fleetQuantities = []quantity[Class]{
	{"book_usd", "USD a machine", 0, 0, 1e5, "assumption: written off", func(k *Class) *Number { return &k.Book }},
	{"resale", "share of the book value", 1, 0, 2, "assumption: a machine fetches its book value", func(k *Class) *Number { return &k.Resale }},
}

// DefaultConversions returns what is planned when nothing else is given: own
// GPUs, and hosting.
func DefaultConversions() []Conversion {
	return []Conversion{{Name: "gpu", Kind: GPU}, {Name: "hosting", Kind: Hosting}}
}

// defaultModel is the GPU whose figures the defaults of the kind gpu are.
const defaultModel = "B200"

func modelSource(c *Conversion) string {
	if c.Model == "" {
		return "default: the figures that are not given are those of an HGX " + defaultModel + " host"
	}
	return c.ModelSource
}

var gpuQuantities = []quantity[Conversion]{
	{"gpus_per_host", "GPUs", 8, 1, 1024, "NVIDIA, DGX B200 data sheet", func(c *Conversion) *Number { return &c.GPUsPerHost }},
	{"host_power", "kW at the plug", 14.3, 0.001, 1e6, "NVIDIA, DGX B200 data sheet: 14.3 kW at most", func(c *Conversion) *Number { return &c.HostKW }},
	{"idle_share", "share of the host's power", 0.2, 0, 1, "assumption", func(c *Conversion) *Number { return &c.IdleShare }},
	{
		"host_usd", "USD a host", 415_000, 0, 1e8,
		"29 M$ per IT MW times 14.3 kW: IREN's order of GPUs and ancillary equipment from Dell, $5.8 bn for 200 MW, announced 3 November 2025",
		func(c *Conversion) *Number { return &c.HostUSD },
	},
	{"reserved_share", "share of the GPU-hours", 0.8, 0, 1, "assumption", func(c *Conversion) *Number { return &c.ReservedShare }},
	{
		"reserved_usd_per_gpu_hour", "USD per GPU-hour", 1.98, 0, 1000,
		"what IREN's contract with Microsoft brings (200 MW, 5 years, $9.7 bn) at 14.3 kW for 8 GPUs",
		func(c *Conversion) *Number { return &c.ReservedRate },
	},
	{
		"spot_usd_per_gpu_hour", "USD per GPU-hour", 1.71, 0, 1000,
		"median of four neoclouds' spot quotes for a B200, May 2026", func(c *Conversion) *Number { return &c.SpotRate },
	},
	{"spot_utilisation", "share of the GPU-hours that are not reserved", 0.6, 0, 1, "assumption", func(c *Conversion) *Number { return &c.SpotUtilisation }},
	{"life_years", "years", 6, 1, 30, "what CoreWeave writes its technology equipment off over, since January 2023", func(c *Conversion) *Number { return &c.Life }},
	{"residual_share", "share of the host's capital", 0.1, 0, 1, "assumption", func(c *Conversion) *Number { return &c.ResidualShare }},
}

var hostingQuantities = []quantity[Conversion]{
	{
		"usd_per_kw_month", "USD per IT kW and month", 121.5, 0, 1e5,
		"Core Scientific's first contracts with CoreWeave, June 2024: 200 MW, 12 years, $3.5 bn", func(c *Conversion) *Number { return &c.HostingRate },
	},
}

// shared defaults that differ by kind.
type kindDefaults struct {
	term, decay, volatility, opex                         float64
	termSource, decaySource, volatilitySource, opexSource string
}

var gpuDefaults = kindDefaults{
	term: 60, termSource: "the term of IREN's contract with Microsoft, 5 years",
	decay:       0.17,
	decaySource: "medians of neoclouds' on-demand quotes from May 2024 to May 2026: H100 fell by 10 % a year (10 and 19 quotes), A100 80 GB by 24 % (15 and 20); their geometric mean",
	volatility:  0.3, volatilitySource: "medians of neoclouds' on-demand quotes for an H100 from October 2023 to July 2024 (4 to 10 quotes): 31 % a year",
	opex: 0.03, opexSource: "what IREN expects of its contract with Microsoft (results of November 2025): 85 % of revenue left, that is costs of 15 % of 9.7 M$ per IT MW, less energy, on a capital of 37 M$",
}

var hostingDefaults = kindDefaults{
	term: 144, termSource: "the term of Core Scientific's contracts with CoreWeave, 12 years",
	decay: 0, decaySource: "assumption: power and cooling do not age as GPUs do",
	volatility: 0.1, volatilitySource: "assumption",
	opex: 0.02, opexSource: "assumption: staff and upkeep of a building without GPUs",
}

func commonQuantities(d kindDefaults) []quantity[Conversion] {
	return []quantity[Conversion]{
		{
			"pue", "meter kW per kW at the hosts' plugs", 1.25, 1, 3,
			"assumption: between the 1.56 that operators report on average (Uptime Institute's survey of 2024) and 1.1 of the largest",
			func(c *Conversion) *Number { return &c.PUE },
		},
		{"facility_usd_per_mw", "USD per IT MW", 8_000_000, 0, 1e9, "assumption: building, power and cooling on a site that has its connection", func(c *Conversion) *Number { return &c.FacilityUSD }},
		{"facility_life_years", "years", 20, 1, 100, "assumption", func(c *Conversion) *Number { return &c.FacilityLife }},
		{
			"lead_months", "months", 12, 0, 120,
			"Core Scientific and CoreWeave: signed in June 2024, the first hall in service in the second quarter of 2025", func(c *Conversion) *Number { return &c.Lead },
		},
		{"standstill_months", "months", 6, 0, 120, assumedStandstill, func(c *Conversion) *Number { return &c.Standstill }},
		{"term_months", "months", d.term, 1, 600, d.termSource, func(c *Conversion) *Number { return &c.Term }},
		{"rate_decay", "a year", d.decay, -1, 0.95, d.decaySource, func(c *Conversion) *Number { return &c.RateDecay }},
		{"rate_volatility", "standard deviation of the logarithm over a year", d.volatility, 0, 2, d.volatilitySource, func(c *Conversion) *Number { return &c.Volatility }},
		{"opex_share", "share of the capital a year", d.opex, 0, 1, d.opexSource, func(c *Conversion) *Number { return &c.OpexShare }},
		{"sla_credit", "multiple of the hour's rate", 10, 0, 1000, "assumption: of the order of the credits of public clouds, 10 to 30 % of a month's fee when a percent or less of its hours was not served", func(c *Conversion) *Number { return &c.SLACredit }},
		{"backup_share", "share of the firm AI load", 0, 0, 1, "default: no generators", func(c *Conversion) *Number { return &c.BackupShare }},
		{"backup_usd_per_mwh", "USD/MWh", 350, 0, 1e5, "assumption: diesel", func(c *Conversion) *Number { return &c.BackupUSD }},
	}
}
