package site

import (
	"context"
	"sort"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/feed"
)

// margins are the running results of the divisions in USD per hour.
type margins struct {
	price, hashprice float64
	mining, ai       float64
	reserves         []Reserve
}

// margins computes what the site earns at this instant: mining by hashrate and by
// load that stands ready, AI by the units that jobs hold, less the energy of each at the present price. What
// the meter shows beyond the readings is shared in proportion. The caller holds
// s.mu.
func (s *Site) margins(now time.Time, by sums, jobs []compute.Job) margins {
	price := s.o.Feeds.At(feed.RealTimePrice, now)
	hp := s.o.Feeds.Hashprice(now)
	m := margins{price: price.Value, hashprice: hp.Value}
	load, _ := s.load(s.root(), by, now)
	scale := 1.0
	if sum := by.mining + by.ai; sum > 0 && load > 0 {
		scale = float64(load) / float64(sum)
	}
	cost := func(w sluice.Watts) float64 { return w.KW() / 1000 * scale * price.Value }
	m.mining = sluice.MiningRevenue(by.hash, sluice.HashpriceFromUSD(hp.Value), s.o.PoolFee, time.Hour).USD() - cost(by.mining)
	for _, j := range jobs {
		if j.State == compute.Running {
			m.ai += float64(j.Units) * j.RateUSDHour
		}
	}
	m.ai -= cost(by.ai)
	var standing float64
	m.reserves, standing = s.reserveViews(now)
	m.mining += standing
	return m
}

// Status is the site at a glance, as of the newest turn.
func (s *Site) Status() Status { return *s.status.Load() }

// publish makes the newest status readable without a lock.
func (s *Site) publish(now time.Time) {
	s.mu.Lock()
	by := s.sum()
	jobs := s.o.Compute.Open()
	m := s.margins(now, by, jobs)
	load, source := s.load(s.root(), by, now)
	st := &Status{
		Name: s.o.Name, Demo: s.o.Demo, Speed: s.o.Speed, Now: now.UTC(), StartedAt: s.began.UTC(), Mode: s.o.Mode,
		LimitKW: s.limitAt(s.root(), now).KW(), ConnectionKW: s.root().spec.Limit.KW(),
		LoadKW: load.KW(), LoadSource: source, MiningKW: by.mining.KW(), AIKW: by.ai.KW(),
		OtherKW:        (load - by.mining - by.ai).KW(),
		PriceUSDPerMWh: m.price, HashpriceUSDPerPHDay: m.hashprice, HashratePHs: float64(by.hash) / 1000,
		MarginUSDPerHour: m.mining + m.ai, MiningMarginUSDHour: m.mining, AIMarginUSDHour: m.ai,
		Machines: map[string]int{}, Jobs: map[string]int{},
		Alarms: s.openAlarms(), Curtailments: []Curtailment{}, Plan: s.planInfo, Strikes: s.strikes(m.hashprice, jobs),
		Today: s.today.view(now), Reserves: m.reserves,
	}
	if s.o.Forecast != nil {
		f := s.o.Forecast(now)
		st.Forecast = &f
	}
	for _, n := range s.nodes {
		w, _ := s.load(n, by, now)
		st.Nodes = append(st.Nodes, Node{
			Name: n.spec.Name, Parent: n.spec.Parent,
			LimitKW: s.limitAt(n, now).KW(), LoadKW: w.KW(), Metered: n.spec.Meter != nil,
		})
	}
	st.Balance, st.Sensors = s.balances(now), s.sensorViews(now)
	for _, x := range s.miners {
		st.Machines[x.state(now, s.o.MaxReadingAge)]++
	}
	use := s.o.Compute.HostUse()
	for _, h := range s.hosts {
		for _, host := range h.spec.Hosts {
			st.Machines[s.hostState(host, use[host.Name])]++
			if host.GPUModel != "" {
				st.GPUs += host.Units
				st.GPUsBusy += use[host.Name].UnitsBusy
			}
		}
	}
	for state, n := range s.o.Compute.Counts() {
		st.Jobs[string(state)] = n
	}
	for _, f := range s.o.Feeds.Status(now) {
		note := f.Note
		if f.Error != "" {
			note = f.Error
		}
		st.Feeds = append(st.Feeds, Feed{
			Name: feedName(f), Value: f.Value, Unit: f.Unit, AsOf: f.AsOf,
			Origin: f.Origin, Stale: f.Stale, Note: note,
		})
		s.setAlarm(f.Stale, now, sluice.Warning, "feed-stale", feedName(f),
			"has no fresh value: "+firstOf(note, "last of "+f.AsOf.Format(time.RFC3339)), "its last value or the stated fallback is used meanwhile")
	}
	for _, c := range s.orders {
		st.Curtailments = append(st.Curtailments, c.view())
	}
	s.mu.Unlock()
	s.status.Store(st)
	s.events.send(Event{Kind: "status", Data: *st})
}

