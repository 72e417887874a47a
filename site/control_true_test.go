package site_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/sim"
	"sluice/site"
)

// plug is the outlet of a virtual machine: without power it neither answers nor
// draws, and it starts by itself when it gets power.
type plug struct {
	device.Miner
	mu       sync.Mutex
	off      bool
	cuts     int
	restores int
	err      error // of the next switches
	sticks   bool  // says yes and does nothing
	obeys    bool  // once it was without power, the machine obeys
	lies     bool
	draws    sluice.Watts // of the machine, by its own reading
}

func (p *plug) Read(ctx context.Context) (sluice.Reading, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return sluice.Reading{}, errors.New("no route to host")
	}
	r, err := p.Miner.Read(ctx)
	p.draws = r.Power
	return r, err
}

func (p *plug) Set(ctx context.Context, mode string, prior device.Prior) (sluice.Outcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.off:
		return sluice.Unknown, errors.New("no route to host")
	case p.lies && mode == sluice.ModeSleep:
		return sluice.Accepted, nil
	}
	return p.Miner.Set(ctx, mode, prior)
}

// outlet is the plug as a PDU shows it.
type outlet struct{ *plug }

func (o outlet) Switch(_ context.Context, on bool) (sluice.Outcome, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return sluice.Unknown, o.err
	}
	if o.sticks || o.off == !on {
		return sluice.Accepted, nil
	}
	o.off = !on
	if on {
		o.restores++
		o.lies = o.lies && !o.obeys
	} else {
		o.cuts++
	}
	return sluice.Accepted, nil
}

func (o outlet) State(context.Context) (on, known bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.off, true, nil
}

func (o outlet) Read(context.Context) (sluice.Reading, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.off {
		return sluice.Reading{HasPower: true, PowerSource: sluice.SourcePDU}, nil
	}
	return sluice.Reading{Power: o.draws, HasPower: true, PowerSource: sluice.SourcePDU}, nil
}

// plugged makes every machine of a world one with an outlet; those of liars lie.
func plugged(after int, liars ...int) (worldSpec, map[int]*plug) {
	plugs := map[int]*plug{}
	spec := worldSpec{miners: 10, limit: sluice.Megawatt, price: flat(30), outletAfter: after}
	spec.wrap = func(i int, d device.Miner) device.Miner {
		if plugs[i] == nil {
			plugs[i] = &plug{Miner: d}
			for _, x := range liars {
				plugs[i].lies = plugs[i].lies || x == i
			}
		}
		plugs[i].Miner = d
		return plugs[i]
	}
	spec.outlet = func(i int) device.Outlet { return outlet{plugs[i]} }
	return spec, plugs
}

const liar = 15 // an S19K Pro, which reports its power

// A machine that ignores its sleep while an order needs it is cut off at its
// outlet, named, remembered over a kill, and runs again afterwards.
func TestOutletIsTheLastResort(t *testing.T) {
	ctx := context.Background()
	spec, plugs := plugged(2, liar)
	w := newWorld(t, spec)
	w.run(6*time.Minute, 15*time.Second)
	_, err := w.site.Curtail(ctx, site.CurtailmentOrder{Limit: 3 * sluice.Kilowatt, For: time.Hour, By: "grid"})
	w.must(err)
	w.run(12*time.Minute, 15*time.Second)
	name := w.fleet.Spec(liar).Name
	m, err := w.site.Machine(name)
	w.must(err)
	if plugs[liar].cuts != 1 || !m.Cut || m.State != site.StateSleeping || m.PowerKW != 0 || m.PowerSource != sluice.SourcePDU || !m.Asleep {
		t.Fatalf("cut %d times; the machine is %+v", plugs[liar].cuts, m)
	}
	if m.Outcome != sluice.ConfirmedByDevice && m.Outcome != sluice.ConfirmedByMeter {
		t.Errorf("the outcome is %q", m.Outcome)
	}
	if !hasAlarm(w, "outlet-off") || hasAlarm(w, "machine-silent") {
		t.Errorf("alarms %v", w.site.Status().Alarms)
	}
	for i, p := range plugs {
		if i != liar && p.cuts != 0 {
			t.Errorf("machine %d obeys and was cut off", i)
		}
	}
	w.crash()
	w.run(5*time.Minute, 15*time.Second)
	if m, _ := w.site.Machine(name); !m.Cut || m.State != site.StateSleeping {
		t.Errorf("after a kill it is %+v", m)
	}
	if plugs[liar].restores != 0 {
		t.Errorf("switched on in the middle of the order")
	}
	w.run(80*time.Minute, 15*time.Second)
	m, _ = w.site.Machine(name)
	if plugs[liar].restores != 1 || m.Cut || m.State != site.StateMining || m.Mode != "default" {
		t.Errorf("after the order: switched on %d times, %+v", plugs[liar].restores, m)
	}
	if hasAlarm(w, "outlet-off") {
		t.Error("the alarm stands although it runs again")
	}
}

