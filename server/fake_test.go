package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/ledger"
	"sluice/site"
)

// t0 is the fakes' site time.
var t0 = time.Date(2023, 8, 25, 20, 0, 0, 0, time.UTC)

// fakeSite is what lies on the far side of the handlers.
type fakeSite struct {
	mu        sync.Mutex
	status    site.Status
	machines  []site.Machine
	orders    []site.Curtailment
	ordered   []site.CurtailmentOrder
	decisions []site.Decision
	alarms    []site.Alarm
	pins      []site.Pin
	asked     [2]time.Time // of the last History
	fleet     []site.FleetOrder
	fail      error // of every call that can fail
	subs      map[chan site.Event]struct{}
	subbed    chan struct{} // one for each Subscribe
	ended     chan struct{} // one for each end of a subscription
}

func newFakeSite() *fakeSite {
	met, cleared := 2.5, t0
	f := &fakeSite{subs: map[chan site.Event]struct{}{}, subbed: make(chan struct{}, 100), ended: make(chan struct{}, 100)}
	f.status = site.Status{
		Name: "demo", Demo: true, Speed: 60, Now: t0, Mode: "control", LimitKW: 14000, ConnectionKW: 14000, LoadKW: 13200.5,
		LoadSource: sluice.SourceMeter, MiningKW: 11000, AIKW: 2100, OtherKW: 100.5, PriceUSDPerMWh: 61.25, HashpriceUSDPerPHDay: 62,
		HashratePHs: 400, MarginUSDPerHour: 812.5, MiningMarginUSDHour: 312.5, AIMarginUSDHour: 500, GPUs: 1920, GPUsBusy: 1500,
		Machines: map[string]int{"mining": 3900, "sleeping": 100}, Jobs: map[string]int{"running": 12},
		Nodes:   []site.Node{{Name: "site", LimitKW: 14000, LoadKW: 13200.5, Metered: true}, {Name: `feeder "a"`, Parent: "site", LimitKW: 8000, LoadKW: 7000}},
		Feeds:   []site.Feed{{Name: "price", Value: 61.25, Unit: "USD/MWh", AsOf: t0.Add(-time.Minute), Origin: "ercot.csv:17"}, {Name: "btc", Stale: true}},
		Alarms:  []site.Alarm{{ID: 3, At: t0, Severity: sluice.Critical, Name: "over-limit", Subject: "site", Text: "over the limit"}},
		Plan:    &site.PlanInfo{At: t0.Add(-30 * time.Second), Decision: 5, SolveMS: 12.5, StepMS: 80, Feasible: true, ObjectiveUSD: 10, BoundUSD: 11},
		Strikes: []site.Strike{{Class: "s19", Division: sluice.Mining, Mode: "mine", Units: 10, StrikeUSDPerMWh: 55.1}},
	}
	for i := range 250 {
		m := site.Machine{Name: fmt.Sprintf("m-%04d", i), Kind: sluice.Miner, Class: "s19", Node: "feeder-a", State: "mining", PowerKW: 3.25, SeenAt: t0}
		if i%5 == 0 {
			m.State, m.Node = "sleeping", "feeder-b"
		}
		f.machines = append(f.machines, m)
	}
	for i := int64(5); i > 0; i-- {
		f.decisions = append(f.decisions, site.Decision{ID: i, At: t0, Trigger: "interval", Moves: []site.Move{{Class: "s19", From: "mine", To: "sleep", Units: 3, Reason: "strike 55.1 < price 212.4 $/MWh"}}})
		f.alarms = append(f.alarms, site.Alarm{ID: i, At: t0, Severity: sluice.Warning, Name: "feed-stale", Subject: "btc", Text: "old"})
	}
	f.alarms[4].ClearedAt = &cleared
	for i := range 5 {
		f.orders = append(f.orders, site.Curtailment{ID: fmt.Sprintf("c-%d", 5-i), Node: "site", LimitKW: 4000, State: "ended", MetAfterS: &met})
	}
	return f
}

func (f *fakeSite) Status() site.Status      { return f.status }
func (f *fakeSite) Machines() []site.Machine { return f.machines }

func (f *fakeSite) Machine(name string) (site.Machine, error) {
	for _, m := range f.machines {
		if m.Name == name {
			for _, p := range f.pins {
				if p.Machine == name {
					m.Pin = &p
				}
			}
			return m, nil
		}
	}
	return site.Machine{}, sluice.Errorf(sluice.NotFound, "sluice machine list shows them", "there is no machine %s", name)
}

func (f *fakeSite) Pin(_ context.Context, p site.Pin) error {
	if p.Mode == "warp" {
		return fmt.Errorf("pinning %s: %w", p.Machine, sluice.Errorf(sluice.Invalid, "modes: sleep, mine", "there is no mode warp"))
	}
	f.pins = append(f.pins, p)
	return f.fail
}

func (f *fakeSite) Release(_ context.Context, machine, by string) error {
	n := len(f.pins)
	f.pins = slices.DeleteFunc(f.pins, func(p site.Pin) bool { return p.Machine == machine })
	if n == len(f.pins) {
		return sluice.Errorf(sluice.Conflict, "", "%s is not pinned (asked by %s)", machine, by)
	}
	return f.fail
}

