package pivot

import (
	"cmp"
	"math"
	"slices"
)

// plant is what stands behind the connection at a share of the site.
type plant struct {
	index   int
	share   float64
	kw      float64 // of the connection
	aiKW    float64 // at the meter, of the conversion at full load
	kept    []int   // machines, by class
	minerKW float64 // at the meter, of these in their strongest modes
}

// plants returns what stands at each share. The conversion gets its share of the
// connection; of the miners those stay that fit into the rest at full power, the
// most efficient first.
func (p *Plan) plants() []plant {
	out := make([]plant, p.Steps+1)
	for i := range out {
		s := float64(i) / float64(p.Steps)
		out[i] = plant{index: i, share: s, kw: p.Site.KW.Value, aiKW: s * p.Site.KW.Value, kept: make([]int, len(p.Site.Classes))}
		left := out[i].kw - out[i].aiKW
		for _, k := range p.Site.byEfficiency() {
			c := &p.Site.Classes[k]
			each := c.strongest().KW * p.Site.Overhead.Value
			n := min(c.Count, int(math.Floor(left/each+1e-9)))
			out[i].kept[k] = n
			left -= float64(n) * each
			out[i].minerKW += float64(n) * each
		}
	}
	return out
}

// byEfficiency returns the indices of the classes, by the energy for a terahash in
// the strongest mode.
func (s *Site) byEfficiency() []int {
	order := make([]int, len(s.Classes))
	for i := range order {
		order[i] = i
	}
	joules := func(i int) float64 { m := s.Classes[i].strongest(); return m.KW / max(m.THs, 1e-9) }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(joules(a), joules(b)) })
	return order
}

func (k *Class) strongest() Mode {
	return slices.MaxFunc(k.Modes, func(a, b Mode) int { return cmp.Compare(a.KW, b.KW) })
}

// gone is what the machines that have to go at the plant fetch, and what their
// book value is over that, in USD. Machines that fit nowhere even without a
// conversion stay where they are.
func (p *Plan) gone(before, at *plant) (fetched, writtenOff float64) {
	for i := range p.Site.Classes {
		k := &p.Site.Classes[i]
		book := float64(max(0, before.kept[i]-at.kept[i])) * k.Book.Value
		fetched += book * k.Resale.Value
		writtenOff += book * (1 - k.Resale.Value)
	}
	return fetched, writtenOff
}

// load is the AI work of a conversion of some size: its power at the meter in kW,
// and its revenue in USD an hour at the rates of today.
type load struct {
	kw                 float64 // at the meter, with every host in use
	firmKW, backedKW   float64 // sold firm, without and with generators
	spotKW, spotIdleKW float64 // sold as interruptible: while it runs, while it does not
	firmUSD, spotUSD   float64 // of all that is sold firm; of the rest
	hosts, gpus, itKW  float64
	hostsUSD, buildUSD float64 // capital
	creditUSD          float64 // for an hour in which nothing that was sold firm is served
	backupUSDPerMWh    float64
	clientPays         bool
}

// load returns the AI work that so many kW at the meter carry.
func (c *Conversion) load(kw float64) load {
	it := kw / c.PUE.Value
	l := load{kw: kw, itKW: it, buildUSD: it / 1000 * c.FacilityUSD.Value, backupUSDPerMWh: c.BackupUSD.Value, clientPays: c.ClientPays}
	firm := 1.0
	if c.Kind == GPU {
		firm = c.ReservedShare.Value
		l.hosts = it / c.HostKW.Value
		l.gpus = l.hosts * c.GPUsPerHost.Value
		l.hostsUSD = l.hosts * c.HostUSD.Value
		l.firmUSD = l.gpus * firm * c.ReservedRate.Value
		l.spotUSD = l.gpus * (1 - firm) * c.SpotUtilisation.Value * c.SpotRate.Value
		l.spotIdleKW = kw * (1 - firm) * c.IdleShare.Value
		l.spotKW = kw*(1-firm)*c.SpotUtilisation.Value + l.spotIdleKW*(1-c.SpotUtilisation.Value)
	} else {
		l.firmUSD = it * c.HostingRate.Value / hoursPerMonth
	}
	l.backedKW = kw * firm * c.BackupShare.Value
	l.firmKW = kw*firm - l.backedKW
	l.creditUSD = l.firmUSD * c.SLACredit.Value
	return l
}

// RevenuePerITMWYear returns what an IT megawatt of the conversion brings in a
// year at today's rates with nothing curtailed, in USD.
func (c *Conversion) RevenuePerITMWYear() float64 {
	l := c.load(1000 * c.PUE.Value)
	return (l.firmUSD + l.spotUSD) * hoursPerYear
}

func (c *Conversion) leadMonths() int { return int(math.Round(c.Lead.Value)) }
