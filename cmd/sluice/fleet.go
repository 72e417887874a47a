package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strings"
	"time"

	"sluice"
	"sluice/server"
	"sluice/site"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

const aboutSelectors = `A selector is a list of terms that must all hold: key=value or key!=value, with
spaces or commas between them. The keys are name, class, node (it stands for all
below it), model, firmware, driver, state, mode, want and pin (a mode, locked, or
none). A value may hold * and ?, and several with | between them:

  class=s19k node=feeder-a
  state=mining|waking firmware=*2025.4*
  name=rack7-* pin=none

all is every miner. An empty selector selects nothing.`

func fleetCmd() *cobra.Command {
	cmd, at := talks(apiGroup("fleet", "Many miners at once: what can be promised of them, what they draw, orders"))
	cmd.AddCommand(fleetPromiseCmd(at), fleetResponseCmd(at), fleetCurvesCmd(at),
		fleetActCmd(at, site.FleetSleep, "sleep", "Put the selected miners to sleep until they are woken or released"),
		fleetActCmd(at, site.FleetWake, "wake", "Give the selected miners that sleep by somebody's hand to the plan, which wakes them as it pays"),
		fleetActCmd(at, site.FleetSet, "set MODE", "Keep the selected miners in a mode until they are released"),
		fleetActCmd(at, site.FleetLock, "lock", "Lock the selected miners out for maintenance, as they are"),
		fleetActCmd(at, site.FleetRelease, "release", "Give the selected miners that are pinned or locked back to the plan"))
	return cmd
}

func fleetPromiseCmd(at *remote) *cobra.Command {
	var within time.Duration
	var selector string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "promise --within 10s", Short: "Say how many MW can be shed within a time with 95 % confidence", Args: exactly(),
		Long: "Say how many MW can be shed within a time with 95 % confidence, by how soon machines\nobeyed before; and how promises made to earlier orders were kept. The time is the\nsite's own, which in a demo runs faster than the wall's.",
	}
	cmd.Flags().DurationVar(&within, "within", 10*time.Second, "from the order until the load is gone")
	cmd.Flags().StringVar(&selector, "selector", "", "only of these miners, such as 'node=feeder-a'")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if within <= 0 {
			return sluice.Errorf(sluice.Invalid, "such as --within 10s", "--within %s is no time for a promise", within)
		}
		c, err := at.open()
		if err != nil {
			return err
		}
		q := url.Values{"within_s": {fmt.Sprint(within.Seconds())}}
		if selector != "" {
			q.Set("selector", selector)
		}
		p, raw, err := askFor[site.Promise](cmd.Context(), c, http.MethodGet, "/fleet/promise?"+q.Encode(), nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		return writePromise(cmd.OutOrStdout(), p)
	}
	return cmd
}

func writePromise(w io.Writer, p site.Promise) error {
	fmt.Fprintf(w, "%s of %s can be shed within %s s with %s %% confidence (%s on average, %s machines)\n",
		mw(p.ShedKW), mw(p.RunningKW), figure(p.WithinS, 1), figure(100*p.Confidence, 0), mw(p.ExpectedKW), figure(float64(p.Machines), 0))
	fmt.Fprintf(w, "%s s of it pass before the commands are out\n", figure(p.DelayS, 2))
	if len(p.Excluded) > 0 {
		fmt.Fprintf(w, "not counted: %s\n", plain(counts(p.Excluded)))
	}
	switch r := p.Record; r.Scored {
	case 0:
		fmt.Fprintln(w, "no order was scored against its promise yet")
	default:
		fmt.Fprintf(w, "of %d orders %d got what was promised; the least was %s %%\n", r.Scored, r.Kept, figure(100*r.WorstRatio, 0))
	}
	if len(p.Groups) == 0 {
		return nil
	}
	g := newGrid(w, "FIRMWARE", "LANE", "MACHINES", "LOAD", "P50", "P95", "IN TIME", "COUNTED", "SAMPLES")
	for _, x := range p.Groups {
		g.row(x.Firmware, x.Lane, figure(float64(x.Machines), 0), mw(x.KW), seconds(&x.P50S), seconds(&x.P95S),
			figure(100*x.Share, 1)+" %", figure(100*x.Counted, 1)+" %", figure(float64(x.Samples), 0))
	}
	return g.flush()
}

// counts lists what was counted, the most first.
func counts(m map[string]int) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if m[keys[i]] != m[keys[j]] {
			return m[keys[i]] > m[keys[j]]
		}
		return keys[i] < keys[j]
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%d %s", m[k], k)
	}
	return strings.Join(keys, ", ")
}

// seconds writes a response time; one that is not there is never reached.
func seconds(s *float64) string {
	if s == nil || *s == 0 {
		return "never"
	}
	return figure(*s, 1) + " s"
}

func fleetResponseCmd(at *remote) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "response", Short: "Show how soon machines obey, by firmware and by what they were told", Args: exactly()}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		r, raw, err := askFor[site.Responses](cmd.Context(), c, http.MethodGet, "/fleet/response", nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		w := cmd.OutOrStdout()
		if len(r.Firmwares) == 0 {
			fmt.Fprintln(w, "nothing was told to any machine yet")
			return nil
		}
		g := newGrid(w, "FIRMWARE", "LANE", "WAY", "P50", "P95", "ACTS", "EVENTS", "NEVER", "DIALECT")
		for _, x := range r.Firmwares {
			g.row(x.Firmware, x.Lane, x.Direction, seconds(x.P50S), seconds(x.P95S), figure(float64(x.Samples), 0),
				figure(float64(x.Events), 0), figure(float64(x.Never), 0), figure(x.DialectS, 0)+" s")
		}
		return g.flush()
	}
	return cmd
}

