package dialect

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/device"
)

// setTimeout bounds a Set whose context has no deadline.
const setTimeout = 30 * time.Second

// Set sends a mode as device.ParseTarget reads it. Nothing is sent that the
// device already is. ModeMine wakes it and puts profile, power limit, throttle
// and lost pools back as the prior says.
func (d *Driver) Set(ctx context.Context, mode string, p device.Prior) (sluice.Outcome, error) {
	if d.hook != nil {
		return d.hook.Set(ctx, mode, p)
	}
	t := device.ParseTarget(mode)
	was, err := d.before(p)
	if err != nil {
		return sluice.Refused, err
	}
	return d.write(ctx, func(ctx context.Context) error { return d.apply(ctx, t, was) })
}

// before reads a prior state.
func (d *Driver) before(p device.Prior) (was prior, err error) {
	if len(p) == 0 {
		return was, nil
	}
	if err := json.Unmarshal(p, &was); err != nil {
		return was, &sluice.Error{
			Kind: sluice.Invalid, Msg: "reading the prior state of " + d.addr.String(),
			Cause: errors.Join(&device.RefusedError{Why: "the prior state cannot be read"}, err),
		}
	}
	return was, nil
}

// Finish ends what the Go hook of the dialect has left open.
func (d *Driver) Finish(ctx context.Context) {
	if f, ok := d.hook.(device.Finisher); ok {
		f.Finish(ctx)
	}
}

// Reboot restarts the device's computer.
func (d *Driver) Reboot(ctx context.Context) (sluice.Outcome, error) {
	return d.write(ctx, func(ctx context.Context) error { return d.simple(ctx, "reboot", nil) })
}

// Locate switches the light or message that finds the device in a rack.
func (d *Driver) Locate(ctx context.Context, on bool) (sluice.Outcome, error) {
	return d.write(ctx, func(ctx context.Context) error { return d.simple(ctx, "locate", map[string]any{"on": on}) })
}

// write runs one act at a time and tells its outcome.
func (d *Driver) write(ctx context.Context, act func(context.Context) error) (sluice.Outcome, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, setTimeout)
		defer cancel()
	}
	err := ctx.Err()
	if err == nil {
		select {
		case d.turn <- struct{}{}:
			defer func() { <-d.turn }()
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return sluice.Unknown, &sluice.Error{Kind: sluice.Unavailable, Msg: "setting " + d.addr.String() + ": no turn to write", Cause: err}
	}
	switch err = act(ctx); {
	case err == nil:
		return sluice.Accepted, nil
	case refused(err):
		return sluice.Refused, err
	}
	return sluice.Unknown, err
}

func (d *Driver) no(why string) error {
	return &sluice.Error{Kind: sluice.Invalid, Msg: "setting " + d.addr.String(), Cause: &device.RefusedError{Why: why}}
}

func (d *Driver) simple(ctx context.Context, name string, vars map[string]any) error {
	c := d.d.Commands[name]
	if c == nil || len(c.Steps) == 0 {
		return d.no("this firmware has no " + name)
	}
	root, err := d.ask(ctx, c.needs(), 1, nil)
	if err != nil {
		return err
	}
	if !c.If.holds(env{root: root}) {
		return d.no("this device has no " + name)
	}
	return d.run(ctx, c, root, vars)
}

// needs are the requests that a command's conditions and templates look at.
func (c *command) needs() []string {
	ps := c.If.paths()
	for _, s := range c.Steps {
		ps = append(ps, s.Need.paths()...)
		ps = append(ps, templates(s.Body)...)
		_, p := s.method()
		ps = append(ps, templates(p)...)
		ps = append(ps, templates(s.Parameter)...)
	}
	return needs(ps...)
}

// templates are the paths that a body's templates name.
func templates(x any) []path {
	var out []path
	switch x := x.(type) {
	case string:
		for _, m := range braces.FindAllStringSubmatch(x, -1) {
			if p, err := parsePath(m[1]); err == nil && !slices.Contains(variables, m[1]) {
				out = append(out, p)
			}
		}
	case []any:
		for _, c := range x {
			out = append(out, templates(c)...)
		}
	case map[string]any:
		for _, c := range x {
			out = append(out, templates(c)...)
		}
	}
	return out
}

