package backtest

import (
	"context"
	"fmt"
	"time"

	"sluice"
	"sluice/device"
	"sluice/site"
)

// bank stands for an equal share of a class's machines. It obeys at once; a wake
// draws full power and does not hash for the class's wake time. It is used by one
// goroutine at a time.
type bank struct {
	now      func() time.Time
	modes    []sluice.Mode // of the whole bank
	wake     time.Duration
	machines float64

	mode     int
	at       time.Time // as of which done is
	done     float64   // hashes since read, TH
	hashFrom time.Time // it does not hash before
	read     time.Time
	average  sluice.HashRate // between the two newest times at which it was read
	switched float64         // machines that changed their mode, over time
}

// banked is the class as it is made of banks, and how many these are.
func (o *Options) banked(c site.ClassSpec) (site.ClassSpec, int) {
	n := o.Count[c.Name]
	k := min(n, max(1, o.Banks/len(o.Site.Classes)))
	share := float64(n) / float64(max(k, 1))
	modes := make([]sluice.Mode, len(c.Modes))
	for i, m := range c.Modes {
		modes[i] = sluice.Mode{Name: m.Name, Power: sluice.Watts(float64(m.Power)*share + 0.5), HashRate: m.HashRate * sluice.HashRate(share)}
	}
	c.Modes, c.Stands = modes, share
	return c, k
}

// banks makes the machines that stand for a class, in their strongest mode, and the
// class as it is made of them.
func banks(o *Options, c site.ClassSpec, now func() time.Time) (site.ClassSpec, []site.MinerSpec, []*bank) {
	c, k := o.banked(c)
	strongest := 0
	for i, m := range c.Modes {
		if m.Power > c.Modes[strongest].Power {
			strongest = i
		}
	}
	var specs []site.MinerSpec
	var all []*bank
	for i := range k {
		b := &bank{now: now, modes: c.Modes, wake: c.WakeTime, machines: c.Stands, mode: strongest, at: now(), read: now(), average: c.Modes[strongest].HashRate}
		all = append(all, b)
		specs = append(specs, site.MinerSpec{Name: fmt.Sprintf("%s-%02d", c.Name, i+1), Class: c.Name, Driver: "bank", Virtual: true, Device: b})
	}
	return c, specs, all
}

// work adds up the hashes done until now.
func (b *bank) work(now time.Time) {
	from := b.at
	if b.hashFrom.After(from) {
		from = b.hashFrom
	}
	if now.After(from) {
		b.done += float64(b.modes[b.mode].HashRate) * now.Sub(from).Seconds()
	}
	b.at = now
}

// Read tells the power as it is and the hashrate on average since the time before
// at which it was read: what a turn accrues is what was done.
func (b *bank) Read(context.Context) (sluice.Reading, error) {
	now := b.now()
	if d := now.Sub(b.read); d > 0 {
		b.work(now)
		b.average = sluice.HashRate(b.done / d.Seconds())
		b.done, b.read = 0, now
	}
	m := b.modes[b.mode]
	return sluice.Reading{
		Mode: m.Name, Power: m.Power, HasPower: true, PowerSource: sluice.SourceDevice,
		HashRate: b.average, HasHashRate: true,
	}, nil
}

// Prior is the mode by name: what mine means, the strongest, is known anyway.
func (b *bank) Prior(context.Context) (device.Prior, error) {
	return device.Prior(`{"mode":"` + b.modes[b.mode].Name + `"}`), nil
}

// Set puts the bank into the mode.
func (b *bank) Set(_ context.Context, mode string, _ device.Prior) (sluice.Outcome, error) {
	for i, m := range b.modes {
		if m.Name != mode {
			continue
		}
		if i != b.mode {
			b.work(b.now())
			if b.modes[b.mode].Name == sluice.ModeSleep {
				b.hashFrom = b.now().Add(b.wake)
			} else if m.Name != sluice.ModeSleep {
				// A new profile settles faster than a wake: as the picture has it.
				b.hashFrom = b.now().Add(b.wake / 4)
			}
			b.mode = i
			b.switched += b.machines
		}
		return sluice.Accepted, nil
	}
	return sluice.Refused, &device.RefusedError{Why: "no mode " + mode}
}
