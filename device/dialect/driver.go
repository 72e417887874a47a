package dialect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"sluice"
	"sluice/device"
)

// Driver drives one device in its dialect. It keeps no connection of its own
// and may be used by several goroutines at once.
type Driver struct {
	d    *Dialect
	addr device.Address
	link *link
	hook device.Miner  // nil where data is enough
	turn chan struct{} // held by the one writer

	mu    sync.Mutex
	fixed map[string]any // replies that never change
	held  held           // what this driver set last
}

var (
	_ device.Miner    = (*Driver)(nil)
	_ device.Profiler = (*Driver)(nil)
	_ device.Reporter = (*Driver)(nil)
	_ device.Finisher = (*Driver)(nil)
)

// New returns the driver of the dialect for the device at the address. A name
// that is not there is sluice.NotFound.
func (s *Set) New(name string, a device.Address) (*Driver, error) {
	d := s.find(name)
	if d == nil {
		return nil, sluice.Errorf(sluice.NotFound, "`sluice device probe` finds the dialect of a device", "there is no dialect %q", name)
	}
	return newDriver(d, a), nil
}

func newDriver(d *Dialect, a device.Address) *Driver {
	out := &Driver{d: d, addr: a, link: newLink(a, d), turn: make(chan struct{}, 1), fixed: map[string]any{}}
	if d.Hook != "" {
		h := a
		if h.User == "" {
			h.User, h.Password = d.Auth.User, d.Auth.Password
		}
		out.hook = hooks[d.Hook](h)
	}
	return out
}

// Name is the dialect's.
func (d *Driver) Name() string { return d.d.Name }

// String is the dialect and the address, without credentials.
func (d *Driver) String() string { return d.d.Name + " at " + d.addr.String() }

// Address is the device's, with the ports that it was found at.
func (d *Driver) Address() device.Address { return d.addr }

// optionalTime is the most that is waited for all that a device may do without.
const optionalTime = 4 * time.Second

// ask sends the named requests, at most so many at once, and returns the
// replies by their names. One at a time is for polling: what never changes is
// not asked again. What the caller has already is not asked for. An error is that of a request that is not optional;
// all replies that came are returned beside it.
func (d *Driver) ask(ctx context.Context, names []string, atOnce int, have map[string]any) (map[string]any, error) {
	afresh := atOnce > 1
	var mu sync.Mutex
	root := map[string]any{}
	maps.Copy(root, have)
	errs := map[string]error{}
	if !afresh {
		d.mu.Lock()
		maps.Copy(root, d.fixed)
		d.mu.Unlock()
	}
	brief, cancel := context.WithTimeout(ctx, optionalTime)
	defer cancel()
	one := func(name string) {
		r := d.d.Requests[name]
		c := ctx
		if r.Optional {
			c = brief
		}
		v, err := d.link.do(c, r, env{}, d.vars(), false)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			if !r.Optional {
				errs[name] = err
			}
			return
		}
		root[name] = v
		if r.Once {
			d.mu.Lock()
			d.fixed[name] = v
			d.mu.Unlock()
		}
	}
	// Those that depend on what the others said come last.
	for _, last := range []bool{false, true} {
		var todo []string
		for _, name := range names {
			r := d.d.Requests[name]
			if _, have := root[name]; !have && (len(r.Need.alts) > 0) == last && r.Need.holds(env{root: root}) {
				todo = append(todo, name)
			}
		}
		inTurn(todo, atOnce, func(name string) bool { one(name); return atOnce > 1 || len(errs) == 0 })
	}
	for _, name := range names {
		if errs[name] != nil {
			return root, errs[name]
		}
	}
	return root, nil
}

// inTurn calls f for each name, so many at once; one at a time it stops where f
// says so.
func inTurn(names []string, atOnce int, f func(string) bool) {
	if atOnce == 1 {
		for _, name := range names {
			if !f(name) {
				return
			}
		}
		return
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(name)
		})
	}
	wg.Wait()
}

func (d *Driver) vars() map[string]any {
	return map[string]any{"user": d.link.web.user, "password": d.link.web.password}
}

