package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/backtest"
	"sluice/compute"
	"sluice/config"
	"sluice/feed"
	"sluice/history"
	"sluice/site"
)

// backtestCmd runs policies over recorded history.
func backtestCmd() *cobra.Command {
	var file, data, from, to, htmlFile, csvFile string
	var policies []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "backtest --config FILE --from DATE --to DATE",
		Short: "Run the controller over recorded history, other policies beside it",
		Long: `Runs the live controller's own code over recorded prices, hashprice, reserves and
jobs, and other policies over the same history:

  always      miners run whatever power costs
  static      each use keeps its share of the power; nothing is stopped for a price
  last-price  a unit runs if its strike price is above the last price
  sluice      the live controller
  hindsight   an upper bound on all of them, from the optimiser's proven bounds

  sluice backtest --config examples/site-ercot.yaml --data DIR --from 2021-01-01 --to 2022-01-01 --html year.html`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "config", "from", "to"); err != nil {
				return err
			}
			o, err := backtestOptions(file, data, from, to)
			if err != nil {
				return err
			}
			if len(policies) == 0 {
				policies = backtest.Policies()
			}
			for _, p := range policies {
				if err := backtest.Check(p); err != nil {
					return err
				}
			}
			for _, path := range []string{htmlFile, csvFile} { // before minutes of work
				if info, err := os.Stat(filepath.Dir(path)); path != "" && (err != nil || !info.IsDir()) {
					return sluice.Errorf(sluice.Invalid, "make it first", "writing %s: there is no folder %s", path, filepath.Dir(path))
				}
			}
			bar := newProgress(cmd.ErrOrStderr(), "steps")
			o.Progress = bar.part
			r, err := backtest.Run(cmd.Context(), o, policies)
			bar.done()
			if err != nil {
				return err
			}
			for _, x := range []struct {
				path  string
				write func(f *os.File) error
			}{
				{htmlFile, func(f *os.File) error { return r.WriteHTML(f) }},
				{csvFile, func(f *os.File) error { return r.WriteCSV(f) }},
			} {
				if x.path == "" {
					continue
				}
				if err := writeFile(x.path, x.write); err != nil {
					return err
				}
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(r)
			}
			return r.WriteText(cmd.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&file, "config", "", "the site: a sluice.yaml with a history section")
	f.StringVar(&data, "data", "", "folder of the recorded series (default: the configuration's)")
	f.StringVar(&from, "from", "", "first day or instant, such as 2021-01-01")
	f.StringVar(&to, "to", "", "end, excluded")
	f.StringSliceVar(&policies, "policy", nil, "run only these (default all)")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	f.StringVar(&htmlFile, "html", "", "write a page with pictures to this file")
	f.StringVar(&csvFile, "csv", "", "write the table as CSV to this file")
	return c
}

