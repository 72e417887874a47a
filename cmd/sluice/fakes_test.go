package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/jobfile"
	"sluice/ledger"
	"sluice/server"
	"sluice/site"
)

// cliTime is the site time of the far side.
var cliTime = time.Date(2023, 8, 25, 20, 0, 0, 0, time.UTC)

// cliSite is the site on the far side of the wire; what a test does not need
// stays nil and would panic.
type cliSite struct {
	server.Site
	status   site.Status
	machines []site.Machine
	orders   []site.Curtailment
	made     []site.CurtailmentOrder
	pins     []site.Pin
	decided  chan site.Event
	newest   int64
}

func (s *cliSite) Status() site.Status      { return s.status }
func (s *cliSite) Machines() []site.Machine { return s.machines }
func (s *cliSite) Machine(name string) (site.Machine, error) {
	for _, m := range s.machines {
		if m.Name == name {
			for _, p := range s.pins {
				m.Pin = &p
			}
			return m, nil
		}
	}
	return site.Machine{}, sluice.Errorf(sluice.NotFound, "sluice machine list shows them", "there is no machine %s", name)
}

func (s *cliSite) Pin(_ context.Context, p site.Pin) error {
	s.pins = append(s.pins, p)
	return nil
}

func (s *cliSite) Release(context.Context, string, string) error {
	if len(s.pins) == 0 {
		return sluice.Errorf(sluice.Conflict, "", "it is not pinned")
	}
	s.pins = nil
	return nil
}

func (s *cliSite) Curtail(_ context.Context, o site.CurtailmentOrder) (site.Curtailment, error) {
	s.made = append(s.made, o)
	c := site.Curtailment{ID: "c-3", Node: "site", LimitKW: o.Limit.KW(), From: cliTime, Until: o.Until, State: "active", By: o.By, Why: o.Why}
	met, wall := 12.5, 0.21
	done := c
	done.MetAfterS, done.MetAfterWallS, done.MetAt = &met, &wall, &cliTime
	done.Shed = []site.Shed{{AfterS: 4, Machines: 1200, KW: 3900, Outcome: sluice.ConfirmedByDevice}, {AfterS: 12.5, Machines: 1700, KW: 5300, Outcome: sluice.ConfirmedByMeter}}
	s.orders = append([]site.Curtailment{done}, s.orders...)
	return c, nil
}

func (s *cliSite) PreviewCurtailment(_ context.Context, o site.CurtailmentOrder) (site.Preview, error) {
	return site.Preview{
		Node: "site", LimitKW: o.Limit.KW(), LoadKW: 13200.5, AfterKW: 3990, Feasible: false, Machines: 2900, Jobs: 1, CostUSD: 1156.1,
		Shed: []site.PreviewShed{{Class: "s19", From: "mine", To: "sleep", Units: 2900, KW: -9200, USDPerHour: 312.2, USDPerKWh: 0.0339, Jobs: []string{"j-1"}}},
	}, nil
}

func (s *cliSite) CancelCurtailment(_ context.Context, id, _ string) (site.Curtailment, error) {
	if id != "c-2" {
		return site.Curtailment{}, sluice.Errorf(sluice.Conflict, "", "curtailment %s has ended", id)
	}
	return site.Curtailment{ID: id, State: "cancelled"}, nil
}

func (s *cliSite) Curtailments(context.Context, int) ([]site.Curtailment, error) {
	return s.orders, nil
}

func (s *cliSite) Decisions(_ context.Context, before int64, limit int) ([]site.Decision, error) {
	var out []site.Decision
	for id := s.newest; id > 0 && len(out) < limit; id-- {
		if before == 0 || id < before {
			out = append(out, site.Decision{
				ID: id, At: cliTime, Trigger: "price", Applied: id > 1, PriceUSDMWh: 212.4, LimitKW: 14000,
				Moves:    []site.Move{{Class: "s19", From: "mine", To: "sleep", Units: 1200, KW: -3900, Reason: "strike 55.1 < price 212.4 $/MWh"}},
				JobMoves: []site.JobMove{{Job: "j-1", Name: "digits", Action: "start", Host: "local", Reason: "firm"}},
			})
		}
	}
	return out, nil
}

