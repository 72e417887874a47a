package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/server"
	"sluice/site"

	"github.com/spf13/cobra"
)

// followEvery is how often a followed order is looked at, wall time.
const followEvery = 500 * time.Millisecond

func curtailCmd() *cobra.Command {
	var limit, id, node, by, why string
	var length, within time.Duration
	var preview, follow, asJSON bool
	cmd, at := talks(&cobra.Command{
		Use:   "curtail --limit 4MW --for 30m",
		Short: "Order the site, or a node of it, to keep its load under a limit for a while",
		Long: "Order the site, or a node of it, to keep its load under a limit for a while. It is obeyed at once.\n" +
			"The length is in the site's own time, which in a demo runs faster than the wall's.",
		Args: subcommandOnly,
	})
	f := cmd.Flags()
	f.StringVar(&limit, "limit", "", "most load, such as 4MW or 900kW")
	f.DurationVar(&length, "for", 0, "how long, such as 30m")
	f.DurationVar(&within, "within", 0, "by when the load must be gone, such as 10s: slower ways down are avoided (default: as soon as may be)")
	f.StringVar(&node, "node", "", "node of the power tree (default: the whole site)")
	f.StringVar(&why, "why", "", "why, for the record")
	f.StringVar(&by, "by", me(), "who orders it")
	f.StringVar(&id, "id", "", "your own ID of the order: giving it twice changes nothing")
	f.BoolVar(&preview, "preview", false, "only show what it would shed and cost")
	f.BoolVarP(&follow, "follow", "f", false, "wait and show the load go, until the limit is met")
	f.BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := need(cmd, "limit", "for"); err != nil {
			return err
		}
		w, err := parseWatts(limit)
		if err != nil {
			return err
		}
		if length <= 0 {
			return sluice.Errorf(sluice.Invalid, "such as --for 30m", "--for %s is no length of an order", length)
		}
		if within < 0 {
			return sluice.Errorf(sluice.Invalid, "such as --within 10s", "--within %s is no time", within)
		}
		c, err := at.open()
		if err != nil {
			return err
		}
		order := server.Order{ID: id, WithinS: within.Seconds(), Node: node, LimitKW: w.KW(), ForS: length.Seconds(), By: by, Why: why}
		out := cmd.OutOrStdout()
		if preview {
			p, raw, err := askFor[site.Preview](cmd.Context(), c, http.MethodPost, "/curtailments/preview", order)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(out, raw)
			}
			return writePreview(out, p)
		}
		got, raw, err := askFor[site.Curtailment](cmd.Context(), c, http.MethodPost, "/curtailments", order)
		if err != nil {
			return err
		}
		switch {
		case follow && !asJSON:
			return followOrder(cmd.Context(), c, out, got)
		case asJSON:
			return printJSON(out, raw)
		}
		fmt.Fprintln(out, plain(orderLine(got, got.From)))
		return nil
	}
	cmd.AddCommand(curtailListCmd(at), curtailCancelCmd(at))
	return cmd
}

// parseWatts reads a power as people write it.
func parseWatts(s string) (sluice.Watts, error) {
	t := strings.TrimSpace(s)
	for _, u := range []struct {
		unit string
		w    float64
	}{{"MW", 1e6}, {"kW", 1e3}, {"W", 1}} {
		if n, ok := strings.CutSuffix(t, u.unit); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(n), 64)
			if err != nil || math.IsNaN(v) || v < 0 || v*u.w > 1e12 {
				break
			}
			return sluice.Watts(math.Round(v * u.w)), nil
		}
	}
	return 0, sluice.Errorf(sluice.Invalid, "write it with its unit: 4MW, 900kW or 3250W", "%q is no power", s)
}

func curtailListCmd(at *remote) *cobra.Command {
	var n int
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List the orders, the newest first", Args: exactly()}
	cmd.Flags().IntVarP(&n, "number", "n", 20, "at most so many")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		all, raw, err := list[site.Curtailment](cmd.Context(), c, "/curtailments", nil, max(n, 1))
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		g := newGrid(cmd.OutOrStdout(), "ID", "STATE", "NODE", "LIMIT", "FROM", "UNTIL", "MET AFTER", "PROMISED", "COST $", "BY", "WHY")
		for _, o := range all {
			g.row(o.ID, o.State, o.Node, mw(o.LimitKW), stamp(o.From), stamp(o.Until), metAfter(o), promised(o), figure(o.CostUSD, 2), orDash(o.By), o.Why)
		}
		return g.flush()
	}
	return cmd
}

