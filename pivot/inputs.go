package pivot

import (
	"fmt"
	"math"
	"slices"

	"sluice"
)

// Input is one input of a plan, as it was used.
type Input struct {
	Name   string `json:"name"`
	Value  any    `json:"value"` // a number or a text
	Unit   string `json:"unit"`  // empty: a text, or a plain number
	Source string `json:"source"`
}

// quantity is an input of the struct T with its default.
type quantity[T any] struct {
	name, unit string
	def        float64 // NaN: none, the number stays absent or is found elsewhere
	least      float64
	most       float64
	source     string // of the default
	of         func(*T) *Number
}

// complete puts the defaults in, and refuses what lies outside its range.
func complete[T any](qs []quantity[T], v *T, prefix string) error {
	for _, q := range qs {
		n := q.of(v)
		if !n.Given() {
			if math.IsNaN(q.def) {
				continue
			}
			*n = Number{q.def, q.source}
		}
		if !(n.Value >= q.least && n.Value <= q.most) {
			return sluice.Errorf(sluice.Invalid, "", "%s%s: %g (%s) is not between %g and %g", prefix, q.name, n.Value, n.Source, q.least, q.most)
		}
	}
	return nil
}

func list[T any](qs []quantity[T], v *T, prefix string) []Input {
	var out []Input
	for _, q := range qs {
		if n := q.of(v); n.Given() {
			out = append(out, Input{prefix + q.name, n.Value, q.unit, n.Source})
		}
	}
	return out
}

// Names returns the names of the numbers that a plan takes, as they stand in a
// configuration below pivot: those of Terms, and those of the conversions of the
// kind.
func Names(kind string) (terms, conversion []string) {
	for _, q := range termQuantities {
		terms = append(terms, q.name)
	}
	for _, q := range quantitiesOf(kind) {
		conversion = append(conversion, q.name)
	}
	return terms, conversion
}

// Set gives the number of that name (see Names) and says whether there is one.
func (t *Terms) Set(name string, n Number) bool { return set(termQuantities, t, name, n) }

// Set gives the number of that name (see Names) and says whether there is one.
func (c *Conversion) Set(name string, n Number) bool { return set(quantitiesOf(c.Kind), c, name, n) }

// Set gives the number of that name, book_usd or resale, and says whether there is
// one.
func (k *Class) Set(name string, n Number) bool { return set(fleetQuantities, k, name, n) }

func set[T any](qs []quantity[T], v *T, name string, n Number) bool {
	i := slices.IndexFunc(qs, func(q quantity[T]) bool { return q.name == name })
	if i >= 0 {
		*qs[i].of(v) = n
	}
	return i >= 0
}

func quantitiesOf(kind string) []quantity[Conversion] {
	if kind == Hosting {
		return append(slices.Clone(hostingQuantities), commonQuantities(hostingDefaults)...)
	}
	return append(slices.Clone(gpuQuantities), commonQuantities(gpuDefaults)...)
}