func (s *cliSite) Alarms(_ context.Context, all bool, _ int64, _ int) ([]site.Alarm, error) {
	if !all {
		return nil, nil
	}
	return []site.Alarm{{ID: 1, At: cliTime, Severity: sluice.Warning, Name: "feed-stale", Subject: "btc", Text: "36h old\x1b[2J", Hint: "is the file there?", ClearedAt: &cliTime}}, nil
}
func (s *cliSite) Subscribe(int) (<-chan site.Event, func()) { return s.decided, func() {} }

type cliJobs struct {
	got  server.Submission
	jobs map[string]compute.Job
}

func (j *cliJobs) Submit(_ context.Context, s server.Submission) (compute.Job, error) {
	j.got = s
	if strings.Contains(s.Task, "num_nodes: 2") {
		return compute.Job{}, sluice.Errorf(sluice.Invalid, "write num_nodes: 1", "%s:1:12: num_nodes 2 cannot be honoured", s.File)
	}
	if strings.Contains(s.Task, "num_nodes: 3") {
		return compute.Job{}, sluice.Errorf(sluice.Invalid, "", "a.yaml:1:1: first\na.yaml:2:1: sec\x1bond")
	}
	id := "j-ok"
	if s.Name == "breaks" {
		id = "j-bad"
	}
	return compute.Job{ID: id, Name: s.Name, State: compute.Queued, Why: "waits for room"}, nil
}

func (j *cliJobs) Check(_ context.Context, s server.Submission) (server.JobCheck, error) {
	j.got = s
	task, err := jobfile.Parse([]byte(s.Task), jobfile.Options{File: s.File, Env: s.Env, Secrets: s.Secrets, Check: true, Site: &jobfile.Site{Name: "west", GPUs: []string{"L4", "H100"}}})
	if err != nil {
		return server.JobCheck{}, err
	}
	c := server.CheckOf(task, s.Expect)
	c.Priced = true
	for i := range c.Choices {
		if ch := &c.Choices[i]; ch.Resources.Accelerator == "L4" {
			ch.Why = "h1 has 4 units of the 8"
		} else {
			ch.Fits = true
			c.Price(i, 2*float64(max(ch.Resources.GPUs, 1)))
		}
	}
	return c, nil
}

func (j *cliJobs) Get(_ context.Context, id string) (compute.Job, error) {
	if v, ok := j.jobs[id]; ok {
		return v, nil
	}
	return compute.Job{}, sluice.Errorf(sluice.NotFound, "sluice job list shows them", "there is no job %s", id)
}

func (j *cliJobs) Cancel(ctx context.Context, id, _ string) (compute.Job, error) {
	return j.Get(ctx, id)
}

func (j *cliJobs) List(_ context.Context, f server.JobFilter) ([]compute.Job, error) {
	var out []compute.Job
	for _, id := range []string{"j-ok", "j-bad"} {
		if v := j.jobs[id]; f.State == "" || v.State == f.State {
			out = append(out, v)
		}
	}
	return out, nil
}

func (j *cliJobs) Logs(ctx context.Context, id string, _ int64, _ bool, w io.Writer) error {
	if _, err := j.Get(ctx, id); err != nil {
		return err
	}
	_, err := io.WriteString(w, "epoch 1\n")
	return err
}

type cliBooks struct {
	off    sluice.Money // what the books are off by
	broken bool
}

func (b *cliBooks) Balances(context.Context) ([]ledger.Balance, error) {
	return []ledger.Balance{{Account: "assets:receivable:pool", Commodity: "USD", Amount: 1_234_567_890_000}, {Account: "revenue:mining:hashrate", Commodity: "USD", Amount: -1_234_567_890_000 + b.off}}, nil
}

func (b *cliBooks) Entries(context.Context, server.EntryFilter) ([]ledger.Entry, error) {
	return nil, nil
}

func (b *cliBooks) ExportHledger(_ context.Context, w io.Writer) error {
	for i := range 20_000 {
		if _, err := fmt.Fprintf(w, "2023-08-25 entry %d\n", i); err != nil {
			return err
		}
		if b.broken && i == 15_000 {
			return errors.New("the disk is gone")
		}
	}
	return nil
}