func feedName(f feed.Status) string {
	if f.Quantity == "" {
		return f.Name
	}
	return f.Name + "/" + string(f.Quantity)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (s *Site) hostState(h compute.Host, u compute.HostUse) string {
	switch p, pinned := s.pins[h.Name]; {
	case pinned && p.Mode == PinLocked:
		return StateLocked
	case u.Silent != "":
		return StateSilent
	case u.Fault != "":
		return StateFault
	case u.UnitsBusy > 0:
		return StateBusy
	}
	return StateIdle
}

// strikes is the merit order: for each class and mode the price above which its
// next kilowatt loses money, the cheapest to stop first, with the load that goes when
// the mode is given up for the one below it. The caller holds s.mu.
func (s *Site) strikes(hashprice float64, jobs []compute.Job) []Strike {
	var out []Strike
	for _, c := range s.classes {
		count := map[string]int{}
		load := make([]sluice.Watts, len(c.modes))
		for _, m := range c.miners {
			count[m.modelled()]++
			p, _ := m.power()
			for i := len(c.modes) - 1; i > 0; i-- {
				below := c.modes[i-1].Power
				if i == 1 {
					below = 0
				}
				if p > below {
					load[i] += p - below
					p = below
				}
			}
		}
		above := 0
		for i := len(c.modes) - 1; i > 0; i-- {
			above += count[c.modes[i].Name]
			out = append(out, Strike{
				Class: c.spec.Name, Division: sluice.Mining, Model: c.spec.Model, Mode: c.modes[i].Name,
				Units: len(c.miners), Running: above, KW: s.atMeter(load[i]).KW(), StrikeUSDPerMWh: s.strike(c, i, hashprice),
			})
		}
	}
	out = append(out, s.jobStrikes(jobs)...)
	sort.SliceStable(out, func(i, j int) bool { return out[i].StrikeUSDPerMWh < out[j].StrikeUSDPerMWh })
	return out
}

// strike is the price at which mode i of a class earns no more than the mode
// below it: the marginal J/TH counts, not the average.
func (s *Site) strike(c *class, i int, hashprice float64) float64 {
	dw := c.modes[i].Power - c.modes[i-1].Power
	dh := c.modes[i].HashRate - c.modes[i-1].HashRate
	if dw <= 0 || dh <= 0 {
		return 0
	}
	return sluice.Strike(sluice.HashpriceFromUSD(hashprice), s.o.PoolFee, float64(dw)/float64(dh), s.o.Overhead).USDPerMWh()
}

// jobStrikes sums up the jobs that run: per host class, firm and interruptible.
func (s *Site) jobStrikes(jobs []compute.Job) []Strike {
	type key struct {
		class string
		spot  bool
		rate  float64
	}
	sum := map[key]*Strike{}
	for _, j := range jobs {
		h := s.hostClassOf(j)
		if h == nil || (j.State != compute.Running && j.State != compute.Starting) {
			continue
		}
		k := key{j.Class, j.Interruptible, j.RateUSDHour}
		st := sum[k]
		if st == nil {
			st = &Strike{
				Class: j.Class, Division: sluice.AI, Model: h.spec.Model, Mode: sluice.ModeJob, Units: h.units,
				Interruptible: j.Interruptible, StrikeUSDPerMWh: s.jobStrike(j, h),
			}
			sum[k] = st
		}
		st.Running += j.Units
		st.KW += s.atMeter(h.perUnit()).KW() * float64(j.Units)
	}
	out := make([]Strike, 0, len(sum))
	for _, st := range sum {
		out = append(out, *st)
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Class != out[j].Class {
			return out[i].Class < out[j].Class
		}
		return out[i].StrikeUSDPerMWh < out[j].StrikeUSDPerMWh
	})
	return out
}

// jobStrike is the price above which a job's revenue no longer pays the energy
// that it adds.
// jobPower is what a job draws at the meter beyond the idle power of its hosts, less
// what a limit of power keeps off.
func (s *Site) jobPower(j compute.Job, h *hostClass) sluice.Watts {
	w := float64(s.atMeter(h.unitW)) * float64(j.Units)
	if j.PowerShare > 0 {
		w *= j.PowerShare
	}
	return sluice.Watts(w)
}

func (s *Site) jobStrike(j compute.Job, h *hostClass) float64 {
	kw := s.atMeter(h.unitW).KW()
	if kw <= 0 {
		return 0
	}
	return j.RateUSDHour / kw * 1000
}

// perUnit is what a unit in use draws with its share of the host's idle power.
func (h *hostClass) perUnit() sluice.Watts {
	if h.units == 0 {
		return 0
	}
	return h.unitW + h.idle/sluice.Watts(h.units)
}

// Decisions lists decisions newest first, those before the ID when it is not 0.
func (s *Site) Decisions(ctx context.Context, before int64, limit int) ([]Decision, error) {
	return s.o.Store.Decisions(ctx, before, limit)
}

// Decision returns one decision.
func (s *Site) Decision(ctx context.Context, id int64) (Decision, error) {
	return s.o.Store.Decision(ctx, id)
}

// Alarms lists alarms newest first; open ones only unless all is set.
func (s *Site) Alarms(ctx context.Context, all bool, before int64, limit int) ([]Alarm, error) {
	if !all {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.openAlarms(), nil
	}
	return s.o.Store.Alarms(ctx, all, before, limit)
}

// History returns samples of [from, to), thinned to at most points.
func (s *Site) History(ctx context.Context, from, to time.Time, points int) ([]Sample, error) {
	return s.o.Store.Samples(ctx, from, to, points)
}