func curtailCancelCmd(at *remote) *cobra.Command {
	var by string
	cmd := &cobra.Command{Use: "cancel ID", Short: "Cancel an order", Args: exactly("ID")}
	cmd.Flags().StringVar(&by, "by", me(), "who cancels it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		o, _, err := askFor[site.Curtailment](cmd.Context(), c, http.MethodDelete,
			"/curtailments/"+url.PathEscape(args[0])+"?by="+url.QueryEscape(by), nil)
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "curtailment %s is %s\n", plain(o.ID), plain(o.State))
		}
		return err
	}
	return cmd
}

func metAfter(c site.Curtailment) string {
	if c.MetAfterS == nil {
		return "-"
	}
	s := figure(*c.MetAfterS, 1) + " s"
	if c.MetAfterWallS != nil {
		s += fmt.Sprintf(" (%s s wall)", figure(*c.MetAfterWallS, 2))
	}
	return s
}

// promised says how much was promised of an order and what became of it.
func promised(c site.Curtailment) string {
	p := c.Promise
	switch {
	case p == nil || p.PromisedKW <= 0:
		return "-"
	case p.Kept == nil:
		return fmt.Sprintf("%s in %s s", mw(p.PromisedKW), figure(p.WithinS, 0))
	}
	return fmt.Sprintf("%s in %s s: %s %%", mw(p.PromisedKW), figure(p.WithinS, 0), figure(100*p.Ratio, 0))
}

// orderLine says in one line what an order is and how far it is obeyed.
func orderLine(c site.Curtailment, now time.Time) string {
	s := fmt.Sprintf("curtailment %s: %s under %s until %s UTC, %s", c.ID, c.Node, mw(c.LimitKW), stamp(c.Until), c.State)
	if c.State == "active" && c.Until.After(now) {
		s += fmt.Sprintf(", %s to go", span(c.Until.Sub(now)))
	}
	if c.MetAfterS != nil {
		s += ", met after " + metAfter(c)
	}
	if c.Why != "" {
		s += " (" + c.Why + ")"
	}
	return s
}

func writePreview(w io.Writer, p site.Preview) error {
	fmt.Fprintf(w, "%s from %s to %s, limit %s: %s and %s, %s $ of margin\n",
		plain(p.Node), mw(p.LoadKW), mw(p.AfterKW), mw(p.LimitKW), count(p.Machines, "machine"), count(p.Jobs, "job"), figure(p.CostUSD, 2))
	if !p.Feasible {
		fmt.Fprintln(w, "The limit cannot be kept by what may be stopped.")
	}
	if p.Note != "" {
		fmt.Fprintln(w, plain(p.Note))
	}
	if len(p.Shed) == 0 {
		return nil
	}
	g := newGrid(w, "CLASS", "FROM", "TO", "UNITS", "SHED", "$/h", "$/kWh", "JOBS")
	for _, s := range p.Shed {
		g.row(s.Class, s.From, s.To, figure(float64(s.Units), 0), mw(math.Abs(s.KW)), figure(s.USDPerHour, 2), figure(s.USDPerKWh, 4), strings.Join(s.Jobs, " "))
	}
	return g.flush()
}

// followOrder shows load go until the order is met or over. Ctrl-C ends only
// the looking, not the order.
func followOrder(ctx context.Context, c *client, w io.Writer, o site.Curtailment) error {
	fmt.Fprintln(w, plain(orderLine(o, o.From)))
	shown, done := 0, false
	var machines int
	var kw float64
	show := func() error {
		got, _, err := askFor[site.Curtailment](ctx, c, http.MethodGet, "/curtailments/"+url.PathEscape(o.ID), nil)
		if err != nil {
			return err
		}
		// One line for each look: a large site confirms hundreds of times.
		if fresh := got.Shed[min(shown, len(got.Shed)):]; len(fresh) > 0 {
			for _, s := range fresh {
				machines += s.Machines
				kw += s.KW
			}
			shown = len(got.Shed)
			fmt.Fprintf(w, "  %8s s  %6s machines  %10s confirmed gone\n", figure(fresh[len(fresh)-1].AfterS, 1), figure(float64(machines), 0), mw(kw))
		}
		switch {
		case got.MetAfterS != nil:
			fmt.Fprintf(w, "under the limit after %s\n", metAfter(got))
			done = true
		case got.State == "ended" || got.State == "cancelled":
			return sluice.Errorf(sluice.Unavailable, "sluice alarms may say why", "curtailment %s is %s and was not met", got.ID, got.State)
		}
		return nil
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	return repeat(watch, followEvery, func() error {
		err := show()
		if done {
			stop()
		}
		return err
	})
}
