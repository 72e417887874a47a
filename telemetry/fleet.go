package telemetry

import (
	"math"
	"time"

	"sluice"
	"sluice/site"
)

// fleet turns readings of machines into samples. It keeps the series of each
// machine, and ends those of which nothing is known any more.
type fleet struct {
	db       *DB
	machines map[string]*machine
	classes  map[string]*class
	tick     uint64
	batch    []Sample
}

func newFleet(db *DB) *fleet {
	return &fleet{db: db, machines: map[string]*machine{}, classes: map[string]*class{}}
}

// machine is what has been recorded of one.
type machine struct {
	class, model, source, mode string
	at                         time.Time // of the reading that was recorded last
	seen                       uint64
	// Of the readings: they end when the machine is silent.
	power, hash, temp, uptime, errs, info open
	// Of the machine: they end when it is gone.
	state, units, busy open
}

// class sums up its machines, so that a look at a month of the site does not
// read ten thousand series.
type class struct {
	power, hash    open
	states         map[string]*open
	watts          sluice.Watts
	ths            float64
	count          map[string]int
	hashes, member bool
}

// open is a series that may have been begun.
type open struct {
	s    *Series
	live bool // has a value that holds
}

// put adds a value to the batch.
func (f *fleet) put(o *open, v float64, name string, pairs ...string) {
	if o.s == nil {
		o.s = f.db.Series(name, pairs...)
	}
	o.live = true
	f.batch = append(f.batch, Sample{o.s, v})
}

// end ends a series, once.
func (f *fleet) end(o *open) {
	if o.live {
		o.live = false
		f.batch = append(f.batch, Sample{o.s, Stale()})
	}
}

// forget ends a series whose labels no longer fit.
func (f *fleet) forget(o *open) { f.end(o); o.s = nil }

// samples are what a turn adds to the history. Of a reading that has been
// recorded already there is nothing to add.
func (f *fleet) samples(now []site.MachineReading) []Sample {
	f.tick++
	f.batch = f.batch[:0]
	for _, c := range f.classes {
		c.watts, c.ths, c.hashes, c.member = 0, 0, false, false
		clear(c.count)
	}
	for i := range now {
		r := &now[i]
		m := f.machines[r.Name]
		if m == nil {
			m = &machine{}
			f.machines[r.Name] = m
		}
		m.seen = f.tick
		f.machine(m, r)
		f.count(r)
	}
	for name, m := range f.machines {
		if m.seen != f.tick {
			f.drop(m)
			delete(f.machines, name)
		}
	}
	f.sums()
	return f.batch
}

func (f *fleet) machine(m *machine, r *site.MachineReading) {
	if m.class != r.Class || m.model != r.Model {
		f.drop(m)
		m.class, m.model, m.at = r.Class, r.Model, time.Time{}
	}
	put := func(o *open, v float64, name string, more ...string) {
		if o.s != nil { // the labels are there already
			f.put(o, v, name)
			return
		}
		f.put(o, v, name, append([]string{"machine", r.Name, "class", r.Class, "model", r.Model}, more...)...)
	}
	put(&m.state, states[r.State], MachineState)
	if r.Units > 0 {
		put(&m.units, float64(r.Units), MachineUnits)
		put(&m.busy, float64(r.Busy), MachineBusy)
	}
	if r.Silent {
		f.quiet(m)
		m.at = time.Time{}
		return
	}
	if r.Reading.At.Equal(m.at) {
		return
	}
	m.at = r.Reading.At
	if src := string(r.PowerSource); src != m.source {
		f.forget(&m.power)
		m.source = src
	}
	if m.source != "" {
		put(&m.power, float64(r.Power), MachinePower, "source", m.source)
	}
	if r.Mode != m.mode {
		f.forget(&m.info)
		m.mode = r.Mode
	}
	if m.mode != "" {
		put(&m.info, 1, MachineMode, "mode", m.mode)
	}
	if r.Kind == sluice.Host {
		return
	}
	x := &r.Reading
	if x.HasHashRate {
		put(&m.hash, coarse(float64(x.HashRate)*1e12), MachineHashrate)
	} else {
		f.end(&m.hash)
	}
	if x.HasTemp {
		put(&m.temp, x.TempC, MachineTemp)
	} else {
		f.end(&m.temp)
	}
	if x.Uptime > 0 {
		put(&m.uptime, math.Floor(x.Uptime.Seconds()), MachineUptime)
	} else {
		f.end(&m.uptime)
	}
	if len(x.Errors) > 0 || m.errs.live { // most machines never have one
		put(&m.errs, float64(len(x.Errors)), MachineErrors)
	}
}

// coarse keeps 20 of a number's 52 bits after the point, one part in a million:
// no hashrate is known that well, and the rest of the bits costs six bytes a
// sample.
func coarse(v float64) float64 {
	const cut = 32
	return math.Float64frombits((math.Float64bits(v) + 1<<(cut-1)) &^ (1<<cut - 1))
}

// quiet ends what readings tell.
func (f *fleet) quiet(m *machine) {
	for _, o := range []*open{&m.power, &m.hash, &m.temp, &m.uptime, &m.errs, &m.info} {
		f.end(o)
	}
}

// drop ends all series of a machine.
func (f *fleet) drop(m *machine) {
	for _, o := range []*open{&m.power, &m.hash, &m.temp, &m.uptime, &m.errs, &m.info, &m.state, &m.units, &m.busy} {
		f.forget(o)
	}
}

// count adds a machine to its class.
func (f *fleet) count(r *site.MachineReading) {
	c := f.classes[r.Class]
	if c == nil {
		c = &class{states: map[string]*open{}, count: map[string]int{}}
		f.classes[r.Class] = c
	}
	c.member = true
	c.count[r.State]++
	if r.Silent {
		return
	}
	c.watts += r.Power
	if r.Reading.HasHashRate {
		c.hashes = true
		c.ths += float64(r.Reading.HashRate)
	}
}

func (f *fleet) sums() {
	for name, c := range f.classes {
		if !c.member {
			f.end(&c.power)
			f.end(&c.hash)
			for _, o := range c.states {
				f.end(o)
			}
			delete(f.classes, name)
			continue
		}
		f.put(&c.power, float64(c.watts), ClassPower, "class", name)
		if c.hashes {
			f.put(&c.hash, coarse(c.ths*1e12), ClassHashrate, "class", name)
		} else {
			f.end(&c.hash)
		}
		for state := range c.count {
			if c.states[state] == nil {
				c.states[state] = &open{}
			}
		}
		for state, o := range c.states { // one that nothing is in any more counts 0
			f.put(o, float64(c.count[state]), ClassMachines, "class", name, "state", state)
		}
	}
}
