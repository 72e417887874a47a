package site

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/feed"
	"sluice/ledger"
)

// accrue adds what has been measured since the newest turn to the interval that
// runs, at the power that was read at its end. The caller holds s.mu.
func (s *Site) accrue(now time.Time, by sums) {
	if s.acc.From.IsZero() {
		s.acc = Progress{From: now.Truncate(s.o.Step), At: now}
		return
	}
	d := now.Sub(s.acc.At)
	if d <= 0 {
		return
	}
	// A process that was held, a machine that slept: nobody has measured.
	switch {
	case d > longestGap:
		s.gap(now)
		return
	case d > s.o.MaxReadingAge:
		s.acc.Estimated = true
	}
	load, source := s.load(s.root(), by, now)
	s.acc.add(d, load, by, source != sluice.SourceMeter)
	s.accrueReserves(now, d)
	s.acc.At = now
	s.costRun(now, d)
}

func (p *Progress) add(d time.Duration, load sluice.Watts, by sums, unmetered bool) {
	ws := func(w sluice.Watts) int64 { return sluice.MulDiv(int64(w), int64(d), int64(time.Second)) }
	p.MeterWs += ws(load)
	p.MiningWs += ws(by.mining)
	p.AIWs += ws(by.ai)
	p.HashTH += int64(math.Round(float64(by.hash) * d.Seconds()))
	p.Unmetered = p.Unmetered || unmetered
}

// settle posts every interval that has ended by now. What was measured in a turn
// that reaches into the next interval is shared between them by time. The caller
// holds stepMu, not s.mu.
func (s *Site) settle(ctx context.Context, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		p := s.acc
		end := p.From.Add(s.o.Step)
		if p.From.IsZero() || now.Before(end) {
			return nil
		}
		mine, rest := p.split(end)
		iv := s.interval(mine, end, now)
		uses := s.o.Compute.Meter(end)
		iv.Jobs = jobUses(uses)
		entries, err := ledger.Settle(s.o.Name, iv)
		if err != nil {
			return err
		}
		rec, err := settledOf(iv, entries)
		if err != nil {
			return err
		}
		wctx, cancel := context.WithTimeout(s.life(ctx), storeWait)
		err = s.o.Store.Settle(wctx, entries, uses, rec, rest)
		cancel()
		if err != nil {
			return fmt.Errorf("settling %s: %w", p.From.Format(time.RFC3339), err)
		}
		s.o.Compute.Billed(uses)
		s.acc = rest
		s.today.add(rec)
		if s.o.Bare {
			continue // history is not restated
		}
		s.settled = append(s.settled, rec)
		if err := s.correct(ctx, now); err != nil {
			return err
		}
	}
}

// split cuts what was measured at the end of its interval, in proportion to
// time: the part before belongs to it, the rest to the next.
func (p Progress) split(end time.Time) (mine, rest Progress) {
	rest = Progress{From: end, At: p.At}
	for _, r := range p.Reserves {
		rest.Reserves = append(rest.Reserves, Ready{Name: r.Name, PlannedW: r.PlannedW})
	}
	over := p.At.Sub(end)
	if over <= 0 {
		rest.At = end
		return p, rest
	}
	whole := p.At.Sub(p.From)
	mine = p
	mine.Reserves = slices.Clone(p.Reserves)
	cut := func(v *int64, to *int64) {
		part := sluice.MulDiv(*v, int64(over), int64(whole))
		*v -= part
		*to = part
	}
	cut(&mine.MeterWs, &rest.MeterWs)
	cut(&mine.MiningWs, &rest.MiningWs)
	cut(&mine.AIWs, &rest.AIWs)
	cut(&mine.HashTH, &rest.HashTH)
	for i := range mine.Reserves {
		cut(&mine.Reserves[i].ReadyWs, &rest.Reserves[i].ReadyWs)
	}
	mine.At = end
	rest.Unmetered, rest.Estimated = p.Unmetered, p.Estimated
	return mine, rest
}

// interval is what the books are told of an interval.
func (s *Site) interval(p Progress, end, now time.Time) ledger.Interval {
	price, hp := s.priced(end.Add(-time.Nanosecond), now)
	wh := func(ws int64) sluice.WattHours { return sluice.WattHours(sluice.MulDiv(ws, 1, 3600)) }
	var reserves []ledger.ReserveUse
	for _, r := range p.Reserves {
		if r.ReadyWs == 0 {
			continue
		}
		paid := s.reservePrice(r.Name, end.Add(-time.Nanosecond), now)
		reserves = append(reserves, ledger.ReserveUse{
			Name: r.Name, ReadyWh: wh(r.ReadyWs), ReadyEstimated: p.Estimated,
			Price: sluice.EnergyPriceOf(paid.Value), PriceOrigin: paid.Origin, PricePublished: paid.AsOf,
			PriceEstimated: paid.Estimated || paid.Stale || !paid.Known,
		})
	}
	return ledger.Interval{
		From: p.From, To: end,
		MeterWh: wh(p.MeterWs), MeterEstimated: p.Unmetered || p.Estimated,
		MiningWh: wh(p.MiningWs), AIWh: wh(p.AIWs),
		EnergyPrice: sluice.EnergyPriceOf(price.Value), PriceOrigin: price.Origin,
		PricePublished: price.AsOf, PriceEstimated: price.Estimated || price.Stale || !price.Known,
		TeraHashes: p.HashTH, Hashprice: sluice.HashpriceFromUSD(hp.Value),
		HashpriceOrigin: hp.Origin, HashpriceEstimated: hp.Estimated || hp.Stale || !hp.Known,
		PoolFeePPM: int64(math.Round(s.o.PoolFee * 1e6)), Reserves: reserves,
	}
}

