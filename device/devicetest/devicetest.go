// Package devicetest owns the conformance suite of miner drivers: what the
// controller may rely on, whatever the firmware. Drivers run it against a
// machine behind a real socket, with a Wire in between that can spoil replies.
package devicetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sluice"
	"sluice/device"
)

// Device is a driver with control over the far side. The machine is awake, in
// the mode it mines in by itself, and changes at once.
type Device struct {
	Miner device.Miner
	// Again returns another driver for the same machine, as after a restart.
	Again func() device.Miner
	Wire  *Wire
	// Profile is an operating point below the machine's own, "" where the
	// firmware has none.
	Profile string
	// Power is the true power at the plug.
	Power func() sluice.Watts
	// Pools is what the machine holds now, in any comparable form; nil where
	// the firmware's writes cannot touch pools.
	Pools func() string
	// The machine refuses commands, accepts and ignores them, loses its pools
	// when it goes to sleep (nil where Pools is), or behaves.
	Refuse, Ignore, ForgetPools, Behave func()
}

// long bounds what must succeed.
const long = 90 * time.Second

// Run runs the suite. open makes a fresh device for each test.
func Run(t *testing.T, open func(t *testing.T) Device) {
	for name, test := range map[string]func(*testing.T, context.Context, Device){
		"reads a machine that is awake":          awake,
		"sleeps and wakes to its prior state":    sleepWake,
		"wakes from a prior of an earlier run":   earlierPrior,
		"sets the same mode twice":               idempotent,
		"changes profiles":                       profiles,
		"refuses a profile that is not there":    unknownProfile,
		"passes on a refusal":                    refusal,
		"does not report what was ignored":       ignored,
		"puts back pools that were lost":         lostPools,
		"a silent machine costs its deadline":    silent,
		"a silent write has an unknown outcome":  silentWrite,
		"a lost reply has an unknown outcome":    lostReply,
		"waits for a slow reply":                 slow,
		"takes no part of a truncated reply":     truncated,
		"cuts an oversized reply":                oversized,
		"ends with a cancelled context":          cancelled,
		"does nothing with an ended context":     ended,
		"reports a machine that is not there":    absent,
		"serves several goroutines":              concurrent,
		"a blocked write leaves others deadline": blockedWrite,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of them wait
			d := open(t)
			ctx, cancel := context.WithTimeout(context.Background(), long)
			defer cancel()
			test(t, ctx, d)
		})
	}
}

func read(t *testing.T, ctx context.Context, m device.Miner) sluice.Reading {
	t.Helper()
	r, err := m.Read(ctx)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return r
}

func set(t *testing.T, ctx context.Context, m device.Miner, mode string, p device.Prior) {
	t.Helper()
	o, err := m.Set(ctx, mode, p)
	if f, ok := m.(device.Finisher); ok {
		f.Finish(ctx)
	}
	if err != nil || o != sluice.Accepted {
		t.Fatalf("Set(%q) = %q, %v; want accepted", mode, o, err)
	}
}

func prior(t *testing.T, ctx context.Context, m device.Miner) device.Prior {
	t.Helper()
	p, err := m.Prior(ctx)
	if err != nil || len(p) == 0 {
		t.Fatalf("Prior = %d bytes, %v", len(p), err)
	}
	return p
}

// stands checks that a reading is that of a machine that stands still.
func stands(t *testing.T, r sluice.Reading, d Device, before sluice.Watts) {
	t.Helper()
	if r.Mode != sluice.ModeSleep {
		t.Errorf("Mode = %q, want sleep", r.Mode)
	}
	if r.HasHashRate && r.HashRate != 0 {
		t.Errorf("HashRate = %v in sleep", r.HashRate)
	}
	if p := d.Power(); p > before/10 {
		t.Errorf("the machine draws %v in sleep, %v before", p, before)
	}
	if r.HasPower && r.Power > before/10 {
		t.Errorf("reads %v in sleep, %v before", r.Power, before)
	}
}