// complete fills the defaults and refuses what makes no sense. It works on
// copies: the caller's plan stays as it is.
func (p Plan) complete() (Plan, error) {
	bad := func(hint, format string, args ...any) (Plan, error) {
		return p, sluice.Errorf(sluice.Invalid, hint, format, args...)
	}
	orOne := func(n *int, def int) {
		if *n == 0 {
			*n = def
		}
	}
	orOne(&p.Steps, 10)
	orOne(&p.Scenarios, 500)
	orOne(&p.Years, 10)
	orOne(&p.Workers, 1)
	switch {
	case p.Steps < 1 || p.Steps > 100:
		return bad("1 to 100 steps from nothing to all", "steps: %d", p.Steps)
	case p.Scenarios < 1 || p.Scenarios > 100_000:
		return bad("1 to 100000 scenarios", "scenarios: %d", p.Scenarios)
	case p.Years < 1 || p.Years > 40:
		return bad("1 to 40 years", "years: %d", p.Years)
	case !(p.Site.KW.Value > 0):
		return bad("give the connection's limit", "the site %s has no power to convert", p.Site.Name)
	}
	for _, n := range []*Number{&p.Site.Overhead, &p.Site.PoolFee} {
		if !n.Given() {
			return bad("", "the site %s: its overhead and pool fee are not given", p.Site.Name)
		}
	}
	p.Site.Classes = slices.Clone(p.Site.Classes)
	miners := 0
	for i := range p.Site.Classes {
		k := &p.Site.Classes[i]
		miners += k.Count
		if err := complete(fleetQuantities, k, "fleet "+k.Name+": "); err != nil {
			return p, err
		}
		if len(k.Modes) < 2 || k.Modes[len(k.Modes)-1].KW <= 0 {
			return bad("", "the class %s has no mode in which it mines", k.Name)
		}
	}
	if miners == 0 {
		return bad("give classes[].count, or list machines", "the site %s has no miners: there is nothing to convert", p.Site.Name)
	}
	if err := complete(termQuantities, &p.Terms, ""); err != nil {
		return p, err
	}
	if p.Terms.CurtailAbove.Given() {
		p.Terms.CurtailHours = Number{}
	}
	if len(p.Conversions) == 0 {
		p.Conversions = DefaultConversions()
	}
	p.Conversions = slices.Clone(p.Conversions)
	for i := range p.Conversions {
		if err := p.Conversions[i].complete(p.Years); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (c *Conversion) complete(years int) error {
	if c.Kind != GPU && c.Kind != Hosting {
		return sluice.Errorf(sluice.Invalid, "it is gpu or hosting", "the conversion %s is of no known kind: %q", c.Name, c.Kind)
	}
	if err := complete(quantitiesOf(c.Kind), c, "the conversion "+c.Name+": "); err != nil {
		return err
	}
	if c.Standstill.Value > c.Lead.Value {
		if c.Standstill.Source != assumedStandstill {
			return sluice.Errorf(sluice.Invalid, "", "the conversion %s stands still for %g months of its lead time of %g", c.Name, c.Standstill.Value, c.Lead.Value)
		}
		c.Standstill.Value = c.Lead.Value
	}
	if months := c.leadMonths(); months+12 > 12*years {
		return sluice.Errorf(sluice.Invalid, "plan for more years", "the conversion %s is in service after %d months: %d years leave no whole year of service", c.Name, months, years)
	}
	if c.PaysSource == "" {
		c.ClientPays, c.PaysSource = c.Kind == Hosting, paysDefault
	}
	if c.RenewSource == "" {
		c.RenewSource = renewDefault
	}
	if c.Kind == Hosting {
		c.ReservedShare, c.IdleShare = Number{1, "hosting"}, Number{0, "hosting"}
		c.NoRenewal = false
	}
	return nil
}

// inputs lists every input of a complete plan.
func (p *Plan) inputs(m *market) []Input {
	out := []Input{
		{"site.power_kw", p.Site.KW.Value, "kW at the meter", p.Site.KW.Source},
		{"site.overhead", p.Site.Overhead.Value, "meter kW per machine kW", p.Site.Overhead.Source},
		{"site.pool_fee", p.Site.PoolFee.Value, "share of mining revenue", p.Site.PoolFee.Source},
		{"history.real_time_usd_per_mwh", m.span(), "", p.History.Source},
	}
	if p.History.Hashprice != nil {
		out = append(out, Input{"history.hashprice_usd_per_ph_day", m.span(), "", p.History.HashFrom})
	}
	for i := range p.Site.Classes {
		k := &p.Site.Classes[i]
		out = append(out, Input{"classes." + k.Name + ".count", float64(k.Count), "machines", k.CountSource})
		out = append(out, list(fleetQuantities, k, "fleet."+k.Name+".")...)
	}
	out = append(out, list(termQuantities, &p.Terms, "")...)
	for i := range p.Conversions {
		c := &p.Conversions[i]
		prefix := "conversions." + c.Name + "."
		payer, renew := "site", "yes"
		if c.ClientPays {
			payer = "client"
		}
		out = append(out, Input{prefix + "kind", c.Kind, "", "the plan"}, Input{prefix + "energy_paid_by", payer, "", c.PaysSource})
		if c.Kind == GPU {
			if c.NoRenewal {
				renew = "no"
			}
			out = append(out, Input{prefix + "gpu", c.Model, "", modelSource(c)}, Input{prefix + "renew", renew, "", c.RenewSource})
		}
		out = append(out, list(quantitiesOf(c.Kind), c, prefix)...)
	}
	return append(out,
		Input{"years", float64(p.Years), "years from the order on", "the command line, or its default"},
		Input{"scenarios", float64(p.Scenarios), "scenarios", "the command line, or its default"},
		Input{"seed", fmt.Sprint(p.Seed), "", "the command line, or its default"},
		Input{"tax", "none", "", "left out: all figures are before tax"})
}
