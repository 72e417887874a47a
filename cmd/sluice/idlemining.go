package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sluice"
	"sluice/compute/idle"
	"sluice/config"
	"sluice/feed"
	"sluice/server"
)

// newIdleMiner returns what makes the controller of a host's miner in a data folder;
// nil where idle GPUs stand still.
func newIdleMiner(m config.IdleMining, s config.Site, g *hostGPUs) (func(dir string) (*idle.Controller, error), error) {
	if m.Driver == "" {
		return nil, nil
	}
	cfg, err := idleConfig(m, s)
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
func idleConfig(m config.IdleMining, s config.Site) (idle.Config, error) {
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
			Fee: float64(m.Fee), Overhead: s.Overhead, Margin: float64(m.Margin), MaxAge: m.MaxAge.Duration(),
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

// mineIdle judges the GPUs that no job has, and lets those mine that pay, where the
// operator lets Sluice act on the host. Under a limit of the site nothing mines: what
// mines here earns least.
func mineIdle(ctx context.Context, r *running, g *hostGPUs, act bool) {
	defer func() {
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if act {
			if err := g.miner.Close(bound); err != nil {
				r.log.Error("the miner on idle GPUs was not stopped", "err", err)
			}
		}
	}()
	var last time.Time
	limited := false
	said := map[int]string{}
	every(ctx, limitEvery, func() {
		now := r.parts.clock.Now()
		was := limited
		st := r.site.Status()
		limited = !roomToMine(&st)
		if time.Since(last) < idleEvery && limited == was {
			return
		}
		last = time.Now()
		free := g.freeUnits()
		if limited {
			free = nil
		}
		verdicts, err := g.miner.Step(ctx, now, free, powerPrice(r.parts.options.Feeds, r.parts.usdPer, now), act)
		if err != nil && ctx.Err() == nil {
			r.log.Error("mining on idle GPUs", "err", err)
		}
		for _, v := range verdicts {
			if mark := fmt.Sprint(v.Mine, v.Known); said[v.GPU] != mark {
				said[v.GPU] = mark
				r.log.Info("idle GPU", "gpu", v.GPU, "mine", v.Mine, "why", v.Why)
			}
		}
	})
}