func (f *fakeSite) Responses() site.Responses {
	p := 2.5
	return site.Responses{DelayS: 0.5, Firmwares: []site.Response{{Firmware: "luxos", Lane: "sleep", Direction: "down", Samples: 20, P50S: &p}}}
}

func (f *fakeSite) Curves() []site.Curve {
	return []site.Curve{{Class: "s19", Model: "S19", Modes: []site.CurvePoint{{Mode: "mine", PowerW: 3250, HashrateTHs: 110, Source: "measured", Samples: 20}}}}
}

func (f *fakeSite) Promise(_ context.Context, within time.Duration, selector string) (site.Promise, error) {
	if _, err := site.ParseSelector(selector); selector != "" && err != nil {
		return site.Promise{}, err
	}
	return site.Promise{WithinS: within.Seconds(), Selector: selector, ShedKW: 9000, RunningKW: 11000, Excluded: map[string]int{"locked": 1}}, f.fail
}

func (f *fakeSite) PreviewFleet(_ context.Context, o site.FleetOrder) (site.FleetPreview, error) {
	if _, err := site.ParseSelector(o.Selector); err != nil {
		return site.FleetPreview{}, err
	}
	return site.FleetPreview{Selector: o.Selector, Action: o.Action, Mode: o.Mode, Machines: 50, NowKW: 160, AfterKW: 2, USDPerHour: -3, Token: "t1"}, f.fail
}

func (f *fakeSite) ActFleet(ctx context.Context, o site.FleetOrder) (site.FleetResult, error) {
	if o.Token != "t1" {
		return site.FleetResult{}, sluice.Errorf(sluice.Conflict, "preview it again", "there is no such preview")
	}
	f.fleet = append(f.fleet, o)
	p, err := f.PreviewFleet(ctx, o)
	return site.FleetResult{FleetPreview: p, Commanded: 50}, err
}

func (f *fakeSite) Curtail(_ context.Context, o site.CurtailmentOrder) (site.Curtailment, error) {
	f.ordered = append(f.ordered, o)
	return site.Curtailment{ID: "c-6", Node: "site", LimitKW: o.Limit.KW(), From: t0, Until: o.Until, By: o.By, Why: o.Why, State: "active"}, f.fail
}

func (f *fakeSite) PreviewCurtailment(_ context.Context, o site.CurtailmentOrder) (site.Preview, error) {
	f.ordered = append(f.ordered, o)
	return site.Preview{Node: "site", LimitKW: o.Limit.KW(), LoadKW: 13200.5, AfterKW: 3990, Feasible: true, Machines: 2900, CostUSD: 156.1}, f.fail
}

func (f *fakeSite) CancelCurtailment(_ context.Context, id, by string) (site.Curtailment, error) {
	for _, c := range f.orders {
		if c.ID == id {
			c.State, c.By = "cancelled", by
			return c, f.fail
		}
	}
	return site.Curtailment{}, sluice.Errorf(sluice.NotFound, "", "there is no curtailment %s", id)
}

func (f *fakeSite) Curtailments(context.Context, int) ([]site.Curtailment, error) {
	return f.orders, f.fail
}

func (f *fakeSite) Decisions(_ context.Context, before int64, limit int) ([]site.Decision, error) {
	var out []site.Decision
	for _, d := range f.decisions {
		if (before == 0 || d.ID < before) && len(out) < limit {
			out = append(out, d)
		}
	}
	return out, f.fail
}

func (f *fakeSite) Decision(_ context.Context, id int64) (site.Decision, error) {
	for _, d := range f.decisions {
		if d.ID == id {
			return d, f.fail
		}
	}
	return site.Decision{}, sluice.Errorf(sluice.NotFound, "", "there is no decision %d", id)
}

func (f *fakeSite) Alarms(_ context.Context, all bool, before int64, limit int) ([]site.Alarm, error) {
	var out []site.Alarm
	for _, a := range f.alarms {
		if (before == 0 || a.ID < before) && (all || a.ClearedAt == nil) && len(out) < limit {
			out = append(out, a)
		}
	}
	return out, f.fail
}

func (f *fakeSite) History(_ context.Context, from, to time.Time, points int) ([]site.Sample, error) {
	f.asked = [2]time.Time{from, to}
	out := make([]site.Sample, points)
	for i := range out {
		out[i] = site.Sample{At: from.Add(to.Sub(from) * time.Duration(i) / time.Duration(points)), LoadKW: float64(i)}
	}
	return out, f.fail
}

// Subscribe hands out a channel that misses events when it is full, as the
// site's does.
func (f *fakeSite) Subscribe(buffer int) (<-chan site.Event, func()) {
	c := make(chan site.Event, buffer)
	f.mu.Lock()
	f.subs[c] = struct{}{}
	f.mu.Unlock()
	f.subbed <- struct{}{}
	return c, func() {
		f.mu.Lock()
		delete(f.subs, c)
		f.mu.Unlock()
		f.ended <- struct{}{}
	}
}

