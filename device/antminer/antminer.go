// Package antminer drives Antminers with Bitmain's stock firmware: state comes
// over the cgminer TCP API, changes go over the HTTP CGI interface with digest
// authentication. The firmware has no profiles: a machine sleeps or mines.
//
// What a sleeping machine does differs by firmware: newer ones say so in
// `stats`, others answer with no hashrate, others close the API. The
// configuration decides in the last two cases; a machine that stands still for
// another reason is never taken for one that sleeps.
package antminer

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/cgminer"
)

// WebPort is the usual port of the HTTP interface.
const WebPort = 80

// DefaultTimeout bounds a Set whose context has no deadline: the firmware may
// take 21 s to answer.
const DefaultTimeout = 35 * time.Second

// Factory credentials, taken where the address has none.
const factoryUser, factoryPassword = "root", "root"

// Miner is one machine. It keeps no connection between calls.
type Miner struct {
	api  cgminer.Client
	web  *web
	turn chan struct{} // held by the one writer: reading and posting the configuration is one act

	asked    atomic.Bool // whether the firmware's version was asked for
	firmware atomic.Pointer[string]
}

var _ device.Miner = (*Miner)(nil)

// New returns the driver for the machine at the address.
func New(a device.Address) *Miner {
	user, password := a.User, a.Password
	if user == "" {
		user, password = factoryUser, factoryPassword
	}
	return &Miner{
		api:  cgminer.Client{Addr: a.API(cgminer.Port)},
		web:  &web{addr: a.Web(WebPort), user: user, password: password},
		turn: make(chan struct{}, 1),
	}
}

// Read asks the API in one connection, and the configuration in a second one
// only where nothing hashes (and once, the first time, for the version). Power is there only where the firmware reports it.
// At is left for the caller, who knows the site's time.
func (m *Miner) Read(ctx context.Context) (sluice.Reading, error) {
	reply, err := m.api.Call(ctx, cgminer.Request{Command: "stats", NewAPI: true})
	closed := err != nil && cgminer.Silent(err)
	if err != nil && !closed {
		return sluice.Reading{}, err
	}
	var r sluice.Reading
	known := false
	if !closed {
		if r, known, err = reading(reply); err != nil {
			return r, err
		}
	}
	if !closed {
		m.version(ctx, &r)
	}
	if known || r.HashRate > 0 {
		return r, nil
	}
	v := m.web.visit()
	defer v.close()
	c, cerr := v.conf(ctx)
	switch {
	case cerr != nil && closed:
		return sluice.Reading{}, errors.Join(err, cerr)
	case cerr != nil && ctx.Err() != nil:
		return sluice.Reading{}, cerr
	case cerr != nil:
		// It does not hash and will not say why: that is not sleep.
		r.Errors = append(r.Errors, "the configuration cannot be read: "+cerr.Error())
	case c.mode() == workSleep:
		r.Mode = sluice.ModeSleep
		r.HashRate, r.HasHashRate = 0, true
	default:
		r.Mode = sluice.ModeMine
		if closed {
			r.Errors = append(r.Errors, "the mining program does not answer")
		}
	}
	return r, nil
}

// versionTimeout is the most of a Read's time that the version may take.
const versionTimeout = 2 * time.Second

// version puts the firmware's version in place of the mining program's. Only
// the web interface has it, so it is asked for once in a driver's life; that
// also leaves an authentication challenge for the first Set to answer.
func (m *Miner) version(ctx context.Context, r *sluice.Reading) {
	if !m.asked.Swap(true) {
		ctx, cancel := context.WithTimeout(ctx, versionTimeout)
		defer cancel()
		v := m.web.visit()
		defer v.close()
		var info struct {
			Version string `json:"system_filesystem_version"`
		}
		if b, err := v.do(ctx, http.MethodGet, "/cgi-bin/get_system_info.cgi", nil); err == nil &&
			json.Unmarshal(b, &info) == nil && info.Version != "" {
			m.firmware.Store(&info.Version)
		}
	}
	if s := m.firmware.Load(); s != nil {
		r.Firmware = *s
	}
}

