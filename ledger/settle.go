package ledger

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice"
)

// Interval is what is known of one settlement interval [From, To).
type Interval struct {
	From, To time.Time

	MeterWh        sluice.WattHours // of the site's meter: the whole
	MeterEstimated bool             // the meter was silent: MeterWh is the readings' sum, or a guess
	MiningWh, AIWh sluice.WattHours // by the readings of the machines: how the whole is divided

	EnergyPrice    sluice.EnergyPrice
	PriceOrigin    string
	PricePublished time.Time // zero: not known
	PriceEstimated bool

	TeraHashes         int64 // hashes done, in TH/s · s
	Hashprice          sluice.Hashprice
	HashpriceOrigin    string
	HashpriceEstimated bool
	PoolFeePPM         int64 // the pool's share, in millionths

	Reserves []ReserveUse `json:",omitempty"`
	Jobs     []JobUse
}

// JobUse is what one job used in an interval, or several of one tenant, class
// and rate.
type JobUse struct {
	JobID, Tenant, Name, Class string
	UnitMilliseconds           int64        // milliseconds times units held
	MilliWh                    int64        // energy of those units, in thousandths of a watt-hour
	RatePerUnitHour            sluice.Money // agreed
	Credit                     sluice.Money // given back for what was promised and not kept, 0 or more
	// Amount is the price where the metering has computed it, as what a job's
	// whole use costs less what was charged before, so that roundings do not add
	// up over intervals. It may stand for several jobs, and must be within a cent
	// of ms · rate. Nil: Price computes it.
	Amount *sluice.Money
}

// Price returns what is charged before credits: Amount, or ms · rate ÷ 3.6·10⁶.
func (j JobUse) Price() sluice.Money {
	if j.Amount != nil {
		return *j.Amount
	}
	return j.price()
}

func (j JobUse) price() sluice.Money {
	return sluice.Money(sluice.MulDiv(j.UnitMilliseconds, int64(j.RatePerUnitHour), 3_600_000))
}

// Bounds that no real interval comes near; within them no product leaves 64
// bits: a terawatt-hour, a million $/MWh, the hashes of the whole network of 2025
// in a day, …
const (
	maxWh        = 1_000_000_000_000
	maxPrice     = 1_000_000_000_000
	maxTH        = 100_000_000_000_000
	maxUnitMs    = 1_000_000_000_000
	maxJobMoney  = 1_000_000_000_000
	maxHashprice = 1_000_000_000_000
	maxRounding  = 10_000
)

func (in Interval) check() error {
	within := func(what string, v, lo, hi int64) error {
		if v < lo || v > hi {
			return sluice.Errorf(sluice.Invalid, "", "settling %s: %s is %d, which is not within %d and %d",
				in.From.UTC().Format(time.RFC3339), what, v, lo, hi)
		}
		return nil
	}
	if !in.From.Before(in.To) {
		return sluice.Errorf(sluice.Invalid, "", "settling [%v, %v): the interval is empty", in.From, in.To)
	}
	errs := []error{
		within("the meter (Wh)", int64(in.MeterWh), 0, maxWh),
		within("the energy of mining (Wh)", int64(in.MiningWh), 0, maxWh),
		within("the energy of AI (Wh)", int64(in.AIWh), 0, maxWh),
		within("the energy price (µ$/MWh)", int64(in.EnergyPrice), -maxPrice, maxPrice),
		within("the hashes (TH)", in.TeraHashes, 0, maxTH),
		within("the hashprice (µ$/PH/day)", int64(in.Hashprice), 0, maxHashprice),
		within("the pool's fee (ppm)", in.PoolFeePPM, 0, 1_000_000),
		in.checkReserves(within),
	}
	for _, j := range in.Jobs {
		errs = append(errs,
			within("the use of job "+j.JobID+" (unit ms)", j.UnitMilliseconds, 0, maxUnitMs),
			within("the energy of job "+j.JobID+" (mWh)", j.MilliWh, 0, maxUnitMs),
			within("the rate of job "+j.JobID+" (µ$)", int64(j.RatePerUnitHour), 0, maxJobMoney),
			within("the credit of job "+j.JobID+" (µ$)", int64(j.Credit), 0, maxJobMoney))
		if err := cmp.Or(errs...); err != nil {
			return err // before a product of it is taken
		}
		if p := int64(j.price()); j.Amount != nil {
			errs = append(errs, within("the charge of job "+j.JobID+" (µ$)", int64(*j.Amount), max(p-maxRounding, 0), p+maxRounding))
		}
	}
	return cmp.Or(errs...)
}

