package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"sluice/broker"
	"sluice/site"
)

// glance is the site at a glance, as it is published under PREFIX/status.
type glance struct {
	Now            time.Time `json:"now"`
	Mode           string    `json:"mode"`
	LoadKW         float64   `json:"load_kw"`
	LoadSource     string    `json:"load_source"`
	LimitKW        float64   `json:"limit_kw"`
	ConnectionKW   float64   `json:"connection_kw"`
	MiningKW       float64   `json:"mining_kw"`
	AIKW           float64   `json:"ai_kw"`
	OtherKW        float64   `json:"other_kw"`
	HashratePHs    float64   `json:"hashrate_ph_s"`
	PriceUSDPerMWh float64   `json:"price_usd_per_mwh"`
	OpenAlarms     int       `json:"open_alarms"`
}

// announce tells the site's state under the prefix until ctx ends: status, alarms,
// curtailments, nodes/NAME and balance/NAME, each as JSON that the broker keeps. A
// broker that is not there is told of once, and again when it is back.
func announce(ctx context.Context, b *broker.Conn, prefix string, period time.Duration, status func() site.Status, log *slog.Logger) {
	down := false
	every(ctx, period, func() {
		ctx, cancel := context.WithTimeout(ctx, period)
		defer cancel()
		err := tell(ctx, b, prefix, status())
		if err != nil && !down {
			log.Warn("readings are not published", "err", err)
		} else if err == nil && down {
			log.Info("readings are published again")
		}
		down = err != nil
	})
}

// tell publishes one state.
func tell(ctx context.Context, b *broker.Conn, prefix string, st site.Status) error {
	var errs []error
	say := func(topic string, v any) {
		if len(errs) > 0 {
			return // the broker is not there: one error is enough
		}
		data, err := json.Marshal(v)
		if err == nil {
			err = b.Publish(ctx, prefix+"/"+topic, data)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	say("status", glance{
		Now: st.Now, Mode: st.Mode, LoadKW: st.LoadKW, LoadSource: string(st.LoadSource), LimitKW: st.LimitKW, ConnectionKW: st.ConnectionKW,
		MiningKW: st.MiningKW, AIKW: st.AIKW, OtherKW: st.OtherKW, HashratePHs: st.HashratePHs, PriceUSDPerMWh: st.PriceUSDPerMWh, OpenAlarms: len(st.Alarms),
	})
	say("alarms", st.Alarms)
	say("curtailments", st.Curtailments)
	for _, n := range st.Nodes {
		say("nodes/"+n.Name, n)
	}
	for _, x := range st.Balance {
		say("balance/"+x.Node, x)
	}
	return errors.Join(errs...)
}
