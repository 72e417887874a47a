package pivot

import (
	"time"
)

// Number is an input. Source says where it comes from; without one it was not
// given, and its default is taken.
type Number struct {
	Value  float64
	Source string
}

// Given says whether the number was given.
func (n Number) Given() bool { return n.Source != "" }

// Plan is what is asked: a site, its terms, what may be built, and what was.
type Plan struct {
	Site        Site
	Terms       Terms
	Conversions []Conversion // none: the two of DefaultConversions
	History     History

	Steps     int // shares between nothing and all, default 10: 0, 10, … 100 %
	Scenarios int // default 500
	Years     int // from the order on, default 10
	Seed      uint64
	Workers   int // weeks that are solved at once, default 1; the result is the same
}

// Site is the grid connection and the miners behind it.
type Site struct {
	Name     string
	KW       Number // what the site may draw at the meter, for miners and conversions together
	Overhead Number // meter kW per machine kW, of miners
	PoolFee  Number // share of mining revenue
	Nodes    []Node // the power tree; the one without a parent is the connection
	Classes  []Class
}

// Node is a limit of the power tree below the connection.
type Node struct {
	Name, Parent string
	KW           float64 // at the meter; 0: none
}

// Class is a group of interchangeable miners.
type Class struct {
	Name, Node  string
	Count       int
	CountSource string
	Modes       []Mode  // the first is sleep
	WakeMinutes float64 // of revenue lost at each wake
	Book        Number  // USD a machine
	Resale      Number  // what it fetches, as a share of the book value
}

// Mode is an operating point of one miner, at its plug.
type Mode struct {
	Name string
	KW   float64
	THs  float64
}

// Terms is what holds for all conversions. Growth, shares and rates are
// fractions: 0.15 is 15 %.
type Terms struct {
	Hashprice        Number // USD per PH/s and day, today
	DifficultyGrowth Number // a year
	BTCGrowth        Number // a year
	HalfLife         Number // weeks, of a deviation of the hashprice from its trend
	PowerLevel       Number // multiple of the history's real-time prices
	Capture          Number // share of hindsight's margin that is earned
	Discount         Number // a year
	MiningOpex       Number // USD per MW and year
	BlockWeeks       Number // weeks in a row of a scenario's draw

	Adder           Number // USD/MWh on the real-time price
	BlockKW         Number // bought at BlockPrice in every hour
	BlockPrice      Number // USD/MWh
	Demand          Number // USD per kW and month
	Coincident      Number // USD per kW and year
	CoincidentHours Number // hours a year

	FirmShare    Number // of the connection
	CurtailHours Number // hours a year
	CurtailAbove Number // USD/MWh, instead of CurtailHours
}

// Kinds of conversions.
const (
	GPU     = "gpu"     // own GPU hosts, rented out
	Hosting = "hosting" // power and cooling for a client's hosts
)

// Conversion is something that may be built in the place of miners. Powers are
// at the hosts' plugs; an IT megawatt is a megawatt there.
type Conversion struct {
	Name         string
	Kind         string
	Model        string // of the GPUs
	ModelSource  string // where that comes from
	ClientPays   bool   // for the energy of the hosts
	PaysSource   string // where that comes from
	NoRenewal    bool   // hosts are given up at their life's end
	RenewSource  string
	PUE          Number // meter kW per kW at the hosts' plugs
	FacilityUSD  Number // USD per IT MW
	FacilityLife Number // years
	Lead         Number // months from the order to the service
	Standstill   Number // of these without mining
	Term         Number // months of the first contract, and of each after it
	RateDecay    Number // of the market's rate, a year of the hosts' age
	Volatility   Number // of the market's rate, standard deviation of its logarithm over a year
	OpexShare    Number // of the capital, a year
	SLACredit    Number // multiple of the rate
	BackupShare  Number // of the firm load
	BackupUSD    Number // USD/MWh

	HostingRate Number // hosting: USD per IT kW and month

	GPUsPerHost     Number // gpu, and all below
	HostKW          Number
	IdleShare       Number // of HostKW
	HostUSD         Number // USD a host
	ReservedShare   Number // of the GPU-hours
	ReservedRate    Number // USD per GPU-hour
	SpotRate        Number // USD per GPU-hour
	SpotUtilisation Number // of the GPU-hours that are not reserved
	Life            Number // years
	ResidualShare   Number // of HostUSD, at the life's end
}

// History is what was, hour by hour from Start (UTC); NaN is unknown.
type History struct {
	Start     time.Time
	Price     []float64 // real time, USD/MWh
	Hashprice []float64 // USD per PH/s and day; nil: not recorded
	Source    string    // of the prices, for people
	HashFrom  string    // of the hashprice
	Notes     []string  // what was found in the files and how it was handled
}

// Progress is how far a run is.
type Progress struct {
	Stage       string // what is being done
	Unit        string // of Done and Total
	Done, Total int
}
