package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"sluice"
	"sluice/server"
	"sluice/site"

	"github.com/spf13/cobra"
)

func decisionsCmd() *cobra.Command {
	var n int
	var follow, asJSON bool
	cmd, at := talks(&cobra.Command{Use: "decisions", Short: "Show what was decided and why, the newest last", Args: exactly()})
	cmd.Flags().IntVarP(&n, "number", "n", 10, "so many")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing new ones")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON (the newest first)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if follow && asJSON {
			return sluice.Errorf(sluice.Invalid, "GET /api/v1/events streams JSON", "--follow and --json do not go together")
		}
		c, err := at.open()
		if err != nil {
			return err
		}
		ds, raw, err := list[site.Decision](cmd.Context(), c, "/decisions", nil, max(n, 1))
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if asJSON {
			return printJSON(out, raw)
		}
		if err := writeDecisions(out, ds); err != nil || !follow {
			return err
		}
		var last int64
		if len(ds) > 0 {
			last = ds[0].ID
		}
		return followDecisions(cmd.Context(), c, out, last)
	}
	return cmd
}

// followDecisions shows the decisions after last until ctx ends. The event only
// says when to look: its decision may have been told before its outcomes.
func followDecisions(ctx context.Context, c *client, w io.Writer, last int64) error {
	err := c.events(ctx, func(kind string, _ []byte) error {
		if kind != "decision" {
			return nil
		}
		p, _, err := askFor[server.Page[site.Decision]](ctx, c, http.MethodGet, "/decisions?limit=100", nil)
		if err != nil {
			return err
		}
		fresh := slices.DeleteFunc(p.Items, func(d site.Decision) bool { return d.ID <= last })
		if len(fresh) > 0 {
			last = fresh[0].ID
		}
		return writeDecisions(w, fresh)
	})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// writeDecisions prints them in the order of time.
func writeDecisions(w io.Writer, ds []site.Decision) error {
	for _, d := range slices.Backward(ds) {
		seen := ""
		if !d.Applied {
			seen = ", only observed"
		}
		fmt.Fprintf(w, "%d  %s  %s: price %s $/MWh, limit %s%s\n", d.ID, stamp(d.At), plain(d.Trigger), figure(d.PriceUSDMWh, 2), mw(d.LimitKW), seen)
		g := newGrid(w)
		for _, m := range d.Moves {
			sign := ""
			if m.KW > 0 {
				sign = "+"
			}
			g.row("    "+m.Class, fmt.Sprintf("%d × %s → %s", m.Units, m.From, m.To), sign+figure(m.KW, 0)+" kW", m.Reason)
		}
		for _, j := range d.JobMoves {
			g.row("    "+j.Job, fmt.Sprintf("%s %s", j.Action, j.Name), j.Host, j.Reason)
		}
		if err := g.flush(); err != nil {
			return err
		}
	}
	return nil
}

func alarmsCmd() *cobra.Command {
	var all, asJSON bool
	var n int
	cmd, at := talks(&cobra.Command{Use: "alarms", Short: "Show the open alarms, the newest first", Args: exactly()})
	cmd.Flags().BoolVarP(&all, "all", "a", false, "those that are over as well")
	cmd.Flags().IntVarP(&n, "number", "n", 100, "at most so many")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		q := url.Values{}
		if all {
			q.Set("all", "true")
		}
		as, raw, err := list[site.Alarm](cmd.Context(), c, "/alarms", q, max(n, 1))
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if asJSON {
			return printJSON(out, raw)
		}
		if len(as) == 0 {
			_, err := fmt.Fprintln(out, "no alarms")
			return err
		}
		g := newGrid(out, "SINCE", "CLEARED", "SEVERITY", "ALARM", "SUBJECT", "WHAT", "HINT")
		for _, a := range as {
			cleared := "-"
			if a.ClearedAt != nil {
				cleared = stamp(*a.ClearedAt)
			}
			g.row(stamp(a.At), cleared, string(a.Severity), a.Name, a.Subject, a.Text, a.Hint)
		}
		return g.flush()
	}
	return cmd
}