func awake(t *testing.T, ctx context.Context, d Device) {
	r := read(t, ctx, d.Miner)
	if r.Mode == sluice.ModeSleep || r.Mode == "" {
		t.Errorf("Mode = %q", r.Mode)
	}
	if !r.HasHashRate || r.HashRate <= 0 || r.HashRate > 2000 {
		t.Errorf("HashRate = %v TH/s (known: %v)", r.HashRate, r.HasHashRate)
	}
	if r.HasPower {
		if want := d.Power(); r.Power < want*9/10 || r.Power > want*11/10 {
			t.Errorf("Power = %v, at the plug %v", r.Power, want)
		}
		if r.PowerSource != sluice.SourceDevice {
			t.Errorf("PowerSource = %q", r.PowerSource)
		}
	} else if r.Power != 0 || r.PowerSource != "" {
		t.Errorf("Power = %v from %q without HasPower", r.Power, r.PowerSource)
	}
	if r.Model == "" {
		t.Error("no model")
	}
}

func sleepWake(t *testing.T, ctx context.Context, d Device) {
	before, watts := read(t, ctx, d.Miner), d.Power()
	pools := d.pools()
	p := prior(t, ctx, d.Miner)
	set(t, ctx, d.Miner, sluice.ModeSleep, p)
	stands(t, read(t, ctx, d.Miner), d, watts)
	if got := d.pools(); got != pools {
		t.Errorf("pools in sleep %s\nbefore %s", got, pools)
	}
	set(t, ctx, d.Miner, sluice.ModeMine, p)
	after := read(t, ctx, d.Miner)
	if after.Mode != before.Mode || !after.HasHashRate || after.HashRate < before.HashRate*0.9 {
		t.Errorf("woke to %q at %v TH/s, was %q at %v", after.Mode, after.HashRate, before.Mode, before.HashRate)
	}
	if got := d.Power(); got < watts*9/10 {
		t.Errorf("draws %v awake, %v before", got, watts)
	}
	if got := d.pools(); got != pools {
		t.Errorf("pools after the wake %s\nbefore %s", got, pools)
	}
}

func (d Device) pools() string {
	if d.Pools == nil {
		return ""
	}
	return d.Pools()
}

func earlierPrior(t *testing.T, ctx context.Context, d Device) {
	before := read(t, ctx, d.Miner)
	p := prior(t, ctx, d.Miner)
	set(t, ctx, d.Miner, sluice.ModeSleep, p)
	later := d.Again()
	set(t, ctx, later, sluice.ModeMine, p)
	if r := read(t, ctx, later); r.Mode != before.Mode {
		t.Errorf("woke to %q, was %q", r.Mode, before.Mode)
	}
	// Without a prior a machine still wakes.
	set(t, ctx, later, sluice.ModeSleep, nil)
	set(t, ctx, later, sluice.ModeMine, nil)
	if r := read(t, ctx, later); r.Mode == sluice.ModeSleep {
		t.Error("does not wake without a prior")
	}
}

func idempotent(t *testing.T, ctx context.Context, d Device) {
	before, watts := read(t, ctx, d.Miner), d.Power()
	p := prior(t, ctx, d.Miner)
	set(t, ctx, d.Miner, sluice.ModeMine, p)
	if r := read(t, ctx, d.Miner); r.Mode != before.Mode || r.HashRate < before.HashRate*0.9 {
		t.Errorf("waking a machine that is awake: %q at %v TH/s, was %q at %v", r.Mode, r.HashRate, before.Mode, before.HashRate)
	}
	for range 2 {
		set(t, ctx, d.Miner, sluice.ModeSleep, p)
		stands(t, read(t, ctx, d.Miner), d, watts)
	}
	for range 2 {
		set(t, ctx, d.Miner, sluice.ModeMine, p)
		if r := read(t, ctx, d.Miner); r.Mode != before.Mode {
			t.Errorf("woke to %q, was %q", r.Mode, before.Mode)
		}
	}
}