// all are the dialect's requests, those first that a device must answer.
func (d *Dialect) all() []string {
	return slices.SortedFunc(maps.Keys(d.Requests), func(a, b string) int {
		x, y := d.Requests[a].Optional, d.Requests[b].Optional
		switch {
		case x == y:
			return cmp.Compare(a, b)
		case y:
			return -1
		}
		return 1
	})
}

// Read asks the requests that the dialect names for polling, one after the
// other. At is left for the caller, who knows the site's time. A machine whose
// algorithm is not SHA-256 has no hashrate here: it would be counted as money.
func (d *Driver) Read(ctx context.Context) (sluice.Reading, error) {
	if d.hook != nil {
		r, err := d.hook.Read(ctx)
		if algorithmOf("", r.Model, d.d.Algorithm) != sha256d {
			r.HashRate, r.HasHashRate = 0, false
		}
		return r, err
	}
	names := d.d.Reading
	if len(names) == 0 {
		names = d.d.all()
	}
	root, err := d.ask(ctx, names, 1, nil)
	if err != nil {
		return sluice.Reading{}, err
	}
	return d.reading(root), nil
}

func (d *Driver) reading(root map[string]any) sluice.Reading {
	e, m := env{root: root}, &d.d.Report
	r := sluice.Reading{Mode: d.mode(e), Model: m.Model.text(e), Firmware: m.Version.text(e), Errors: m.errors(e)}
	vendor := cmp.Or(m.Vendor.text(e), d.d.Vendor)
	if algorithmOf(m.Algorithm.text(e), vendor+" "+r.Model, d.d.Algorithm) == sha256d {
		hint := or(m.Expected.number(e, hashrate, 0))
		h := m.Recent.number(e, hashrate, hint)
		if h == nil {
			h = m.Hashrate.number(e, hashrate, hint)
		}
		if h != nil {
			r.HashRate, r.HasHashRate = sluice.HashRate(*h), true
		}
	}
	if p := m.Power.number(e, power, 0); p != nil {
		r.Power, r.HasPower, r.PowerSource = sluice.Watts(*p+0.5), true, sluice.SourceDevice
	}
	if chip, _ := m.temps(e, m.boards(e, 0)); chip != nil {
		r.TempC, r.HasTemp = *chip, true
	}
	stale := func(name string) bool { return d.d.Requests[name].Once }
	if up := m.Uptime.number(e, seconds, 0); up != nil && !slices.ContainsFunc(m.Uptime.needs(), stale) {
		r.Uptime = time.Duration(*up * float64(time.Second))
	}
	return r
}

// near allows for a firmware that rounds watts.
func near(a, b float64) bool { return a-b <= 0.01*b && b-a <= 0.01*b }

// chosen is the profile that the owner has set.
func (d *Dialect) chosen(e env) string {
	return cmp.Or(d.Report.Chosen.text(e), d.Report.Profile.text(e))
}

// chosenPower is the limit that the owner has set.
func (d *Dialect) chosenPower(e env) *float64 {
	if p := d.Report.ChosenPower.number(e, power, 0); p != nil {
		return p
	}
	return d.Report.PowerLimit.number(e, power, 0)
}

func percentMode(p int) string { return strconv.Itoa(p) + "%" }

// Report asks everything. It fails only where the device told nothing.
func (d *Driver) Report(ctx context.Context) (device.Report, error) {
	return d.reportWith(ctx, nil)
}

func (d *Driver) reportWith(ctx context.Context, have map[string]any) (device.Report, error) {
	root, err := d.ask(ctx, d.d.all(), 4, have)
	if len(root) == 0 {
		if err == nil {
			err = ctx.Err()
		}
		return device.Report{}, &sluice.Error{Kind: sluice.Unavailable, Msg: "asking " + d.addr.String() + " for a report", Cause: err}
	}
	r := d.d.report(root)
	r.Address = d.addr.String()
	if r.Mode = d.mode(env{root: root}); r.Mode == sluice.ModeMine && !d.d.runs(env{root: root}) && or(r.HashrateTHs) == 0 {
		r.Mode = "" // what would tell is missing
	}
	return r, nil
}

