package config

// Pivot is what the owner's plan needs besides the site: see docs/pivot.md. What
// the file does not give is absent from Given and has a default in the package
// pivot, which also says where it comes from.
type Pivot struct {
	Hashprice        float64      `yaml:"hashprice_usd_per_ph_day"`
	DifficultyGrowth Ratio        `yaml:"difficulty_growth"`
	BTCGrowth        Ratio        `yaml:"btc_growth"`
	HalfLife         float64      `yaml:"hashprice_half_life_weeks"`
	PowerLevel       float64      `yaml:"power_price_factor"`
	Capture          Ratio        `yaml:"capture"`
	Discount         Ratio        `yaml:"discount_rate"`
	MiningOpex       float64      `yaml:"mining_opex_usd_per_mw_year"`
	BlockWeeks       int          `yaml:"block_weeks"`
	Contract         Contract     `yaml:"contract"`
	Connection       Connection   `yaml:"connection"`
	Fleet            []Fleet      `yaml:"fleet"`
	Conversions      []Conversion `yaml:"conversions"`

	// Given holds the place, as file:line, of each value that the file gives, by
	// its path below pivot: contract.block, conversions[0].host_usd.
	Given map[string]string `yaml:"-"`
}

// Contract is how energy is bought.
type Contract struct {
	Adder         float64 `yaml:"adder_usd_per_mwh"`
	Block         Power   `yaml:"block"`
	BlockPrice    float64 `yaml:"block_usd_per_mwh"`
	Demand        float64 `yaml:"demand_usd_per_kw_month"`
	Coincident    float64 `yaml:"coincident_usd_per_kw_year"`
	CoincidentFor float64 `yaml:"coincident_hours"`
}

// Connection is how firm the grid connection is.
type Connection struct {
	FirmShare    Ratio   `yaml:"firm_share"`
	CurtailHours float64 `yaml:"curtail_hours"`             // a year
	CurtailAbove float64 `yaml:"curtail_above_usd_per_mwh"` // instead
}

// Fleet is what the miners of a class are worth.
type Fleet struct {
	Class  string  `yaml:"class"`
	Book   float64 `yaml:"book_usd"` // of one machine
	Resale Ratio   `yaml:"resale"`   // of the book value
}

// Conversion is something that may be built in the place of miners.
type Conversion struct {
	Name            string  `yaml:"name"`
	Kind            string  `yaml:"kind"` // gpu (default), hosting
	GPU             string  `yaml:"gpu"`
	GPUsPerHost     int     `yaml:"gpus_per_host"`
	HostPower       Power   `yaml:"host_power"`
	IdleShare       Ratio   `yaml:"idle_share"`
	HostUSD         float64 `yaml:"host_usd"`
	PUE             float64 `yaml:"pue"`
	FacilityUSD     float64 `yaml:"facility_usd_per_mw"`
	FacilityLife    float64 `yaml:"facility_life_years"`
	Lead            float64 `yaml:"lead_months"`
	Standstill      float64 `yaml:"standstill_months"`
	ReservedShare   Ratio   `yaml:"reserved_share"`
	ReservedRate    float64 `yaml:"reserved_usd_per_gpu_hour"`
	Term            float64 `yaml:"term_months"`
	SpotRate        float64 `yaml:"spot_usd_per_gpu_hour"`
	SpotUtilisation Ratio   `yaml:"spot_utilisation"`
	HostingRate     float64 `yaml:"usd_per_kw_month"`
	EnergyPaidBy    string  `yaml:"energy_paid_by"` // site, client
	RateDecay       Ratio   `yaml:"rate_decay"`
	RateVolatility  Ratio   `yaml:"rate_volatility"`
	OpexShare       Ratio   `yaml:"opex_share"`
	Life            float64 `yaml:"life_years"`
	ResidualShare   Ratio   `yaml:"residual_share"`
	Renew           string  `yaml:"renew"` // yes, no
	SLACredit       float64 `yaml:"sla_credit"`
	BackupShare     Ratio   `yaml:"backup_share"`
	BackupUSD       float64 `yaml:"backup_usd_per_mwh"`
}