func (f *fakeSite) publish(e site.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.subs {
		select {
		case c <- e:
		default:
		}
	}
}

type fakeJobs struct {
	jobs      []compute.Job
	submitted []Submission
	more      chan string // further output of a followed job; closed at its end
}

func newFakeJobs() *fakeJobs {
	f := &fakeJobs{more: make(chan string)}
	for i := range 5 {
		f.jobs = append(f.jobs, compute.Job{ID: fmt.Sprintf("j-%d", 5-i), Name: "digits", State: compute.Running, SubmittedAt: t0, BilledUSD: 1_500_000})
	}
	f.jobs[4].State = compute.Succeeded
	return f
}

func (f *fakeJobs) Submit(_ context.Context, s Submission) (compute.Job, error) {
	f.submitted = append(f.submitted, s)
	if s.Task == "bad" {
		return compute.Job{}, sluice.Errorf(sluice.Invalid, "write num_nodes: 1", "%s:3:1: num_nodes 2 cannot be honoured", s.File)
	}
	return compute.Job{ID: "j-6", Name: s.Name, State: compute.Queued, SubmittedAt: t0}, nil
}

func (f *fakeJobs) Check(_ context.Context, s Submission) (JobCheck, error) {
	f.submitted = append(f.submitted, s)
	if s.Task == "bad" {
		return JobCheck{}, sluice.Errorf(sluice.Invalid, "", "%s:3:1: num_nodes 2 cannot be honoured", s.File)
	}
	c := CheckOf(&compute.Task{Name: s.Name, NumNodes: 2, Run: s.Task, Resources: compute.Resources{CPUs: 1}}, s.Expect)
	c.Price(0, 1.5)
	return c, nil
}

func (f *fakeJobs) Get(_ context.Context, id string) (compute.Job, error) {
	for _, j := range f.jobs {
		if j.ID == id {
			return j, nil
		}
	}
	return compute.Job{}, sluice.Errorf(sluice.NotFound, "sluice job list shows them", "there is no job %s", id)
}

func (f *fakeJobs) Cancel(ctx context.Context, id, _ string) (compute.Job, error) {
	j, err := f.Get(ctx, id)
	if err == nil && j.State.Ended() {
		err = sluice.Errorf(sluice.Conflict, "", "job %s has ended: %s", id, j.State)
	}
	return j, err
}

func (f *fakeJobs) List(_ context.Context, l JobFilter) ([]compute.Job, error) {
	var out []compute.Job
	past := l.After == ""
	for _, j := range f.jobs {
		if past && (l.Tenant == "" || j.Tenant == l.Tenant) && (l.State == "" || j.State == l.State) && len(out) < l.Limit {
			out = append(out, j)
		}
		past = past || j.ID == l.After
	}
	return out, nil
}

func (f *fakeJobs) Logs(ctx context.Context, id string, from int64, follow bool, w io.Writer) error {
	if _, err := f.Get(ctx, id); err != nil {
		return err
	}
	if _, err := io.WriteString(w, "epoch 1\nepoch 2\n"[from:]); err != nil {
		return err
	}
	for follow {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s, ok := <-f.more:
			if !ok {
				return nil
			}
			if _, err := io.WriteString(w, s); err != nil {
				return err
			}
		}
	}
	return nil
}

type fakeBooks struct {
	entries []ledger.Entry
	break_  error // of the export, after its first 100 kB
}

func newFakeBooks() *fakeBooks {
	f := &fakeBooks{}
	for i := range 5 {
		f.entries = append(f.entries, ledger.Entry{ID: fmt.Sprintf("e-%d", i), At: t0.Add(time.Duration(i) * 5 * time.Minute), Text: "mining", Postings: []ledger.Posting{
			{Account: "assets:receivable:pool", Commodity: "USD", Amount: 1_000_000}, {Account: "revenue:mining:hashrate", Commodity: "USD", Amount: -1_000_000},
		}})
	}
	return f
}

func (f *fakeBooks) Balances(context.Context) ([]ledger.Balance, error) {
	return ledger.TrialBalance(f.entries)
}

func (f *fakeBooks) Entries(_ context.Context, l EntryFilter) ([]ledger.Entry, error) {
	var out []ledger.Entry
	past := l.After == ""
	for _, e := range f.entries {
		if past && !e.At.Before(l.From) && (l.To.IsZero() || e.At.Before(l.To)) && len(out) < l.Limit {
			out = append(out, e)
		}
		past = past || e.ID == l.After
	}
	return out, nil
}

func (f *fakeBooks) ExportHledger(_ context.Context, w io.Writer) error {
	for i := range 10_000 {
		if f.break_ != nil && i == 5000 {
			return f.break_
		}
		if _, err := fmt.Fprintf(w, "2023-08-25 mining %d\n", i); err != nil {
			return err
		}
	}
	return nil
}

var errDisk = errors.New("the disk is gone")

func fakeBackup(_ context.Context, dest string) error {
	return os.WriteFile(dest, []byte("the whole site"), 0o600)
}