// Without a policy no outlet is touched, however a machine behaves; nor without a
// limit that needs it, nor for a wake.
func TestOutletIsLeftAlone(t *testing.T) {
	ctx := context.Background()
	spec, plugs := plugged(0, liar)
	w := newWorld(t, spec)
	w.run(6*time.Minute, 15*time.Second)
	_, err := w.site.Curtail(ctx, site.CurtailmentOrder{Limit: 3 * sluice.Kilowatt, For: time.Hour, By: "grid"})
	w.must(err)
	w.run(15*time.Minute, 15*time.Second)
	if plugs[liar].cuts != 0 || !hasAlarm(w, "command-ignored") {
		t.Errorf("no policy: cut %d times, alarms %v", plugs[liar].cuts, w.site.Status().Alarms)
	}
	spec, plugs = plugged(1, liar)
	spec.price = flat(400) // a price puts them to sleep, not a limit
	w = newWorld(t, spec)
	w.run(25*time.Minute, 15*time.Second)
	if plugs[liar].cuts != 0 || !hasAlarm(w, "command-ignored") {
		t.Errorf("for a price: cut %d times, alarms %v", plugs[liar].cuts, w.site.Status().Alarms)
	}
	spec, plugs = plugged(1)
	spec.faults = map[int]sim.Fault{}
	w = newWorld(t, spec)
	w.run(6*time.Minute, 15*time.Second)
	_, err = w.site.Curtail(ctx, site.CurtailmentOrder{Limit: 3 * sluice.Kilowatt, For: 10 * time.Minute, By: "grid"})
	w.must(err)
	w.run(5*time.Minute, 15*time.Second)
	w.fleet.SetFault(liar, sim.Ignores) // asleep: it will not wake
	w.run(40*time.Minute, 15*time.Second)
	if plugs[liar].cuts != 0 {
		t.Errorf("for a wake: cut %d times", plugs[liar].cuts)
	}
}

// An outlet that does not answer, or says yes and does nothing, leaves the machine
// as it is seen: running, named, and not taken for cut off.
func TestOutletThatFails(t *testing.T) {
	ctx := context.Background()
	for name, fail := range map[string]func(*plug){
		"no answer": func(p *plug) { p.err = errors.New("timeout") },
		"sticks":    func(p *plug) { p.sticks = true },
	} {
		spec, plugs := plugged(1, liar)
		w := newWorld(t, spec)
		w.run(6*time.Minute, 15*time.Second)
		fail(plugs[liar])
		_, err := w.site.Curtail(ctx, site.CurtailmentOrder{Limit: 3 * sluice.Kilowatt, For: 2 * time.Hour, By: "grid"})
		w.must(err)
		w.run(25*time.Minute, 15*time.Second)
		m, _ := w.site.Machine(w.fleet.Spec(liar).Name)
		if m.Cut || m.PowerKW < 2 || m.State != site.StateFault || !hasAlarm(w, "command-ignored") || hasAlarm(w, "outlet-off") {
			t.Errorf("%s: %+v, alarms %v", name, m, w.site.Status().Alarms)
		}
	}
}

// told is a machine whose dialect says how soon its lanes move power.
type told struct {
	device.Miner
	lanes map[string]device.Lane
}

func (d told) Report(context.Context) (device.Report, error) {
	return device.Report{Capabilities: device.Capabilities{Lanes: d.lanes}}, nil
}

// An order with a deadline is obeyed by the lane that is in time, although another
// loses less.
func TestDeadlineChoosesTheLane(t *testing.T) {
	ctx := context.Background()
	asleep := func(within time.Duration, sleep, profile float64) (asleep, lower int) {
		lanes := map[string]device.Lane{device.LaneSleep: {Seconds: sleep}, device.LaneProfile: {Seconds: profile, Restarts: true}}
		w := newWorld(t, worldSpec{
			miners: 20, limit: sluice.Megawatt, price: flat(30), control: func(c string) bool { return c == "s19k" },
			wrap: func(_ int, d device.Miner) device.Miner { return told{d, lanes} },
		})
		w.run(time.Minute, 15*time.Second)
		_, err := w.site.Curtail(ctx, site.CurtailmentOrder{Limit: w.power("site") - 20*sluice.Kilowatt, For: time.Hour, Within: within})
		w.must(err)
		for _, m := range w.site.Machines() {
			if m.Class == "s19k" && m.Want == sluice.ModeSleep {
				asleep++
			} else if m.Class == "s19k" && m.Want != "default" {
				lower++
			}
		}
		return asleep, lower
	}
	if a, l := asleep(30*time.Second, 3, 300); a == 0 || l != 0 {
		t.Errorf("profiles take 5 minutes, the order 30 s: %d to sleep, %d to lower profiles", a, l)
	}
	if a, l := asleep(30*time.Second, 300, 3); a != 0 || l == 0 {
		t.Errorf("sleep takes 5 minutes, the order 30 s: %d to sleep, %d to lower profiles", a, l)
	}
	a1, l1 := asleep(0, 3, 300)
	a2, l2 := asleep(0, 300, 3)
	if a1 != a2 || l1 != l2 {
		t.Errorf("without a deadline the lanes' times change the choice: %d and %d, %d and %d", a1, l1, a2, l2)
	}
}