// writeFile writes a file beside its place first, so that nothing is half done.
func writeFile(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return sluice.Errorf(sluice.Invalid, "give a path in a folder that can be written to", "writing %s: %v", path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // it is gone where all went well
	if err := write(f); err != nil {
		f.Close()
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := f.Chmod(0o644); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// instant reads a date or an instant; a date is its midnight UTC.
func instant(flag, s string) (time.Time, error) {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, sluice.Errorf(sluice.Invalid, "write 2021-01-01 or 2021-01-01T06:00:00Z", "--%s: %q is neither a date nor an instant", flag, s)
}

func backtestOptions(file, data, from, to string) (backtest.Options, error) {
	var o backtest.Options
	c, err := config.Load(file)
	if err != nil {
		return o, err
	}
	if o.From, err = instant("from", from); err != nil {
		return o, err
	}
	if o.To, err = instant("to", to); err != nil {
		return o, err
	}
	if len(c.History.Series) == 0 {
		return o, sluice.Errorf(sluice.Invalid, "examples/site-ercot.yaml has one to start from", "%s has no history.series: there is nothing to run over", file)
	}
	o.Site = siteOf(c)
	for _, h := range c.Hosts {
		if h.Driver == "virtual" {
			o.Site.Hosts = append(o.Site.Hosts, virtualHosts(h))
		}
	}
	o.Site.Reserves = reserveSpecs(c)
	o.Count = map[string]int{}
	for _, m := range c.ExpandMachines() {
		o.Count[m.Class]++
	}
	for _, k := range c.Classes {
		if k.Count > 0 {
			o.Count[k.Name] = k.Count
		}
	}
	o.USDPer = c.Site.USDPer
	o.Series = recordedSeries(c, data)
	if t := c.History.Jobs; t.File != "" {
		o.Jobs = &history.JobSpec{
			Path: dataFile(c, data, t.File), Trace: t.Trace, Repeat: true, Skip: time.Duration(t.Skip), Every: t.Every, MaxGPUs: t.MaxGPUs, InterruptibleShare: float64(t.Interruptible),
		}
		o.Terms = backtest.Terms{MinHours: t.MinHours, MaxHours: t.MaxHours, Slack: t.Slack, Patience: time.Duration(t.Patience)}
	}
	return o, nil
}

// recordedSeries are the series of a configuration.
func recordedSeries(c *config.Config, data string) map[feed.Quantity]history.Spec {
	out := map[feed.Quantity]history.Spec{}
	for _, r := range c.History.Series {
		q := feed.Quantity(r.Quantity)
		s := history.Spec{Path: dataFile(c, data, r.File), Column: r.Column, Step: time.Duration(r.Interval)}
		s.Low, s.High = feed.Bounds(q)
		out[q] = s
	}
	return out
}

// dataFile is where a recorded file stands: in the data folder, else beside the
// configuration.
func dataFile(c *config.Config, data, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	if data != "" {
		if p := filepath.Join(data, name); fileThere(p) || !fileThere(filepath.Join(c.Dir, name)) {
			return p
		}
	}
	return filepath.Join(c.Dir, name)
}

func fileThere(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}

// siteOf is the site of a configuration without its machines.
func siteOf(c *config.Config) site.Options {
	s := c.Site
	o := site.Options{
		Name: s.Name, Mode: s.Mode, Control: controlled(s),
		Step: time.Duration(s.Step), Horizon: time.Duration(s.Horizon), Guard: float64(s.Guard), Ramp: sluice.Watts(s.Ramp),
		Overhead: s.Overhead, PoolFee: float64(s.PoolFee), MaxReadingAge: time.Duration(s.MaxReadingAge), Webhook: c.Alarms.Webhook,
	}
	for _, n := range c.Nodes {
		o.Nodes = append(o.Nodes, site.NodeSpec{Name: n.Name, Parent: n.Parent, Limit: sluice.Watts(n.Limit)})
	}
	for _, k := range c.Classes {
		cs := site.ClassSpec{Name: k.Name, Node: k.Node, Model: k.Model, MinOn: time.Duration(k.MinOn), MinOff: time.Duration(k.MinOff), WakeTime: time.Duration(k.WakeTime)}
		for _, m := range k.Modes {
			cs.Modes = append(cs.Modes, sluice.Mode{Name: m.Name, Power: sluice.Watts(m.Power), HashRate: sluice.HashRate(m.Hashrate)})
		}
		o.Classes = append(o.Classes, cs)
	}
	return o
}

// virtualHosts are the hosts of a kind that stand in backtests and plans.
func virtualHosts(h config.Host) site.HostClass {
	out := site.HostClass{Name: h.Name, Node: h.Node, Model: h.GPU, RateUSD: h.Rate, SpotRateUSD: h.SpotRate}
	for i := range h.Count {
		out.Hosts = append(out.Hosts, compute.Host{
			Name: fmt.Sprintf("%s-%03d", h.Name, i+1), Class: h.Name, Executor: "virtual", Units: h.Slots, GPUModel: h.GPU,
			IdleW: sluice.Watts(h.IdlePower), UnitW: sluice.Watts(h.SlotPower),
		})
	}
	return out
}