// Settle returns the entries of an interval: the energy of each division, mining
// revenue with the pool's fee, one for each reserve, AI revenue with one posting
// for each JobUse. What did not happen has no entry. The cost of the metered energy is
// divided by the readings with the largest remainder, so the shares add up to it
// and what the readings do not explain is shared in proportion; with no reading
// at all it falls to mining, and the entry says so.
//
// The IDs follow from the site and From alone and the content from in alone, so
// settling again after a crash changes nothing.
func Settle(site string, in Interval) ([]Entry, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	var out []Entry
	for _, p := range parts(in, reserveNames(in)) {
		if p.empty() {
			continue
		}
		e := p.entry
		e.ID = entryID("settle", site, in.From, p.name)
		if err := e.Check(); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// part is one of the entries of an interval, with its quantities as numbers.
type part struct {
	name       string
	entry      Entry
	quantities map[string]int64
}

func (p part) empty() bool {
	for _, q := range p.quantities {
		if q != 0 {
			return false
		}
	}
	for _, x := range p.entry.Postings {
		if x.Amount != 0 {
			return false
		}
	}
	return true
}

// parts returns the parts of an interval, with one for each of the reserves that
// are named, whether or not it earned anything.
func parts(in Interval, reserves []string) []part {
	ps := append(energyParts(in), miningPart(in))
	for _, name := range reserves {
		ps = append(ps, reservePart(in, name))
	}
	ps = append(ps, aiPart(in))
	for i := range ps {
		e := &ps[i].entry
		e.At = in.From.UTC()
		e.Meta[MetaTo] = in.To.UTC().Format(time.RFC3339Nano)
		for k, v := range ps[i].quantities {
			e.Meta[k] = strconv.FormatInt(v, 10)
		}
	}
	return ps
}

func energyParts(in Interval) []part {
	readings := []int64{int64(in.MiningWh), int64(in.AIWh)}
	wh := sluice.Split(int64(in.MeterWh), readings)
	cost := sluice.Split(int64(in.MeterWh.Cost(in.EnergyPrice)), readings)
	var ps []part
	for i, d := range []struct{ name, text, account string }{
		{"mining-energy", "Energy of mining", AccountMiningEnergy},
		{"ai-energy", "Energy of AI", AccountAIEnergy},
	} {
		meta := map[string]string{MetaPrice: Decimal(sluice.Money(in.EnergyPrice)), MetaPriceOrigin: text(in.PriceOrigin)}
		if !in.PricePublished.IsZero() {
			meta[MetaPricePublished] = in.PricePublished.UTC().Format(time.RFC3339Nano)
		}
		if s := estimated("meter", in.MeterEstimated, in.PriceEstimated); s != "" {
			meta[MetaEstimated] = s
		}
		if in.MiningWh == 0 && in.AIWh == 0 {
			meta[MetaSplit] = "no readings: all to mining"
		}
		c := sluice.Money(cost[i])
		ps = append(ps, part{
			name: d.name,
			entry: Entry{Text: d.text, Meta: meta, Postings: []Posting{
				{Account: d.account, Commodity: USD, Amount: c},
				{Account: AccountEnergyOwed, Commodity: USD, Amount: -c},
			}},
			quantities: map[string]int64{MetaWh: wh[i], MetaReadingsWh: readings[i], MetaResidualWh: wh[i] - readings[i]},
		})
	}
	return ps
}

// estimated names what was estimated: the quantity, by what it is, and the price.
func estimated(what string, quantity, price bool) string {
	var s []string
	if quantity {
		s = append(s, what)
	}
	if price {
		s = append(s, "price")
	}
	return strings.Join(s, " ")
}

// miningPart accrues TH/s·s ÷ 1000 · $/PH/day ÷ 86,400 s.
func miningPart(in Interval) part {
	gross := sluice.Money(sluice.MulDiv(in.TeraHashes, int64(in.Hashprice), 1000*86_400))
	fee := sluice.Money(sluice.MulDiv(int64(gross), in.PoolFeePPM, 1_000_000))
	meta := map[string]string{
		MetaPrice:       Decimal(sluice.Money(in.Hashprice)),
		MetaPriceOrigin: text(in.HashpriceOrigin),
		MetaPoolFeePPM:  strconv.FormatInt(in.PoolFeePPM, 10),
	}
	if s := estimated("", false, in.HashpriceEstimated); s != "" {
		meta[MetaEstimated] = s
	}
	return part{
		name: "mining-revenue",
		entry: Entry{Text: "Hashrate sold", Meta: meta, Postings: []Posting{
			{Account: AccountPool, Commodity: USD, Amount: gross - fee},
			{Account: AccountPoolFee, Commodity: USD, Amount: fee},
			{Account: AccountHashrate, Commodity: USD, Amount: -gross},
		}},
		quantities: map[string]int64{MetaTeraHashes: in.TeraHashes},
	}
}

func aiPart(in Interval) part {
	// The caller's order comes from a map as likely as not.
	jobs := slices.SortedFunc(slices.Values(in.Jobs), func(a, b JobUse) int {
		return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.JobID, b.JobID),
			strings.Compare(a.Class, b.Class), strings.Compare(a.Name, b.Name),
			cmp.Compare(a.UnitMilliseconds, b.UnitMilliseconds),
			cmp.Compare(a.RatePerUnitHour, b.RatePerUnitHour), cmp.Compare(a.Price(), b.Price()), cmp.Compare(a.Credit, b.Credit))
	})
	var ps []Posting
	var ms, mwh int64
	for len(jobs) > 0 {
		tenant := jobs[0].Tenant
		n := slices.IndexFunc(jobs, func(j JobUse) bool { return j.Tenant != tenant })
		if n < 0 {
			n = len(jobs)
		}
		owed := len(ps)
		ps = append(ps, Posting{Account: AccountTenant(tenant), Commodity: USD})
		for _, j := range jobs[:n] {
			ms += j.UnitMilliseconds
			mwh += j.MilliWh
			memo := strings.Join(strings.Fields(j.JobID+" "+j.Name+" on "+j.Class), " ")
			if j.MilliWh > 0 {
				memo += " using " + strconv.FormatFloat(float64(j.MilliWh)/1000, 'f', -1, 64) + " Wh"
			}
			memo = text(memo)
			ps = append(ps, Posting{AccountAIRevenue(tenant), USD, -j.Price(), memo})
			if j.Credit != 0 {
				ps = append(ps, Posting{AccountCredits(tenant), USD, j.Credit, memo})
			}
			ps[owed].Amount += j.Price() - j.Credit
		}
		jobs = jobs[n:]
	}
	return part{
		name:       "ai-revenue",
		entry:      Entry{Text: "Machine time sold", Meta: map[string]string{}, Postings: ps},
		quantities: map[string]int64{MetaUnitMilliseconds: ms, MetaJobMilliWh: mwh},
	}
}

// text makes a text from outside fit for the journal: valid, and not a novel.
func text(s string) string {
	const longest = 300
	if len(s) > longest {
		s = s[:longest]
	}
	return strings.ToValidUTF8(s, "")
}

func entryID(kind, site string, from time.Time, rest string) string {
	return kind + "/" + Segment(site) + "/" + from.UTC().Format("20060102T150405.999999999Z") + "/" + rest
}