// Response times are learned from what was proven, and machines that lie are
// found: an order is then met from the others before the liars are given up.
func TestResponsesAreLearned(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, worldSpec{miners: 20, limit: sluice.Megawatt, meters: true, price: flat(30)})
	w.run(6*time.Minute, 15*time.Second)
	first, err := w.site.Promise(ctx, time.Minute, "")
	w.must(err)
	for range 4 {
		_, err := w.site.Curtail(ctx, site.CurtailmentOrder{Limit: 20 * sluice.Kilowatt, For: 10 * time.Minute, By: "grid"})
		w.must(err)
		w.run(30*time.Minute, 15*time.Second)
	}
	p, err := w.site.Promise(ctx, time.Minute, "")
	w.must(err)
	if first.ShedKW >= p.ShedKW || p.ShedKW > p.RunningKW || p.ShedKW < 0.5*p.RunningKW {
		t.Errorf("promised before anything was learned %.0f kW, after four orders %.0f of %.0f", first.ShedKW, p.ShedKW, p.RunningKW)
	}
	if p.Record.Scored != 4 || p.Record.Kept != 4 {
		t.Errorf("the record is %+v", p.Record)
	}
	last := 0.0
	for _, within := range []time.Duration{time.Second, 5 * time.Second, 16 * time.Second, 31 * time.Second, time.Minute, time.Hour} {
		q, err := w.site.Promise(ctx, within, "")
		w.must(err)
		if q.ShedKW < last {
			t.Errorf("within %s %.1f kW, in less time %.1f", within, q.ShedKW, last)
		}
		last = q.ShedKW
	}
	if q, err := w.site.Promise(ctx, time.Minute, "class=s21"); err != nil || q.Machines != 20 || q.ShedKW >= p.ShedKW {
		t.Errorf("of one class: %+v, %v", q, err)
	}
	var sleep *site.Response
	for _, r := range w.site.Responses().Firmwares {
		if r.Lane == device.LaneSleep && r.Samples > 20 {
			sleep = &r
		}
	}
	if sleep == nil || sleep.P50S == nil || *sleep.P50S <= 0 || sleep.P95S == nil || *sleep.P95S < *sleep.P50S || *sleep.P95S > 60 {
		t.Fatalf("of sleeping is known %+v", sleep)
	}
	cs, err := w.site.Curtailments(ctx, 1)
	w.must(err)
	if x := cs[0].Promise; x == nil || x.Kept == nil || !*x.Kept || x.Ratio < 1 || x.PromisedKW <= 0 || x.PromisedKW > x.AskedKW {
		t.Errorf("the newest order's promise is %+v", x)
	}
	// A restart forgets nothing.
	w.crash()
	w.run(time.Minute, 15*time.Second)
	q, err := w.site.Promise(ctx, time.Minute, "")
	w.must(err)
	if q.ShedKW < 0.95*p.ShedKW || q.ShedKW > p.ShedKW*1.05 {
		t.Errorf("after a restart %.0f kW are promised, before %.0f: %+v, before %+v", q.ShedKW, p.ShedKW, q, p)
	}
	// Three of the newest learn to lie: the others make up for them.
	for _, i := range []int{3, 25, 45} {
		w.fleet.SetFault(i, sim.Ignores)
	}
	limit := w.power("site") / 2
	_, err = w.site.Curtail(ctx, site.CurtailmentOrder{Limit: limit, For: time.Hour, By: "grid"})
	w.must(err)
	w.run(75*time.Second, 15*time.Second)
	if w.power("site") > limit {
		t.Errorf("%v under an order of %v although only three machines lie", w.power("site"), limit)
	}
}