func profiles(t *testing.T, ctx context.Context, d Device) {
	pr, ok := d.Miner.(device.Profiler)
	if !ok {
		if d.Profile != "" {
			t.Fatal("a device with profiles must be a device.Profiler")
		}
		return
	}
	list, err := pr.Profiles(ctx)
	if err != nil || len(list) == 0 {
		t.Fatalf("Profiles = %d, %v", len(list), err)
	}
	seen := map[string]bool{}
	for i, m := range list {
		if m.Name == "" || m.Name == sluice.ModeSleep || seen[m.Name] || m.Power <= 0 || m.HashRate <= 0 {
			t.Errorf("profile %+v", m)
		}
		if i > 0 && m.Power < list[i-1].Power {
			t.Errorf("profiles are not by rising power: %v after %v", m, list[i-1])
		}
		seen[m.Name] = true
	}
	before, watts := read(t, ctx, d.Miner), d.Power()
	p := prior(t, ctx, d.Miner)
	set(t, ctx, d.Miner, d.Profile, p)
	if r := read(t, ctx, d.Miner); r.Mode != d.Profile || d.Power() >= watts {
		t.Errorf("mode %q with %v, want %q below %v", r.Mode, d.Power(), d.Profile, watts)
	}
	set(t, ctx, d.Miner, sluice.ModeSleep, p)
	set(t, ctx, d.Miner, d.Profile, p) // from sleep into a profile
	if r := read(t, ctx, d.Miner); r.Mode != d.Profile {
		t.Errorf("mode %q, want %q", r.Mode, d.Profile)
	}
	set(t, ctx, d.Miner, sluice.ModeSleep, p)
	set(t, ctx, d.Miner, sluice.ModeMine, p) // and back to its own
	if r := read(t, ctx, d.Miner); r.Mode != before.Mode {
		t.Errorf("mode %q, want %q", r.Mode, before.Mode)
	}
}

func isRefused(err error) bool {
	var no *device.RefusedError
	return errors.As(err, &no) && no.Why != ""
}

func unknownProfile(t *testing.T, ctx context.Context, d Device) {
	before := read(t, ctx, d.Miner)
	for _, mode := range []string{"no-such-profile", "a,b", ""} {
		if o, err := d.Miner.Set(ctx, mode, nil); o != sluice.Refused || !isRefused(err) {
			t.Errorf("Set(%q) = %q, %v; want refused", mode, o, err)
		}
	}
	if r := read(t, ctx, d.Miner); r.Mode != before.Mode {
		t.Errorf("mode %q, was %q", r.Mode, before.Mode)
	}
}

func refusal(t *testing.T, ctx context.Context, d Device) {
	before := read(t, ctx, d.Miner)
	d.Refuse()
	if o, err := d.Miner.Set(ctx, sluice.ModeSleep, nil); o != sluice.Refused || !isRefused(err) {
		t.Fatalf("Set = %q, %v; want refused with a *RefusedError", o, err)
	}
	if r := read(t, ctx, d.Miner); r.Mode != before.Mode {
		t.Errorf("mode %q after a refusal, was %q", r.Mode, before.Mode)
	}
	d.Behave()
	set(t, ctx, d.Miner, sluice.ModeSleep, nil) // nothing is left over of it
}

func ignored(t *testing.T, ctx context.Context, d Device) {
	before := read(t, ctx, d.Miner)
	d.Ignore()
	if o, err := d.Miner.Set(ctx, sluice.ModeSleep, nil); o != sluice.Accepted || err != nil {
		t.Fatalf("Set = %q, %v; want accepted", o, err)
	}
	if r := read(t, ctx, d.Miner); r.Mode != before.Mode || r.HashRate <= 0 {
		t.Errorf("reads %q at %v TH/s while it mines", r.Mode, r.HashRate)
	}
	d.Behave()
	set(t, ctx, d.Miner, sluice.ModeSleep, nil) // a retry is sent again
	if r := read(t, ctx, d.Miner); r.Mode != sluice.ModeSleep {
		t.Errorf("reads %q after the retry", r.Mode)
	}
}

func lostPools(t *testing.T, ctx context.Context, d Device) {
	if d.ForgetPools == nil {
		return
	}
	before := d.Pools()
	p := prior(t, ctx, d.Miner)
	d.ForgetPools()
	set(t, ctx, d.Miner, sluice.ModeSleep, p)
	if d.Pools() == before {
		t.Fatal("the far side kept its pools: nothing is tested")
	}
	set(t, ctx, d.Miner, sluice.ModeMine, p)
	if got := d.Pools(); got != before {
		t.Errorf("pools after the wake %s\nbefore %s", got, before)
	}
}

func outcome(o sluice.Outcome, err error) string { return fmt.Sprintf("%q, %v", o, err) }
