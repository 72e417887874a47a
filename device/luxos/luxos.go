// Package luxos drives machines with LuxOS firmware over its cgminer-like TCP
// API: reads need no rights, writes need a session of which a machine has one
// at a time. Sleep is `curtail sleep` (control board on, about 25 W) and
// survives a reboot; operating points are the firmware's profiles.
package luxos

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/cgminer"
)

// Miner is one machine. It keeps no connection between calls.
type Miner struct {
	api  cgminer.Client
	turn chan struct{} // held by the one writer: the machine has one session
	// The session that is open, "" for none, and when it was used. The turn guards them.
	open string
	used time.Time
}

var (
	_ device.Miner    = (*Miner)(nil)
	_ device.Profiler = (*Miner)(nil)
	_ device.Finisher = (*Miner)(nil)
)

// New returns the driver for the machine at the address; only Host and APIPort
// are used (the API has no credentials).
func New(a device.Address) *Miner {
	return &Miner{api: cgminer.Client{Addr: a.API(cgminer.Port)}, turn: make(chan struct{}, 1)}
}

// prior is what Set restores.
type prior struct {
	Profile string `json:"profile"`
	Curtail string `json:"curtail"` // as the firmware spells it
}

// sections of the one joined command that a Read sends.
var sections = []string{"summary", "power", "config", "temps"}

// Read asks in one connection. Power is the firmware's figure (its PSU's, or an
// estimate where the PSU does not report). At is left for the caller, who knows
// the site's time.
func (m *Miner) Read(ctx context.Context) (sluice.Reading, error) {
	parts := make(map[string]cgminer.Reply, len(sections))
	all, err := m.api.Call(ctx, cgminer.Request{Command: strings.Join(sections, "+")})
	if err != nil && !refused(err) {
		return sluice.Reading{}, err
	}
	for _, name := range sections {
		if p, no := all.Part(name); no == nil && p != nil {
			parts[name] = p
		}
	}
	if parts["config"] == nil { // old firmware takes one command at a time
		for _, name := range sections {
			p, err := m.api.Call(ctx, cgminer.Request{Command: name})
			if err != nil && !refused(err) {
				return sluice.Reading{}, err
			}
			parts[name] = p
		}
	}
	return reading(parts)
}

func reading(parts map[string]cgminer.Reply) (sluice.Reading, error) {
	var r sluice.Reading
	cfg, ok := parts["config"].First("CONFIG")
	if !ok {
		return r, &sluice.Error{
			Kind: sluice.Unavailable, Msg: "reading LuxOS: the reply has no CONFIG",
			Hint: "is this machine running LuxOS?",
		}
	}
	r.Mode, r.Model = mode(cfg), cfg.String("Model")
	if s, ok := parts["summary"].First("SUMMARY"); ok {
		r.HashRate, r.HasHashRate = s.HashRateGHs("GHS 5s")
		if up, ok := s.Float("Elapsed"); ok && up >= 0 && up < 1e9 {
			r.Uptime = time.Duration(up) * time.Second
		}
	}
	if st, ok := parts["summary"].First("STATUS"); ok {
		r.Firmware = st.String("Description")
	}
	if p, ok := parts["power"].First("POWER"); ok {
		if w, ok := p.Float("Watts"); ok && w >= 0 && w < 1e6 {
			r.Power, r.HasPower, r.PowerSource = sluice.Watts(w+0.5), true, sluice.SourceDevice
		}
	}
	for _, t := range parts["temps"].Section("TEMPS") {
		for _, corner := range []string{"TopLeft", "TopRight", "BottomLeft", "BottomRight"} {
			if c, ok := t.Float(corner); ok && c > r.TempC && c < 200 {
				r.TempC, r.HasTemp = c, true
			}
		}
	}
	if s := cfg.String("SystemStatus"); s != "" && !strings.EqualFold(s, "Normal") {
		r.Errors = append(r.Errors, "system status "+s)
	}
	return r, nil
}

// mode of a CONFIG section.
func mode(cfg cgminer.Fields) string {
	if strings.EqualFold(cfg.String("CurtailMode"), "sleep") {
		return sluice.ModeSleep
	}
	if p := cfg.String("Profile"); p != "" {
		return p
	}
	return sluice.ModeMine
}

func (m *Miner) config(ctx context.Context) (cgminer.Fields, error) {
	r, err := m.api.Call(ctx, cgminer.Request{Command: "config"})
	if err != nil {
		return nil, err
	}
	cfg, ok := r.First("CONFIG")
	if !ok {
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "reading the configuration of " + m.api.Addr + ": the reply has no CONFIG"}
	}
	return cfg, nil
}

// Prior is the profile and the state of curtailment.
func (m *Miner) Prior(ctx context.Context) (device.Prior, error) {
	cfg, err := m.config(ctx)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(prior{Profile: cfg.String("Profile"), Curtail: cfg.String("CurtailMode")})
	return device.Prior(b), err
}

// Profiles lists the firmware's operating points by rising power.
func (m *Miner) Profiles(ctx context.Context) ([]sluice.Mode, error) {
	r, err := m.api.Call(ctx, cgminer.Request{Command: "profiles"})
	if err != nil {
		return nil, err
	}
	var out []sluice.Mode
	for _, p := range r.Section("PROFILES") {
		name := p.String("Profile Name")
		w, okW := p.Float("Watts")
		h, okH := p.Float("Hashrate") // TH/s
		if name == "" || !okW || !okH || w <= 0 || w > 1e6 || h < 0 {
			continue
		}
		out = append(out, sluice.Mode{Name: name, Power: sluice.Watts(w + 0.5), HashRate: sluice.HashRate(h)})
	}
	if len(out) == 0 {
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "reading the profiles of " + m.api.Addr + ": none in the reply"}
	}
	slices.SortStableFunc(out, func(a, b sluice.Mode) int { return int(a.Power - b.Power) })
	return out, nil
}

func refused(err error) bool {
	var no *device.RefusedError
	return errors.As(err, &no)
}
