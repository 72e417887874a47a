package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/config"
	"sluice/feed"
	"sluice/history"
	"sluice/pivot"
)

func planCmd() *cobra.Command {
	return apiGroup("plan", "What the owner of a site should build", planPivotCmd())
}

func planPivotCmd() *cobra.Command {
	var file, data, csvFile, htmlFile string
	var asJSON bool
	var steps, scenarios, years int
	var seed uint64
	cmd := &cobra.Command{
		Use:   "pivot --config FILE",
		Short: "How many megawatts of mining to convert to AI",
		Long: `Says for 0 to 100 % of a site what it would bring to convert so much of it to
AI: profit by division, capital, payback, present value and internal rate of
return, how much monthly cash swings, and what the AI saves because miners make
room for it when the grid calls. Scenarios are drawn from the recorded prices of
the configuration, prices and hashprice together; every week of them is solved by
the optimiser that runs the site.

The configuration needs a node with a limit, classes with counts (or machines),
and history.series with real_time_usd_per_mwh and the bitcoin network. What the
section pivot leaves out has a default; the output names each input with its unit
and where it comes from. docs/pivot.md has the formulas.`,
		Example: `  sluice plan pivot --config examples/site-ercot.yaml --data DIR --html pivot.html
  sluice plan pivot --config site.yaml --steps 20 --years 12 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "config"); err != nil {
				return err
			}
			for flag, n := range map[string]int{"steps": steps, "scenarios": scenarios, "years": years} {
				if n < 1 {
					return sluice.Errorf(sluice.Invalid, "give a number above 0", "--%s: %d", flag, n)
				}
			}
			c, err := config.Load(file)
			if err != nil {
				return err
			}
			p, err := pivotPlan(c, file, data)
			if err != nil {
				return err
			}
			p.Steps, p.Scenarios, p.Years, p.Seed, p.Workers = steps, scenarios, years, seed, runtime.GOMAXPROCS(0)
			r, err := runPivot(cmd, p)
			if err != nil {
				return err
			}
			for path, write := range map[string]func(*os.File) error{
				csvFile:  func(f *os.File) error { return r.WriteCSV(f) },
				htmlFile: func(f *os.File) error { return r.WriteHTML(f) },
			} {
				if path == "" {
					continue
				}
				if err := writeFile(path, write); err != nil {
					return err
				}
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				e.SetEscapeHTML(false)
				return e.Encode(r)
			}
			return r.WriteText(cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "the site: a sluice.yaml with a history section")
	f.StringVar(&data, "data", "", "folder in which recorded series are looked up first (default: the configuration's)")
	f.IntVar(&steps, "steps", 10, "shares between 0 and 100 %")
	f.IntVar(&scenarios, "scenarios", 500, "scenarios that are drawn from the history")
	f.IntVar(&years, "years", 10, "years from the order on")
	f.Uint64Var(&seed, "seed", 1, "of the scenarios: the same seed gives the same result")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	f.StringVar(&csvFile, "csv", "", "write the steps as CSV to this file")
	f.StringVar(&htmlFile, "html", "", "write a page with pictures to this file")
	return cmd
}

// runPivot runs the plan with a bar for each of its stages.
func runPivot(cmd *cobra.Command, p pivot.Plan) (*pivot.Result, error) {
	var bar *progress
	stage := ""
	r, err := pivot.Run(cmd.Context(), p, func(at pivot.Progress) {
		if at.Stage != stage {
			if bar != nil {
				bar.done()
			}
			stage, bar = at.Stage, newProgress(cmd.ErrOrStderr(), at.Unit)
		}
		bar.part(stage, at.Done, at.Total)
	})
	if bar != nil {
		bar.done()
	}
	if errors.Is(err, context.Canceled) {
		return nil, sluice.Errorf(sluice.Unavailable, "", "the plan was cancelled")
	}
	return r, err
}

// pivotPlan makes the plan of a configuration.
func pivotPlan(c *config.Config, file, data string) (pivot.Plan, error) {
	var p pivot.Plan
	series := pivot.Series{USDPer: c.Site.USDPer}
	specs := map[feed.Quantity]*history.Spec{
		feed.RealTimePrice: &series.RealTime, feed.Hashprice: &series.Hashprice, feed.BTCPrice: &series.BTC,
		feed.Difficulty: &series.Difficulty, feed.Subsidy: &series.Subsidy, feed.Fees: &series.Fees,
	}
	for _, r := range c.History.Series {
		q := feed.Quantity(r.Quantity)
		if s := specs[q]; s != nil {
			*s = history.Spec{Path: dataFile(c, data, r.File), Column: r.Column, Step: time.Duration(r.Interval)}
			s.Low, s.High = feed.Bounds(q)
		}
	}
	if series.RealTime.Path == "" {
		return p, sluice.Errorf(sluice.Invalid, "add it, with its file and column", "%s: history.series has no real_time_usd_per_mwh, and a plan needs recorded prices", file)
	}
	if err := pivotSite(c, file, &p.Site); err != nil {
		return p, err
	}
	numbersOf(c, reflect.ValueOf(c.Pivot), "", p.Terms.Set)
	for i, v := range c.Pivot.Conversions {
		at := fmt.Sprintf("conversions[%d].", i)
		out := pivot.Conversion{
			Name: v.Name, Kind: v.Kind, Model: v.GPU, ModelSource: c.Pivot.Given[at+"gpu"],
			ClientPays: v.EnergyPaidBy == "client", PaysSource: c.Pivot.Given[at+"energy_paid_by"],
			NoRenewal: v.Renew == "no", RenewSource: c.Pivot.Given[at+"renew"],
		}
		numbersOf(c, reflect.ValueOf(v), at, out.Set)
		p.Conversions = append(p.Conversions, out)
	}
	var err error
	p.History, err = pivot.ReadHistory(series)
	return p, err
}

// pivotSite takes the site over: what the hosts that stand already may draw is no
// longer there to be converted.
func pivotSite(c *config.Config, file string, s *pivot.Site) error {
	s.Name = c.Site.Name
	s.Overhead = pivot.Number{Value: c.Site.Overhead, Source: file + ": site.overhead, or its default"}
	s.PoolFee = pivot.Number{Value: float64(c.Site.PoolFee), Source: file + ": site.pool_fee, or its default"}
	hosts := 0.0
	for _, h := range c.Hosts {
		if h.Driver == "virtual" {
			hosts += float64(h.Count) * (h.IdlePower.Watts().KW() + float64(h.Slots)*h.SlotPower.Watts().KW()) * c.Site.Overhead
		}
	}
	for _, n := range c.Nodes {
		s.Nodes = append(s.Nodes, pivot.Node{Name: n.Name, Parent: n.Parent, KW: n.Limit.Watts().KW() * (1 - float64(c.Site.Guard))})
		if n.Parent != "" {
			continue
		}
		if n.Limit == 0 {
			return sluice.Errorf(sluice.Invalid, "give it one", "%s: the connection %s has no limit, and a plan needs to know how much there is to convert", file, n.Name)
		}
		kw := n.Limit.Watts().KW()*(1-float64(c.Site.Guard)) - hosts
		source := fmt.Sprintf("%s: the limit of %s less the guard of %g %%", file, n.Name, 100*float64(c.Site.Guard))
		if hosts > 0 {
			source += fmt.Sprintf(" and %.0f kW of hosts that stand already", hosts)
		}
		if kw <= 0 {
			return sluice.Errorf(sluice.Invalid, "", "%s: hosts that stand already may draw %.0f kW, all that the connection gives: nothing is left to convert", file, hosts)
		}
		s.KW = pivot.Number{Value: kw, Source: source}
	}
	listed := map[string]int{}
	for _, m := range c.ExpandMachines() {
		listed[m.Class]++
	}
	for _, k := range c.Classes {
		out := pivot.Class{Name: k.Name, Node: k.Node, Count: k.Count, CountSource: file + ": classes", WakeMinutes: k.WakeTime.Duration().Minutes()}
		if k.Count == 0 {
			out.Count, out.CountSource = listed[k.Name], file+": machines"
		}
		for _, m := range k.Modes {
			out.Modes = append(out.Modes, pivot.Mode{Name: m.Name, KW: m.Power.Watts().KW(), THs: m.Hashrate})
		}
		for i, f := range c.Pivot.Fleet {
			if f.Class == k.Name {
				at := fmt.Sprintf("fleet[%d].", i)
				numbersOf(c, reflect.ValueOf(f), at, out.Set)
			}
		}
		s.Classes = append(s.Classes, out)
	}
	return nil
}

// numbersOf hands over each number of the struct that the file gives, by its name
// below pivot and in the unit that the plan takes (kW of powers). Structs within
// are walked; lists are the caller's.
func numbersOf(c *config.Config, v reflect.Value, at string, set func(name string, n pivot.Number) bool) {
	numbersAt(c, v, at, "", set)
}

func numbersAt(c *config.Config, v reflect.Value, at, name string, set func(string, pivot.Number) bool) {
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("yaml")
		if key == "-" {
			continue
		}
		key = name + key
		f := v.Field(i)
		source, given := c.Pivot.Given[at+key]
		if f.Kind() == reflect.Struct {
			numbersAt(c, f, at, key+".", set)
			continue
		}
		if !given {
			continue
		}
		switch x := f.Interface().(type) {
		case float64:
			set(key, pivot.Number{Value: x, Source: source})
		case config.Ratio:
			set(key, pivot.Number{Value: float64(x), Source: source})
		case config.Power:
			set(key, pivot.Number{Value: x.Watts().KW(), Source: source})
		case int:
			set(key, pivot.Number{Value: float64(x), Source: source})
		}
	}
}