// Profiles lists the firmware's operating points by rising power; those without
// power or hashrate are left out, because they cannot be planned with. A dialect
// without profiles has none, and no error.
func (d *Driver) Profiles(ctx context.Context) ([]sluice.Mode, error) {
	if p, ok := d.hook.(device.Profiler); ok {
		return p.Profiles(ctx)
	}
	if d.hook != nil || d.d.Commands["profile"] == nil {
		return nil, nil
	}
	list, err := d.profiles(ctx)
	if err != nil {
		return nil, err
	}
	var out []sluice.Mode
	for _, p := range list {
		if p.PowerW != nil && p.HashrateTHs != nil && *p.PowerW > 0 && *p.HashrateTHs > 0 {
			out = append(out, sluice.Mode{Name: p.Name, Power: sluice.Watts(*p.PowerW + 0.5), HashRate: sluice.HashRate(*p.HashrateTHs)})
		}
	}
	if len(out) == 0 {
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "reading the profiles of " + d.addr.String() + ": this device tells none"}
	}
	return out, nil
}

func (d *Driver) profiles(ctx context.Context) ([]device.Profile, error) {
	var ps []path
	for _, l := range d.d.Report.Profiles {
		ps = append(ps, l.Each)
	}
	root := map[string]any{}
	for _, name := range needs(ps...) {
		v, err := d.link.do(ctx, d.d.Requests[name], env{}, d.vars(), false)
		if err != nil {
			return nil, err
		}
		root[name] = v
	}
	return d.d.Report.profiles(env{root: root}), nil
}

// prior is what Set restores.
type prior struct {
	Profile  string          `json:"profile,omitempty"`
	Throttle int             `json:"throttle,omitempty"` // per cent, 0 for none
	PowerW   float64         `json:"power_w,omitempty"`
	Pools    json.RawMessage `json:"pools,omitempty"` // as the firmware gives them
	Hurry    json.RawMessage `json:"hurry,omitempty"` // the setting that a sleep that hurries changes
}

// Prior is the profile, the power limit, the throttle and the pools, as far as
// the firmware tells them.
func (d *Driver) Prior(ctx context.Context) (device.Prior, error) {
	if d.hook != nil {
		return d.hook.Prior(ctx)
	}
	names := d.d.stateNeeds()
	c := d.d.Commands["pools"]
	if c != nil {
		names = append(names, needs(c.Keep)...)
	}
	hurry := d.d.Commands["hurry"]
	if hurry != nil {
		names = append(append(names, needs(hurry.Keep)...), hurry.needs()...)
	}
	root, err := d.ask(ctx, names, 1, nil)
	if err != nil {
		return nil, err
	}
	e := env{root: root}
	p := prior{Profile: d.d.chosen(e), Throttle: d.d.throttle(e), PowerW: or(d.d.chosenPower(e))}
	if c != nil && !anyHolds(c.Lost, e) {
		if kept := c.Keep.find(e); len(kept) > 0 {
			if p.Pools, err = json.Marshal(kept[0].v); err != nil {
				return nil, err
			}
		}
	}
	if hurry != nil && hurry.If.holds(e) {
		if kept := hurry.Keep.find(e); len(kept) > 0 {
			if p.Hurry, err = json.Marshal(kept[0].v); err != nil {
				return nil, err
			}
		}
	}
	b, err := json.Marshal(p)
	return device.Prior(b), err
}

// stateNeeds are the requests that tell what Set must know.
func (d *Dialect) stateNeeds() []string {
	m := &d.Report
	var ps []path
	for _, c := range m.Sleeping {
		ps = append(ps, c.paths()...)
	}
	var out []string
	for _, list := range [][]string{needs(ps...), m.Profile.needs(), m.Chosen.needs(), m.Throttle.needs(), m.PowerLimit.needs(), m.ChosenPower.needs()} {
		for _, r := range list {
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	return out
}

func refused(err error) bool {
	var no *device.RefusedError
	return errors.As(err, &no)
}
