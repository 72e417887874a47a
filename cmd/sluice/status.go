package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"

	"sluice"
	"sluice/site"

	"github.com/spf13/cobra"
)

// watchEvery is how often --watch looks, wall time.
const watchEvery = time.Second

// fewAlarms is how many a glance shows; the gravest come first.
const fewAlarms = 10

func statusCmd() *cobra.Command {
	var watch, asJSON bool
	cmd, at := talks(&cobra.Command{
		Use: "status", Short: "Show the site at a glance", Args: exactly(),
	})
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "keep showing it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		show := func() error {
			st, raw, err := askFor[site.Status](cmd.Context(), c, http.MethodGet, "/site", nil)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON {
				return printJSON(w, raw)
			}
			i := inkFor(w)
			var b strings.Builder
			if err := writeStatus(&b, st, i); err != nil {
				return err
			}
			if watch && bool(i) {
				fmt.Fprint(w, "\x1b[H\x1b[J")
			}
			_, err = io.WriteString(w, b.String())
			return err
		}
		if !watch {
			return show()
		}
		return repeat(cmd.Context(), watchEvery, show)
	}
	return cmd
}

// repeat calls f at once and then in that step until it fails or ctx ends, which
// is how a person ends it and no error.
func repeat(ctx context.Context, step time.Duration, f func() error) error {
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		if err := f(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// writeStatus draws the status as a person reads it.
func writeStatus(w io.Writer, st site.Status, i ink) error {
	if st.Demo {
		fmt.Fprintln(w, i.warn(fmt.Sprintf("DEMO: replayed history and virtual machines, at %s times the speed of the wall clock", figure(st.Speed, 0))))
	}
	mode := st.Mode
	if mode == "observe" {
		mode = "observe (plans, touches nothing)"
	}
	fmt.Fprintf(w, "%s  %s UTC  %s\n\n", i.bold(plain(st.Name)), stamp(st.Now), mode)

	scale := max(st.LimitKW, st.LoadKW)
	use := func(name string, kw float64, more string) {
		fmt.Fprintf(w, "  %-9s %12s  %s  %s\n", name, mw(kw), bar(kw, scale, 30), more)
	}
	share := ""
	if st.LimitKW > 0 {
		share = fmt.Sprintf("%.1f %% of the limit of %s", 100*st.LoadKW/st.LimitKW, mw(st.LimitKW))
		if st.LimitKW < st.ConnectionKW {
			share += fmt.Sprintf(" (curtailed from %s)", mw(st.ConnectionKW))
		}
		if st.LoadKW > st.LimitKW {
			share = i.bad(share)
		}
	}
	use("load", st.LoadKW, share)
	use("mining", st.MiningKW, figure(st.HashratePHs, 1)+" PH/s")
	gpus := "no GPUs"
	if st.GPUs > 0 {
		gpus = fmt.Sprintf("%s of %s GPUs busy", figure(float64(st.GPUsBusy), 0), figure(float64(st.GPUs), 0))
	}
	use("AI", st.AIKW, gpus)
	use("other", st.OtherKW, "load from "+orDash(string(st.LoadSource)))

	fmt.Fprintf(w, "\n  price     %12s $/MWh   hashprice %s $/PH/day\n", figure(st.PriceUSDPerMWh, 2), figure(st.HashpriceUSDPerPHDay, 2))
	if f := st.Forecast; f != nil {
		text := "not in use yet: " + plain(f.Note)
		if f.Ready && f.LearnedTo != nil {
			text = fmt.Sprintf("%s $/MWh expected next, learned from %s days up to %s", figure(f.NextUSDPerMWh, 2), figure(f.LearnedDays, 0), stamp(*f.LearnedTo))
		}
		fmt.Fprintf(w, "  forecast  %s\n", text)
	}
	fmt.Fprintf(w, "  margin    %12s $/h     mining %s, AI %s\n", figure(st.MarginUSDPerHour, 2), figure(st.MiningMarginUSDHour, 2), figure(st.AIMarginUSDHour, 2))
	for n, r := range st.Reserves {
		label := ""
		if n == 0 {
			label = "reserves"
		}
		fmt.Fprintf(w, "  %-9s %12s  %s, ready of %s planned, at %s $/MW·h: %s $/h\n", label, mw(r.ReadyKW), plain(r.Name), mw(r.PlannedKW),
			figure(r.USDPerMWh, 2), figure(r.USDPerHour, 2))
	}
	writeFacility(w, st, i)
	fmt.Fprintf(w, "  machines  %s\n", tally(st.Machines))
	fmt.Fprintf(w, "  jobs      %s\n", tally(st.Jobs))
	if p := st.Plan; p != nil {
		feasible := ""
		if !p.Feasible {
			feasible = i.bad(", keeps not every limit")
		}
		fmt.Fprintf(w, "  plan      decision %d, %s ago, solved in %.0f ms%s\n", p.Decision, span(st.Now.Sub(p.At)), p.SolveMS, feasible)
	}

	for _, c := range st.Curtailments {
		fmt.Fprintln(w, "\n"+i.warn(plain(orderLine(c, st.Now))))
	}
	return writeLists(w, st, i)
}

// fewMeters is how many balances and sensors a glance shows; --json has all.
const fewMeters = 6

// writeFacility draws where the power into metered nodes goes, and what sensors
// tell.
func writeFacility(w io.Writer, st site.Status, i ink) {
	for n, b := range st.Balance[:min(len(st.Balance), fewMeters)] {
		label := ""
		if n == 0 {
			label = "balance"
		}
		fmt.Fprintf(w, "  %-9s %12s  at %s = mining %s + AI %s + cooling and losses %s + residual %s\n", label, mw(b.MeterKW), plain(b.Node),
			mw(b.MiningKW), mw(b.AIKW), mw(b.CoolingLossesKW), mw(b.ResidualKW))
	}
	for n, x := range st.Sensors[:min(len(st.Sensors), fewMeters)] {
		label := ""
		if n == 0 {
			label = "sensors"
		}
		var values []string
		for _, v := range x.Values[:min(len(x.Values), 5)] {
			values = append(values, strings.TrimSpace(fmt.Sprintf("%s %s %s", plain(v.Name), figure(v.Value, 1), v.Unit)))
		}
		text := orDash(strings.Join(values, ", "))
		if x.Stale {
			text = i.bad("stale") + " " + text
		}
		fmt.Fprintf(w, "  %-9s %s: %s\n", label, plain(x.Name), text)
	}
}

func writeLists(w io.Writer, st site.Status, i ink) error {
	if len(st.Alarms) > 0 {
		fmt.Fprintln(w, "\n"+i.bad("ALARMS"))
		g := newGrid(w)
		for _, a := range st.Alarms[:min(len(st.Alarms), fewAlarms)] {
			g.row("  "+string(a.Severity), a.Name, a.Subject, clip(a.Text, 100), span(st.Now.Sub(a.At))+" ago")
		}
		if err := g.flush(); err != nil {
			return err
		}
		if more := len(st.Alarms) - fewAlarms; more > 0 {
			fmt.Fprintf(w, "  and %s more: sluice alarms\n", figure(float64(more), 0))
		}
	}
	if len(st.Feeds) > 0 {
		fmt.Fprintln(w, "\n"+i.bold("FEEDS"))
		g := newGrid(w)
		for _, f := range st.Feeds {
			age := "never"
			if !f.AsOf.IsZero() {
				age = span(st.Now.Sub(f.AsOf)) + " old"
			}
			if f.Stale {
				age += ", STALE"
			}
			g.row("  "+f.Name, figure(f.Value, 2)+" "+f.Unit, age, f.Origin, f.Note)
		}
		if err := g.flush(); err != nil {
			return err
		}
	}
	if len(st.Strikes) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\n"+i.bold("MERIT ORDER")+"  what stops first when power is dear or short")
	g := newGrid(w, "  CLASS", "MODE", "DIVISION", "STRIKE $/MWh", "RUNNING", "LOAD", "")
	for _, s := range st.Strikes {
		note := ""
		switch {
		case s.Division == sluice.AI && !s.Interruptible:
			note = "firm"
		case s.StrikeUSDPerMWh < st.PriceUSDPerMWh:
			note = "below the price"
		}
		g.row("  "+s.Class, s.Mode, string(s.Division), figure(s.StrikeUSDPerMWh, 1), fmt.Sprintf("%d of %d", s.Running, s.Units), mw(s.KW), note)
	}
	return g.flush()
}

// bar draws a share of width cells, to an eighth of a cell.
func bar(v, scale float64, width int) string {
	if scale <= 0 || v < 0 {
		v, scale = 0, 1
	}
	eighths := int(v/scale*float64(width)*8 + 0.5)
	eighths = min(eighths, width*8)
	s := strings.Repeat("█", eighths/8)
	if r := eighths % 8; r > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[r-1])
	}
	return s + strings.Repeat("·", width-(eighths+7)/8)
}

// tally prints counts, the most first.
func tally(by map[string]int) string {
	keys := make([]string, 0, len(by))
	for k, n := range by {
		if n > 0 {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	slices.SortStableFunc(keys, func(a, b string) int { return by[b] - by[a] })
	for i, k := range keys {
		keys[i] = figure(float64(by[k]), 0) + " " + plain(k)
	}
	if len(keys) == 0 {
		return "none"
	}
	return strings.Join(keys, ", ")
}