// change is one command of a Set.
type change struct {
	name string
	vars map[string]any
}

// apply brings the device to the target.
func (d *Driver) apply(ctx context.Context, t device.Target, was prior) error {
	if err := d.allowed(t); err != nil {
		return err
	}
	if t.Lane == device.LaneSleep {
		return d.sleep(ctx)
	}
	root, err := d.ask(ctx, d.setNeeds(len(was.Hurry) > 0), 1, nil)
	if err != nil {
		return err
	}
	e := env{root: root}
	todo, err := d.changes(ctx, t, was, e)
	if err != nil {
		return err
	}
	asleep := anyHolds(d.d.Report.Sleeping, e)
	// Changes go before the wake, so that a machine that comes back lower never
	// draws more than that; firmware that cannot do this asleep is asked again
	// once awake.
	var later []change
	for _, c := range todo {
		err := d.run(ctx, d.d.Commands[c.name], root, c.vars)
		switch {
		case err != nil && asleep && refused(err) && c.name != "pools":
			later = append(later, c)
		case err != nil:
			return err
		}
	}
	if asleep {
		if err := d.run(ctx, d.d.Commands["wake"], root, nil); err != nil {
			return err
		}
	}
	for _, c := range later {
		if err := d.run(ctx, d.d.Commands[c.name], root, c.vars); err != nil {
			return err
		}
	}
	d.hold(t, e)
	return nil
}

// allowed refuses what the dialect has no command for.
func (d *Driver) allowed(t device.Target) error {
	if d.d.Commands[t.Lane] == nil {
		what := map[string]string{
			device.LaneProfile: "profile " + strconv.Quote(t.Profile), device.LanePower: "power limit",
			device.LaneThrottle: "throttle", device.LaneSleep: "sleep", device.LaneWake: "sleep, and no wake",
		}[t.Lane]
		return d.no("this firmware has no " + what)
	}
	if t.Lane == device.LaneProfile && (t.Profile == "" || strings.ContainsAny(t.Profile, ",\x00\r\n")) {
		return d.no("no profile can be named " + strconv.Quote(t.Profile))
	}
	c := d.d.Commands[t.Lane]
	x := map[string]float64{device.LanePower: float64(t.Power), device.LaneThrottle: float64(t.Percent)}[t.Lane]
	if x > 0 && (x < c.Min || (c.Max > 0 && x > c.Max)) {
		return d.no(strconv.Itoa(int(x)) + " is out of this firmware's range")
	}
	return nil
}

// sleep is sent without a look at the state where it depends on none: seconds
// count.
func (d *Driver) sleep(ctx context.Context) error {
	c := d.d.Commands["sleep"]
	root := map[string]any{}
	if names := c.needs(); len(names) > 0 {
		state, err := d.ask(ctx, append(names, d.d.stateNeeds()...), 1, nil)
		if err != nil {
			return err
		}
		if root = state; anyHolds(d.d.Report.Sleeping, env{root: root}) {
			return nil
		}
		if !c.If.holds(env{root: root}) {
			return d.no("this device has no sleep")
		}
	}
	err := d.run(ctx, c, root, nil)
	if !refused(err) {
		return err
	}
	// Firmware may refuse to put to sleep what sleeps already.
	if state, serr := d.ask(ctx, d.d.stateNeeds(), 1, nil); serr == nil && anyHolds(d.d.Report.Sleeping, env{root: state}) {
		return nil
	}
	return err
}

