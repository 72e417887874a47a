package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice"
	"sluice/compute/idle"
	"sluice/config"
	"sluice/fabric"
	"sluice/feed"
	"sluice/server"
)

// newIdleMiner returns what makes the controller of a host's miner in a data folder;
// nil where idle GPUs stand still.
// overhead is the site's power for each unit of a host's.
func newIdleMiner(m config.IdleMining, overhead float64, g *hostGPUs) (func(dir string) (*idle.Controller, error), error) {
	if m.Driver == "" {
		return nil, nil
	}
	cfg, err := idleConfig(m, overhead)
	if err != nil {
		return nil, err
	}
	cfg.GPUs = g
	for _, u := range g.units {
		cfg.Only = append(cfg.Only, u.Index)
	}
	return func(dir string) (*idle.Controller, error) {
		cfg.Dir = filepath.Join(dir, "idle-miner")
		return idle.New(context.Background(), cfg)
	}, nil
}

// idleConfig is what a configuration says of mining on idle GPUs.
func idleConfig(m config.IdleMining, overhead float64) (idle.Config, error) {
	token := ""
	if m.TokenFile != "" {
		var err error
		if token, err = server.ReadToken(m.TokenFile); err != nil {
			return idle.Config{}, err
		}
	}
	cfg := idle.Config{
		Command: m.Command,
		Rig:     idle.Rig{MHs: m.Hashrate, Power: sluice.Watts(m.Power)},
		Terms: idle.Terms{
			Fee: float64(m.Fee), Overhead: overhead, Margin: float64(m.Margin), MaxAge: m.MaxAge.Duration(),
			MinOn: m.MinOn.Duration(), MinOff: m.MinOff.Duration(),
		},
		Value: func(time.Time) (idle.Value, error) { return idleValue(m) },
	}
	var err error
	switch m.Driver {
	case "xmrig":
		cfg.Miner, err = idle.NewXMRig(m.URL, token)
	case "trex":
		cfg.Miner, err = idle.NewTRex(m.URL, token)
	case "lolminer":
		cfg.Miner, err = idle.NewLolMiner(m.URL)
	default:
		err = sluice.Errorf(sluice.Invalid, "xmrig, trex or lolminer", "no miner is called %q", m.Driver)
	}
	return cfg, err
}

// maxValues bounds a file of values.
const maxValues = 1 << 20

// idleValue is what the configuration, or its file, says that hashing earns.
func idleValue(m config.IdleMining) (idle.Value, error) {
	if m.Values == "" {
		at, err := time.Parse(time.DateOnly, m.AsOf)
		return idle.Value{Algorithm: m.Algorithm, USDPerDay: m.Value, AsOf: at}, err
	}
	f, err := os.Open(m.Values)
	if err != nil {
		return idle.Value{}, sluice.Errorf(sluice.Unavailable, "look at values_file", "%v", rootCause(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxValues))
	if err != nil {
		return idle.Value{}, fmt.Errorf("read %s: %w", m.Values, err)
	}
	var all map[string]idle.Value
	if err := json.Unmarshal(b, &all); err != nil {
		return idle.Value{}, sluice.Errorf(sluice.Invalid, `write {"kawpow": {"usd_per_mh_day": 0.004, "as_of": "2026-03-01T12:00:00Z"}}`, "%s: %v", m.Values, err)
	}
	v, ok := all[m.Algorithm]
	if !ok {
		return idle.Value{}, sluice.Errorf(sluice.NotFound, "", "%s does not know %s", m.Values, m.Algorithm)
	}
	v.Algorithm = m.Algorithm
	return v, nil
}

// powerPrice is the price in force at the meter in USD, nil where none is known
// that is fresh.
func powerPrice(b *feed.Book, usdPer float64, now time.Time) *sluice.EnergyPrice {
	for _, q := range []feed.Quantity{feed.RealTimePrice, feed.DayAheadPrice} {
		if v := b.At(q, now); v.Known && !v.Stale {
			p := sluice.EnergyPriceOf(v.Value * usdPer)
			return &p
		}
	}
	return nil
}

// How often idle GPUs are judged, and how often a limit of the site is looked at.
const (
	idleEvery  = 15 * time.Second
	limitEvery = time.Second
)

// sparePower is what is known at an instant of the power that idle GPUs could have: its
// price, nil where that is not known, and whether nobody else should have it.
type sparePower func(now time.Time) (price *sluice.EnergyPrice, spare bool)

// mineIdle judges the GPUs that no job has, and lets those mine that pay, where act says
// that Sluice may act on the host. Where there is no power to spare nothing mines: what
// mines here earns least.
func mineIdle(ctx context.Context, g *hostGPUs, act bool, clock func() time.Time, power sparePower, log *slog.Logger) {
	defer func() {
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if act {
			if err := g.miner.Close(bound); err != nil {
				log.Error("the miner on idle GPUs was not stopped", "err", err)
			}
		}
	}()
	var last time.Time
	spare := true
	said := map[int]string{}
	every(ctx, limitEvery, func() {
		now := clock()
		was := spare
		var price *sluice.EnergyPrice
		price, spare = power(now)
		if time.Since(last) < idleEvery && spare == was {
			return
		}
		last = time.Now()
		free := g.freeUnits()
		if !spare {
			free = nil
		}
		verdicts, err := g.miner.Step(ctx, now, free, price, act)
		if err != nil && ctx.Err() == nil {
			log.Error("mining on idle GPUs", "err", err)
		}
		for _, v := range verdicts {
			if mark := fmt.Sprint(v.Mine, v.Known); said[v.GPU] != mark {
				said[v.GPU] = mark
				log.Info("idle GPU", "gpu", v.GPU, "mine", v.Mine, "why", v.Why)
			}
		}
	})
}

// sparePower is the site's own.
func (r *running) sparePower(now time.Time) (*sluice.EnergyPrice, bool) {
	st := r.site.Status()
	return powerPrice(r.parts.options.Feeds, r.parts.usdPer, now), roomToMine(&st)
}

// tellPower keeps what the hosts that join are told of power, until ctx ends.
func (j *joined) tellPower(ctx context.Context, r *running, overhead float64, act func(class string) bool) {
	every(ctx, limitEvery, func() {
		price, spare := r.sparePower(r.parts.clock.Now())
		told := map[string]*fabric.Power{}
		for name, h := range j.want {
			p := &fabric.Power{Spare: spare && act(first(h.Class, h.Name))}
			if price != nil {
				usd := price.USDPerMWh() * overhead
				p.USDPerMWh = &usd
			}
			told[name] = p
		}
		j.power.Store(&told)
	})
}

// powerFor is what a host is told.
func (j *joined) powerFor(host string) *fabric.Power {
	if told := j.power.Load(); told != nil {
		return (*told)[host]
	}
	return nil
}

// heardPower is what an agent has heard of power. What is old does not count: a site that
// is not heard may be short of it.
type heardPower struct {
	mu    sync.Mutex
	power fabric.Power
	at    time.Time
}

const heardFor = 10 * time.Second

func (h *heardPower) hear(p fabric.Power) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.power, h.at = p, time.Now()
}

func (h *heardPower) spare(time.Time) (price *sluice.EnergyPrice, spare bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at.IsZero() || time.Since(h.at) > heardFor {
		return nil, false
	}
	if h.power.USDPerMWh != nil {
		p := sluice.EnergyPriceOf(*h.power.USDPerMWh)
		price = &p
	}
	return price, h.power.Spare
}