// reading parses both forms of `stats`; known says that the reply itself tells
// the mode.
func reading(reply cgminer.Reply) (r sluice.Reading, known bool, err error) {
	s, ok := aggregate(reply.Section("STATS"))
	if !ok {
		return r, false, &sluice.Error{
			Kind: sluice.Unavailable, Msg: "reading Antminer stats: the reply has no hashrate",
			Hint: "is this machine running stock firmware?",
		}
	}
	r.Mode = sluice.ModeMine
	if r.HashRate, r.HasHashRate = s.HashRateGHs("GHS 5s"); !r.HasHashRate {
		r.HashRate, r.HasHashRate = rate(s)
	}
	for _, key := range []string{"Elapsed", "elapsed"} {
		if up, ok := s.Float(key); ok && up >= 0 && up < 1e9 {
			r.Uptime = time.Duration(up) * time.Second
		}
	}
	for _, key := range []string{"watt", "power", "Power", "chain_power"} {
		if w, ok := s.Float(key); ok && w > 0 && w < 1e6 {
			r.Power, r.HasPower, r.PowerSource = sluice.Watts(w+0.5), true, sluice.SourceDevice
			break
		}
	}
	r.TempC, r.HasTemp = hottest(s)
	for _, head := range append(reply.Section("STATS"), reply.Section("INFO")...) {
		for _, key := range []string{"Type", "type"} {
			if t := head.String(key); t != "" {
				r.Model, r.Firmware = t, head.String("CompileTime")
			}
		}
	}
	if mode, ok := s.Float(keyMiner); ok {
		known = true
		// Ordered to sleep, but hashing still: not there yet.
		if mode == 1 && r.HashRate == 0 {
			r.Mode = sluice.ModeSleep
		}
	}
	return r, known, nil
}

// aggregate finds the object with the machine's figures: the second of the old
// form, the only one of the new, and of some firmwares merged with the head.
func aggregate(stats []cgminer.Fields) (cgminer.Fields, bool) {
	for _, s := range stats {
		for _, key := range []string{"GHS 5s", "rate_5s", "GHS av", "rate_avg"} {
			if _, ok := s[key]; ok {
				return s, true
			}
		}
	}
	return nil, false
}

// rate reads the new form, whose unit stands beside it.
func rate(s cgminer.Fields) (sluice.HashRate, bool) {
	x, ok := s.Float("rate_5s")
	if !ok || x < 0 {
		return 0, false
	}
	switch unit := strings.ToUpper(s.String("rate_unit")); {
	case strings.HasPrefix(unit, "M"):
		return sluice.HashRate(x / 1e6), true
	case strings.HasPrefix(unit, "T"):
		return sluice.HashRate(x), true
	case unit == "" || strings.HasPrefix(unit, "G"):
		return sluice.HashRate(x / 1000), true
	}
	return 0, false
}

// hottest returns the highest chip temperature of all boards.
func hottest(s cgminer.Fields) (float64, bool) {
	top := 0.0
	take := func(temps []float64) {
		for _, t := range temps {
			if t > top && t < 200 {
				top = t
			}
		}
	}
	for _, n := range []string{"1", "2", "3", "4"} {
		take(s.Numbers("temp_chip" + n))
		take(s.Numbers("temp2_" + n)) // the chips' on older machines
	}
	for _, board := range cgminer.Reply(s).Section("chain") {
		take(board.Numbers("temp_chip"))
	}
	return top, top > 0
}

// Prior is the whole configuration, as the machine gives it.
func (m *Miner) Prior(ctx context.Context) (device.Prior, error) {
	v := m.web.visit()
	defer v.close()
	c, err := v.conf(ctx)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(c)
	return device.Prior(b), err
}

// Set posts the whole configuration with another mode. ModeMine returns to the
// prior's mode (normal without one) and puts back pools that were lost. Waking
// what is awake is not sent, because the firmware restarts at each post.
func (m *Miner) Set(ctx context.Context, mode string, prior device.Prior) (sluice.Outcome, error) {
	if mode != sluice.ModeSleep && mode != sluice.ModeMine {
		return sluice.Refused, &sluice.Error{
			Kind: sluice.Invalid, Msg: "setting " + m.web.addr,
			Cause: &device.RefusedError{Why: "stock firmware has no mode " + mode},
		}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return sluice.Unknown, &sluice.Error{
			Kind: sluice.Unavailable,
			Msg:  "setting " + m.web.addr + ": an earlier command has not ended", Cause: ctx.Err(),
		}
	}
	err := m.set(ctx, mode, prior)
	var no *device.RefusedError
	switch {
	case err == nil:
		return sluice.Accepted, nil
	case errors.As(err, &no):
		return sluice.Refused, err
	}
	return sluice.Unknown, err
}

func (m *Miner) set(ctx context.Context, mode string, prior device.Prior) error {
	v := m.web.visit()
	defer v.close()
	now, err := v.conf(ctx)
	if err != nil {
		return err
	}
	if !now.canSleep() {
		return &sluice.Error{
			Kind: sluice.Conflict, Msg: "setting " + m.web.addr,
			Cause: &device.RefusedError{Why: "this firmware has no sleep mode"},
		}
	}
	if mode == sluice.ModeSleep {
		return v.post(ctx, now.with(workSleep))
	}
	want, lost := workNormal, false
	if len(prior) > 0 {
		was, err := parseConf(prior)
		if err != nil {
			return &sluice.Error{Kind: sluice.Invalid, Msg: "reading the prior configuration of " + m.web.addr, Cause: err}
		}
		if d := was.mode(); d != "" && d != workSleep {
			want = d
		}
		now, lost = now.restored(was)
	}
	if now.mode() == want && !lost {
		return nil
	}
	return v.post(ctx, now.with(want))
}
