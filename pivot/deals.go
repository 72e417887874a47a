package pivot

import (
	"fmt"
	"strings"
	"time"

	"sluice"
)

// Deal is a published contract for AI power, or mining as a contract would be.
type Deal struct {
	Name    string
	MW      float64 // IT
	Years   float64
	USD     float64 // over the whole term
	Source  string
	Departs string // where the model departs from it
}

// Deals are what the model is held against.
func Deals() []Deal {
	return []Deal{
		{
			"Core Scientific and CoreWeave", 200, 12, 3.5e9, "signed 3 June 2024",
			"The client pays its energy and most of what the works cost ($90 M of $121 M in the second quarter of 2025, $196 M of $245 M in the third), which it takes back from the rent as far as we know; the model's default has the site pay for the building. Megawatts come one after the other, the model's all at once.",
		},
		{
			"Hut 8 and Fluidstack", 245, 15, 7.0e9, "announced 17 December 2025",
			"A triple-net lease: the tenant pays energy, taxes, insurance and upkeep, where the model takes off opex_share. The rent rises by 3 % a year; the model's rate stays for the term, so that its first year is above and its last below the contract's. What is left to Hut 8 after costs is expected to be $6.9 bn of the $7.0 bn.",
		},
		{
			"IREN and Microsoft", 200, 5, 9.7e9, "announced 3 November 2025",
			"The site owns the GPUs, $5.8 bn of them: NVIDIA's GB300 in racks, where the model counts hosts of eight B200 on 14.3 kW. A fifth of each tranche's price is paid before it is delivered and credited from the 25th month on, which the model leaves out: it makes the present value lower. Capacity came in tranches, the model's all at once.",
		},
	}
}

// PerMWYear is the deal's revenue for an IT megawatt and year, in USD.
func (d Deal) PerMWYear() float64 { return d.USD / d.MW / d.Years }

// conversion is the deal on the model's terms: what a kilowatt or a GPU-hour has
// to cost for the contract's sum, to the cent that a contract would name.
func (d Deal) conversion() Conversion {
	given := func(v float64) Number { return Number{v, d.Name} }
	c := Conversion{Name: d.Name, Kind: Hosting}
	if strings.HasPrefix(d.Name, "IREN") {
		c.Kind = GPU
		c.ReservedShare = given(1)
		perMW := 1000 / 14.3 * 8 * hoursPerYear // GPU-hours of an IT megawatt and year
		c.ReservedRate = given(cents(d.PerMWYear() / perMW))
	} else {
		c.HostingRate = given(cents(d.PerMWYear() / 1000 / 12))
	}
	return c
}

// miningPerMWYear is what a megawatt of miners brings in a year, running all the
// time, before energy and the pool's fee.
func miningPerMWYear(joulesPerTH, hashprice float64) float64 {
	ths := 1e6 / joulesPerTH
	year := time.Duration(hoursPerYear) * time.Hour
	return sluice.MiningRevenue(sluice.HashRate(ths), sluice.HashpriceFromUSD(hashprice), 0, year).USD()
}

// listRate is the median on-demand quote for a B200 of May 2026, USD per GPU-hour.
const listRate = 4.695

// DealTable is the check against the world as a table in Markdown; docs/pivot.md
// holds it, and a test holds the two together.
func DealTable() (string, error) {
	var b strings.Builder
	b.WriteString("| what | published | M$ per MW-year | in the model's terms | the model's M$ per MW-year |\n| --- | --- | ---: | --- | ---: |\n")
	for _, d := range Deals() {
		c := d.conversion()
		if err := c.complete(max(10, int(d.Years))); err != nil {
			return "", err
		}
		terms := fmt.Sprintf("%.2f USD per IT kW and month", c.HostingRate.Value)
		if c.Kind == GPU {
			terms = fmt.Sprintf("%.2f USD per GPU-hour, all reserved, %g GPUs on %g kW", c.ReservedRate.Value, c.GPUsPerHost.Value, c.HostKW.Value)
		}
		fmt.Fprintf(&b, "| %s | %g MW, %g years, $%.1f bn, %s | %.2f | %s | %.2f |\n",
			d.Name, d.MW, d.Years, d.USD/1e9, d.Source, d.PerMWYear()/1e6, terms, c.RevenuePerITMWYear()/1e6)
	}
	fmt.Fprintf(&b, "| mining | 20 J/TH, 43.34 USD per PH/s and day | 0.79 | the same, before energy and the pool's fee | %.2f |\n", miningPerMWYear(20, 43.34)/1e6)
	list := Conversion{Name: "list", Kind: GPU, ReservedShare: Number{1, "list"}, ReservedRate: Number{listRate, "list"}}
	if err := list.complete(10); err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "| the same hosts at list price, every hour sold | median of 14 neoclouds' on-demand quotes for a B200, May 2026 | | %.2f USD per GPU-hour | %.2f |\n", listRate, list.RevenuePerITMWYear()/1e6)
	for _, c := range DefaultConversions() {
		if err := c.complete(10); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "| the default %s | | | all defaults | %.2f |\n", c.Name, c.RevenuePerITMWYear()/1e6)
	}
	return b.String(), nil
}