// setNeeds are the requests that tell all that a Set may need to know; hurried says
// whether a sleep that hurried may have changed a setting.
func (d *Driver) setNeeds(hurried bool) []string {
	out := d.d.stateNeeds()
	for name, c := range d.d.Commands {
		if name == "hurry" || (name == "ease" && !hurried) {
			continue
		}
		list := c.needs()
		for _, l := range c.Lost {
			list = append(list, needs(l.paths()...)...)
		}
		for _, r := range list {
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	slices.Sort(out)
	return out
}

// changes lists what is to be sent before the wake.
func (d *Driver) changes(ctx context.Context, t device.Target, was prior, e env) ([]change, error) {
	m := &d.d.Report
	var out []change
	can := func(name string) bool {
		c := d.d.Commands[name]
		return c != nil && c.If.holds(e)
	}
	if t.Lane != device.LaneWake && !can(t.Lane) {
		return nil, d.no("this device has no " + t.Lane)
	}
	if len(was.Hurry) > 0 && can("ease") {
		v, err := parse(was.Hurry)
		if err != nil {
			return nil, err
		}
		out = append(out, change{"ease", map[string]any{"kept": v}})
	}
	held := d.d.throttle(e)
	profile, watts, percent := "", 0.0, 0
	switch t.Lane {
	case device.LaneWake:
		profile, watts, percent = was.Profile, was.PowerW, was.Throttle
		if c := d.d.Commands["pools"]; can("pools") && len(was.Pools) > 0 && anyHolds(c.Lost, e) {
			v, err := parse(was.Pools)
			if err != nil {
				return nil, err
			}
			out = append(out, change{"pools", map[string]any{"pools": v}})
		}
	case device.LaneProfile:
		profile = t.Profile
		if profile != d.d.chosen(e) {
			list, err := d.profiles(ctx)
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(list, func(p device.Profile) bool { return p.Name == profile }) {
				return nil, d.no("there is no profile " + strconv.Quote(profile))
			}
		}
	case device.LanePower:
		watts = float64(t.Power)
	case device.LaneThrottle:
		percent = t.Percent
	}
	// What firmware does not tell while it sleeps is not put back on suspicion: that
	// would restart it. Once it is awake, it tells.
	waking := t.Lane == device.LaneWake && anyHolds(m.Sleeping, e)
	if now := d.d.chosen(e); profile != "" && profile != now && (now != "" || !waking) && can("profile") {
		out = append(out, change{"profile", map[string]any{"profile": profile}})
	}
	if now := d.d.chosenPower(e); watts > 0 && ((now == nil && !waking) || (now != nil && !near(*now, watts))) && can("power") {
		out = append(out, change{"power", map[string]any{"watts": float64(int(watts + 0.5))}})
	}
	if percent == 0 && held > 0 && t.Lane != device.LanePower {
		percent = 100 // what is asked for is the whole of it
	}
	// Firmware that does not tell its throttle may have one, which a profile that it has
	// already would leave in place; asleep it has none.
	same := !slices.ContainsFunc(out, func(c change) bool { return c.name == "profile" })
	whole := t.Lane == device.LaneWake || (t.Lane == device.LaneProfile && same)
	if whole && percent == 0 && len(m.Throttle) == 0 && !anyHolds(m.Sleeping, e) {
		percent = 100
	}
	if percent > 0 && percent != held && (percent != 100 || held > 0 || len(m.Throttle) == 0) && can("throttle") {
		out = append(out, change{"throttle", map[string]any{"percent": float64(percent)}})
	}
	return out, nil
}

// run sends a command's steps. Each reply is judged before the next.
func (d *Driver) run(ctx context.Context, c *command, root map[string]any, vars map[string]any) error {
	all := d.vars()
	for k, v := range vars {
		all[k] = v
	}
	e := env{root: map[string]any{}}
	for k, v := range root {
		e.root[k] = v
	}
	for _, k := range ambient {
		if v, ok := vars[k]; ok {
			e.root[k] = v
		}
	}
	sent := false
	for i := range c.Steps {
		s := &c.Steps[i]
		if !s.Need.holds(e) {
			continue
		}
		sent = true
		v, err := d.link.do(ctx, &s.request, e, all, true)
		if err != nil {
			return err
		}
		e.root["reply"] = v
		for _, r := range d.d.Refusal {
			if r.If.holds(e) {
				why := printable(r.Why.text(e))
				if why == "" {
					why = "no reason given"
				}
				return &sluice.Error{Kind: sluice.Conflict, Msg: s.name() + " at " + d.addr.String(), Cause: &device.RefusedError{Why: why}}
			}
		}
	}
	if !sent {
		return d.no("in its present state this device takes no such command")
	}
	return nil
}