func fleetCurvesCmd(at *remote) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "curves", Short: "Show what each class draws and hashes in each mode, as plans use it", Args: exactly()}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		p, raw, err := askFor[server.Page[site.Curve]](cmd.Context(), c, http.MethodGet, "/fleet/curves", nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		g := newGrid(cmd.OutOrStdout(), "CLASS", "MODE", "POWER", "HASHRATE", "J/TH", "MARGINAL", "FROM", "SAMPLES", "CONFIGURED")
		for _, k := range p.Items {
			for _, m := range k.Modes {
				g.row(k.Class, m.Mode, figure(m.PowerW, 0)+" W", figure(m.HashrateTHs, 1)+" TH/s", unlessZero(m.JTH), unlessZero(m.MarginalJTH),
					m.Source, figure(float64(m.Samples), 0), figure(m.PlateW, 0)+" W "+figure(m.PlateTHs, 1)+" TH/s")
			}
		}
		return g.flush()
	}
	return cmd
}

// unlessZero writes a figure that a mode without hashrate does not have.
func unlessZero(x float64) string {
	if x == 0 {
		return "-"
	}
	return figure(x, 1)
}

// fleetActCmd orders many miners: it shows what would be done, then does it when
// a person says yes.
func fleetActCmd(at *remote, action, use, short string) *cobra.Command {
	var selector, by, why string
	var yes, asJSON bool
	names := []string{}
	if action == site.FleetSet {
		names = append(names, "MODE")
	}
	cmd := &cobra.Command{
		Use: use + " --selector WHICH --why TEXT", Short: short, Args: exactly(names...),
		Long: short + ".\nIt first shows how many there are, what changes in MW and in money, and asks.\n\n" + aboutSelectors,
	}
	f := cmd.Flags()
	f.StringVar(&selector, "selector", "", "which miners, such as 'class=s19k state=mining', or all")
	f.StringVar(&why, "why", "", "why, for whoever finds them so")
	f.StringVar(&by, "by", me(), "who does it")
	f.BoolVarP(&yes, "yes", "y", false, "do it without asking")
	f.BoolVar(&asJSON, "json", false, "print the API's JSON: of the preview, with --yes of what was done")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := need(cmd, "selector"); err != nil {
			return err
		}
		if _, err := site.ParseSelector(selector); err != nil {
			return err
		}
		if yes {
			if err := need(cmd, "why"); err != nil {
				return err
			}
		}
		c, err := at.open()
		if err != nil {
			return err
		}
		o := server.FleetOrder{Selector: selector, Action: action, By: by, Why: why}
		if len(args) > 0 {
			o.Mode = args[0]
		}
		p, raw, err := askFor[site.FleetPreview](cmd.Context(), c, http.MethodPost, "/fleet/preview", o)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		switch {
		case asJSON && !yes:
			return printJSON(out, raw)
		case !asJSON:
			writeFleet(out, p)
		}
		if p.Machines == 0 {
			if asJSON {
				if err := printJSON(out, raw); err != nil {
					return err
				}
			}
			if action == site.FleetSet && impossible(p) {
				return sluice.Errorf(sluice.Invalid, "`sluice fleet curves` lists the modes of each class", "nothing was done: no selected miner has a mode %s", o.Mode)
			}
			return nil
		}
		if !yes {
			if ok, err := agreed(out, p); !ok {
				return err
			}
			if err := need(cmd, "why"); err != nil {
				return err
			}
		}
		o.Token = p.Token
		r, raw, err := askFor[site.FleetResult](cmd.Context(), c, http.MethodPost, "/fleet/orders", o)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(out, raw)
		}
		fmt.Fprintf(out, "done: %s machines, %s of them told at once\n", figure(float64(r.Machines), 0), figure(float64(r.Commanded), 0))
		return nil
	}
	return cmd
}

// impossible says whether all the machines are left alone because they have no such mode.
func impossible(p site.FleetPreview) bool {
	for why := range p.Skipped {
		if !strings.HasPrefix(why, site.NoMode) {
			return false
		}
	}
	return len(p.Skipped) > 0
}

func writeFleet(w io.Writer, p site.FleetPreview) {
	what := p.Action
	if p.Mode != "" {
		what += " " + p.Mode
	}
	fmt.Fprintf(w, "%s: %s machines, from %s to %s, %s $/h of margin\n", plain(what), figure(float64(p.Machines), 0), mw(p.NowKW), mw(p.AfterKW), figure(p.USDPerHour, 2))
	if len(p.Skipped) > 0 {
		fmt.Fprintf(w, "left alone: %s\n", plain(counts(p.Skipped)))
	}
	if len(p.Sample) > 0 {
		names := strings.Join(p.Sample, " ")
		if p.Machines > len(p.Sample) {
			names += fmt.Sprintf(" and %d more", p.Machines-len(p.Sample))
		}
		fmt.Fprintln(w, plain(names))
	}
	if p.Note != "" {
		fmt.Fprintln(w, plain(p.Note))
	}
}

// agreed asks the person at the terminal; without one, --yes is needed.
func agreed(w io.Writer, p site.FleetPreview) (bool, error) {
	if !isatty.IsTerminal(os.Stdin.Fd()) {
		return false, sluice.Errorf(sluice.Invalid, "add --yes when this is what you want", "nothing was done: there is nobody to ask")
	}
	fmt.Fprintf(w, "do it to %d machines? [y/N] ", p.Machines)
	line, err := bufio.NewReader(io.LimitReader(os.Stdin, 100)).ReadString('\n')
	if err != nil && line == "" {
		return false, nil
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	fmt.Fprintln(w, "nothing was done")
	return false, nil
}