// priced returns the price of power and the hashprice that were in force at t. Of
// power it is what is known now of that instant, since markets publish an
// interval's price with its end; else what was thought to be in force then. A
// process that has started since knows only what its feeds say now: what they say
// of t, else what holds now, as an estimate.
func (s *Site) priced(t, now time.Time) (price, hp feed.Value) {
	price, hp = s.o.Feeds.At(feed.RealTimePrice, t), s.o.Feeds.Hashprice(t)
	if k := s.o.Feeds.Known(feed.RealTimePrice, t, now); k.Known && !k.Stale {
		price = k
	}
	later := func(v *feed.Value, q feed.Quantity, present feed.Value) {
		if v.Known && !v.Stale {
			return
		}
		if k := s.o.Feeds.Known(q, t, now); k.Known {
			*v = k
		} else if !v.Known {
			*v, v.Estimated = present, true
		}
	}
	later(&price, feed.RealTimePrice, s.o.Feeds.At(feed.RealTimePrice, now))
	later(&hp, feed.Hashprice, s.o.Feeds.Hashprice(now))
	return price, hp
}

// longestGap is the longest time without readings that is booked by guess.
const longestGap = 24 * time.Hour

// gap books the time in which no Sluice ran, after a restart: energy at the
// power that was last measured, marked as estimated. Longer gaps than a day are
// not guessed: they are an alarm. The caller holds s.mu or is New.
func (s *Site) gap(now time.Time) {
	d := now.Sub(s.acc.At)
	if s.acc.From.IsZero() || d <= 0 {
		return
	}
	measured := s.acc.At.Sub(s.acc.From)
	if measured <= 0 && d <= longestGap {
		s.acc.Estimated = true // the first turn books it at what it reads
		return
	}
	if d > longestGap {
		s.clearAlarm(now, "books-gap", s.o.Name) // an earlier one does not hide this one
		s.alarm(now, sluice.Warning, "books-gap", s.o.Name,
			"nothing is booked from "+s.acc.From.Format(time.RFC3339)+" to "+now.Format(time.RFC3339),
			"enter the energy of this time by hand from the utility's meter")
		s.acc = Progress{From: now.Truncate(s.o.Step), At: now}
		return
	}
	grow := func(v *int64) { *v += sluice.MulDiv(*v, int64(d), int64(measured)) }
	grow(&s.acc.MeterWs)
	grow(&s.acc.MiningWs)
	grow(&s.acc.AIWs)
	grow(&s.acc.HashTH)
	s.acc.At = now
	s.acc.Estimated = true
}

// jobUses sums the jobs' use up by tenant and class: the journal has a line for
// each, what each job has used stands in the job's own record.
func jobUses(uses []compute.Use) []ledger.JobUse {
	type key struct {
		tenant, class string
		rate          float64
	}
	at := map[key]int{}
	var out []ledger.JobUse
	var jobs []int
	for _, u := range uses {
		k := key{u.Tenant, u.Class, u.RateUSDHour}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, ledger.JobUse{
				Tenant: u.Tenant, Class: u.Class,
				RatePerUnitHour: sluice.MoneyOfUSD(u.RateUSDHour), Amount: new(sluice.Money),
			})
			jobs = append(jobs, 0)
		}
		out[i].UnitMilliseconds += u.ToUnitMS - u.FromUnitMS
		*out[i].Amount += u.Amount
		out[i].Credit += u.Credit
		out[i].MilliWh += u.MilliWh
		out[i].JobID = u.JobID
		if jobs[i]++; jobs[i] > 1 {
			out[i].JobID = fmt.Sprintf("%d jobs", jobs[i])
		}
	}
	return out
}

// settledOf sums up what was posted.
func settledOf(iv ledger.Interval, entries []ledger.Entry) (Settled, error) {
	kept := iv
	kept.Jobs = nil // a restated price changes only the energy
	r := Settled{
		From: iv.From, To: iv.To, MeterWh: iv.MeterWh, MiningWh: iv.MiningWh, AIWh: iv.AIWh,
		EnergyPrice: iv.EnergyPrice, PriceOrigin: iv.PriceOrigin,
		Estimated: iv.MeterEstimated || iv.PriceEstimated, Interval: kept,
	}
	all := func(yield func(ledger.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
	income, err := ledger.IncomeStatement(all, iv.From, iv.To)
	if err != nil {
		return r, err
	}
	for _, d := range income {
		r.EnergyCost += d.EnergyCost
		switch d.Division {
		case sluice.Mining:
			r.MiningRev = d.Revenue - d.Reserve - d.OtherCost
			r.ReserveRev = d.Reserve
			r.MiningEnergy = d.EnergyCost
		case sluice.AI:
			r.AIRev = d.Revenue - d.OtherCost
		}
	}
	return r, nil
}