// Many machines are moved by one order, shown before; what was not shown is not
// touched, and an order over a site that has changed is refused.
func TestFleetOrders(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, worldSpec{miners: 20, limit: sluice.Megawatt, meters: true, price: flat(30)})
	w.run(6*time.Minute, 15*time.Second)
	o := site.FleetOrder{Selector: "class=s19k name=s19k-00*", Action: site.FleetSleep, By: "ann", Why: "heat"}
	p, err := w.site.PreviewFleet(ctx, o)
	w.must(err)
	if p.Machines != 10 || p.NowKW < 28 || p.AfterKW > 1 || p.USDPerHour >= 0 || len(p.Sample) != 10 || p.Token == "" {
		t.Errorf("the preview is %+v", p)
	}
	if st := w.states(); st[site.StateMining] != 60 {
		t.Errorf("a preview changed something: %v", st)
	}
	if _, err := w.site.ActFleet(ctx, o); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("without a token: %v", err)
	}
	o.Token = p.Token
	other := o
	other.Selector = "all"
	if _, err := w.site.ActFleet(ctx, other); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("another selector by the same token: %v", err)
	}
	r, err := w.site.ActFleet(ctx, o)
	w.must(err)
	if r.Machines != 10 || r.Commanded != 10 {
		t.Errorf("done was %+v", r)
	}
	if _, err := w.site.ActFleet(ctx, o); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("twice by the same token: %v", err)
	}
	w.run(time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateSleeping] != 10 || st[site.StateMining] != 50 {
		t.Errorf("states %v", st)
	}
	w.crash() // pins are kept
	w.run(2*time.Minute, 15*time.Second)
	p, err = w.site.PreviewFleet(ctx, site.FleetOrder{Selector: "pin=sleep", Action: site.FleetWake})
	w.must(err)
	if p.Machines != 10 || p.AfterKW < 25 || p.USDPerHour <= 0 {
		t.Errorf("to wake: %+v", p)
	}
	// Somebody wakes one meanwhile: the site is no longer as it was shown.
	w.must(w.site.Release(ctx, "s19k-004", "bob"))
	w.run(3*time.Minute, 15*time.Second)
	if _, err := w.site.ActFleet(ctx, site.FleetOrder{Selector: "pin=sleep", Action: site.FleetWake, By: "ann", Why: "cooler", Token: p.Token}); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("the site has changed since: %v", err)
	}
	w.act(site.FleetOrder{Selector: "pin=sleep", Action: site.FleetWake})
	w.run(6*time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateMining] != 60 {
		t.Errorf("woken: %v", st)
	}
	// To a profile and back up, all under the ramp.
	w.act(site.FleetOrder{Selector: "class=s19k", Action: site.FleetSet, Mode: "390MHz"})
	w.run(3*time.Minute, 15*time.Second)
	modes := func() map[string]int {
		out := map[string]int{}
		for _, m := range w.site.Machines() {
			out[m.Class+" "+m.Mode]++
		}
		return out
	}
	if n := modes()["s19k 390MHz"]; n != 20 {
		t.Errorf("modes %v", modes())
	}
	w.act(site.FleetOrder{Selector: "class=s19k", Action: site.FleetSet, Mode: "default"})
	w.run(5*time.Minute, 15*time.Second)
	if n := modes()["s19k default"]; n != 20 {
		t.Errorf("modes %v", modes())
	}
	w.act(site.FleetOrder{Selector: "node=b", Action: site.FleetLock})
	if st := w.states(); st[site.StateLocked] != 0 { // the status is the last turn's
		t.Logf("states %v", st)
	}
	w.run(time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateLocked] != 20 {
		t.Errorf("locked: %v", st)
	}
	w.act(site.FleetOrder{Selector: "pin!=none", Action: site.FleetRelease})
	w.run(time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateMining] != 60 {
		t.Errorf("released: %v", st)
	}
	for _, bad := range []site.FleetOrder{
		{Selector: "", Action: site.FleetSleep},
		{Selector: "all", Action: "explode"},
		{Selector: "all", Action: site.FleetSet},
		{Selector: "all", Action: site.FleetSleep, Mode: "390MHz"},
		{Selector: "all", Action: site.FleetSet, Mode: site.PinLocked},
	} {
		if _, err := w.site.PreviewFleet(ctx, bad); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := w.site.PreviewFleet(ctx, site.FleetOrder{Selector: "class=none", Action: site.FleetSleep}); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("nothing matches: %v", err)
	}
	if p, err := w.site.PreviewFleet(ctx, site.FleetOrder{Selector: "all", Action: site.FleetSet, Mode: "390MHz"}); err != nil || p.Machines != 20 || p.Skipped[fmt.Sprintf("its class has no mode %s", "390MHz")] != 40 {
		t.Errorf("a mode of one class: %+v, %v", p, err)
	}
}

// act previews an order and does it.
func (w *world) act(o site.FleetOrder) {
	w.t.Helper()
	p, err := w.site.PreviewFleet(context.Background(), o)
	w.must(err)
	o.Token, o.By, o.Why = p.Token, "ann", "test"
	_, err = w.site.ActFleet(context.Background(), o)
	w.must(err)
}
