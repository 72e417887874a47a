package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"sluice"
	"sluice/server"
	"sluice/site"

	"github.com/spf13/cobra"
)

func machineCmd() *cobra.Command {
	cmd, at := talks(apiGroup("machine", "Look at miners and hosts, pin them, lock them out"))
	cmd.AddCommand(machineListCmd(at), machineShowCmd(at), machinePinCmd(at), machineLockCmd(at), machineReleaseCmd(at))
	return cmd
}

func machineListCmd(at *remote) *cobra.Command {
	var state, class, node, kind string
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List the machines by name", Args: exactly()}
	f := cmd.Flags()
	f.StringVar(&state, "state", "", "only those in this state")
	f.StringVar(&class, "class", "", "only those of this class")
	f.StringVar(&node, "node", "", "only those under this node")
	f.StringVar(&kind, "kind", "", "miner or host")
	f.BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		q := url.Values{}
		for k, v := range map[string]string{"state": state, "class": class, "node": node, "kind": kind} {
			if v != "" {
				q.Set(k, v)
			}
		}
		all, raw, err := list[site.Machine](cmd.Context(), c, "/machines", q, 0)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		g := newGrid(cmd.OutOrStdout(), "NAME", "CLASS", "NODE", "STATE", "MODE", "WANT", "POWER", "WORK", "PIN")
		for _, m := range all {
			g.row(m.Name, m.Class, m.Node, m.State, orDash(m.Mode), orDash(m.Want), figure(m.PowerKW, 2)+" kW", work(m), pinned(m))
		}
		return g.flush()
	}
	return cmd
}

func work(m site.Machine) string {
	if m.Kind == sluice.Host {
		return fmt.Sprintf("%d of %d busy", m.GPUsBusy, m.GPUs)
	}
	return figure(m.HashrateTHs, 1) + " TH/s"
}

func pinned(m site.Machine) string {
	if m.Pin == nil {
		return ""
	}
	return fmt.Sprintf("%s by %s: %s", m.Pin.Mode, m.Pin.By, m.Pin.Why)
}

func machineShowCmd(at *remote) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "show NAME", Short: "Show one machine", Args: exactly("NAME")}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		m, raw, err := askFor[site.Machine](cmd.Context(), c, http.MethodGet, "/machines/"+url.PathEscape(args[0]), nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		return writeMachine(cmd.OutOrStdout(), m)
	}
	return cmd
}

func writeMachine(w io.Writer, m site.Machine) error {
	g := newGrid(w)
	g.row("name", m.Name)
	g.row("is", fmt.Sprintf("%s, %s, class %s, under %s", m.Kind, orDash(m.Model), m.Class, m.Node))
	g.row("reached by", fmt.Sprintf("%s at %s", orDash(m.Driver), orDash(m.Address)))
	g.row("state", m.State)
	g.row("mode", fmt.Sprintf("%s, wanted %s", orDash(m.Mode), orDash(m.Want)))
	if m.Outcome != "" {
		g.row("last act", string(m.Outcome))
	}
	g.row("power", fmt.Sprintf("%s kW (%s)", figure(m.PowerKW, 2), orDash(string(m.PowerSource))))
	if m.JobsKW > 0 {
		g.row("for jobs", figure(m.JobsKW, 2)+" kW")
	}
	if m.LimitKW > 0 {
		g.row("limited", "to "+figure(m.LimitKW, 2)+" kW by its own controller, for its job")
	}
	if m.ResidualKW != nil {
		g.row("residual", figure(*m.ResidualKW, 2)+" kW that neither its idle power nor its jobs account for")
	}
	g.row("work", work(m))
	if m.TempC != 0 {
		g.row("hottest", figure(m.TempC, 1)+" °C")
	}
	if m.StrikeUSDMWh != 0 {
		g.row("strike", figure(m.StrikeUSDMWh, 1)+" $/MWh")
	}
	if m.Pin != nil {
		g.row("pinned", fmt.Sprintf("%s since %s UTC", pinned(m), stamp(m.Pin.At)))
	}
	if m.Asleep {
		g.row("asleep", "put to sleep by Sluice, which will wake it")
	}
	if m.Cut {
		g.row("outlet", "switched off by Sluice, which will switch it on")
	}
	for _, r := range m.Responses {
		g.row("obeys", fmt.Sprintf("%s %s: p50 %s, p95 %s (%d acts, %d never)", r.Lane, r.Direction, seconds(r.P50S), seconds(r.P95S), r.Samples, r.Never))
	}
	g.row("last seen", stamp(m.SeenAt)+" UTC")
	if m.Error != "" {
		g.row("error", m.Error)
	}
	return g.flush()
}

func machinePinCmd(at *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "pin NAME MODE --why TEXT", Short: "Keep a machine in a mode until it is released", Args: exactly("NAME", "MODE"),
	}
	pins(cmd, at, func(args []string) string { return args[1] })
	return cmd
}

func machineLockCmd(at *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "lock NAME --why TEXT", Short: "Lock a machine out for maintenance: nothing touches it until it is released", Args: exactly("NAME"),
	}
	pins(cmd, at, func([]string) string { return site.PinLocked })
	return cmd
}

func pins(cmd *cobra.Command, at *remote, mode func(args []string) string) {
	var by, why string
	cmd.Flags().StringVar(&why, "why", "", "why, for whoever finds it so")
	cmd.Flags().StringVar(&by, "by", me(), "who does it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := need(cmd, "why"); err != nil {
			return err
		}
		c, err := at.open()
		if err != nil {
			return err
		}
		m, _, err := askFor[site.Machine](cmd.Context(), c, http.MethodPut, "/machines/"+url.PathEscape(args[0])+"/pin",
			server.PinOrder{Mode: mode(args), By: by, Why: why})
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "%s is pinned: %s\n", plain(m.Name), plain(pinned(m)))
		}
		return err
	}
}

func machineReleaseCmd(at *remote) *cobra.Command {
	var by string
	cmd := &cobra.Command{Use: "release NAME", Short: "Give a pinned or locked machine back", Args: exactly("NAME")}
	cmd.Flags().StringVar(&by, "by", me(), "who does it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		m, _, err := askFor[site.Machine](cmd.Context(), c, http.MethodDelete,
			"/machines/"+url.PathEscape(args[0])+"/pin?by="+url.QueryEscape(by), nil)
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "%s is released\n", plain(m.Name))
		}
		return err
	}
	return cmd
}
