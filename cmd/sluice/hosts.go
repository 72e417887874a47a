package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/server"

	"github.com/spf13/cobra"
)

func hostCmd() *cobra.Command {
	cmd, at := talks(apiGroup("host", "Let other machines join, see how they are, cut them off"))
	cmd.AddCommand(hostListCmd(at), hostShowCmd(at), hostTokenCmd(at), hostRevokeCmd(at), hostLostCmd(at))
	return cmd
}

func hostListCmd(at *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the machines that join by an agent", Args: exactly()}
	return shows(cmd, at, func([]string) string { return "/hosts" }, func(w io.Writer, hosts []server.JoinedHost) error {
		g := newGrid(w, "NAME", "STATE", "LAST HEARD", "RUNS", "WAITING", "TOKENS", "CPUS", "MEMORY", "GPUS", "WHY")
		for _, h := range hosts {
			heard, memory := "", ""
			if h.HeardAt != nil {
				heard = time.Since(*h.HeardAt).Round(100*time.Millisecond).String() + " ago"
			}
			if h.MemoryBytes > 0 {
				memory = figure(float64(h.MemoryBytes)/(1<<30), 0) + " GiB"
			}
			g.row(h.Name, h.State, orDash(heard), fmt.Sprint(h.Runs), fmt.Sprint(h.Pending), fmt.Sprint(h.Tokens), fmt.Sprint(h.CPUs), orDash(memory), orDash(gpusOf(h)), h.Why)
		}
		return g.flush()
	})
}

// gpusOf is how many GPUs a host has, and of which model.
func gpusOf(h server.JoinedHost) string {
	if len(h.GPUList) == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", len(h.GPUList), h.GPUList[0].Model)
}

func hostShowCmd(at *remote) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "show NAME", Short: "Show a machine that joins by an agent: what it has, measures and runs", Args: exactly("NAME")}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON of this host")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		hosts, _, err := askFor[[]server.JoinedHost](cmd.Context(), c, http.MethodGet, "/hosts", nil)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(hosts, func(h server.JoinedHost) bool { return h.Name == args[0] })
		if i < 0 {
			return sluice.Errorf(sluice.NotFound, "sluice host list shows them", "no host %q joins by an agent", args[0])
		}
		if asJSON {
			raw, err := json.Marshal(hosts[i])
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), raw)
		}
		return showHost(cmd.OutOrStdout(), hosts[i])
	}
	return cmd
}

func showHost(w io.Writer, h server.JoinedHost) error {
	of := func(v *float64, by float64, places int, unit string) string {
		if v == nil {
			return ""
		}
		return figure(*v/by, places) + unit
	}
	g := newGrid(w, "host", h.Name)
	g.row("state", strings.TrimSuffix(h.State+": "+h.Why, ": "))
	if h.HeardAt != nil {
		g.row("last heard", time.Since(*h.HeardAt).Round(100*time.Millisecond).String()+" ago")
	}
	g.row("agent", orDash(h.Version)+", runs jobs by "+orDash(strings.Join(h.Executors, ", ")))
	g.row("runs", fmt.Sprint(h.Runs))
	g.row("CPUs", fmt.Sprint(h.CPUs)+optional(", busy ", of(h.CPUBusy, 0.01, 0, " %"))+optional(", ", of(h.CPUPowerW, 1, 0, " W")))
	g.row("memory", figure(float64(h.MemoryBytes)/(1<<30), 0)+" GiB"+optional(", used ", of(h.MemoryUsedBytes, 1<<30, 1, " GiB")))
	g.row("disk", orDash(optional("free ", of(h.DiskFreeBytes, 1<<30, 0, " GiB"))))
	if err := g.flush(); err != nil || len(h.GPUList) == 0 {
		return err
	}
	fmt.Fprintln(w)
	g = newGrid(w, "GPU", "MODEL", "MEMORY", "POWER", "LIMIT", "TEMP", "USE", "UUID")
	for _, u := range h.GPUList {
		g.row(fmt.Sprint(u.Index), u.Model, optional(of(u.MemoryUsedBytes, 1<<20, 0, ""), "/")+figure(float64(u.MemoryBytes)/(1<<20), 0)+" MiB",
			orDash(of(u.PowerW, 1, 0, " W")), orDash(of(u.LimitW, 1, 0, " W")), orDash(of(u.TempC, 1, 0, " °C")), orDash(of(u.Busy, 0.01, 0, " %")), u.UUID)
	}
	return g.flush()
}

// optional is both texts together, or nothing where one of them is missing.
func optional(a, b string) string {
	if a == "" || b == "" {
		return ""
	}
	return a + b
}

func hostTokenCmd(at *remote) *cobra.Command {
	var within time.Duration
	var by string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "token NAME", Short: "Make the token with which a machine joins; it is shown once", Args: exactly("NAME"),
		Example: "  sluice host token gpu1 > gpu1.token     # the token alone goes to the file\n" +
			"  sluice agent --join tls://site:8421 --token-file gpu1.token    # on the machine",
	}
	cmd.Flags().DurationVar(&within, "within", 24*time.Hour, "how soon the machine must join for the first time")
	cmd.Flags().StringVar(&by, "by", me(), "who does it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		t, raw, err := askFor[server.HostToken](cmd.Context(), c, http.MethodPost, "/hosts/"+url.PathEscape(args[0])+"/token",
			server.HostTokenOrder{WithinSeconds: within.Seconds(), By: by})
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		fmt.Fprintln(cmd.OutOrStdout(), plain(t.Token))
		w := cmd.ErrOrStderr()
		fmt.Fprintf(w, "%s joins with it, by %s UTC for the first time. It is not shown again. On the machine, in a file of mode 0600:\n\n", plain(t.Host), t.Until.Format(time.DateTime))
		fmt.Fprintf(w, "  sluice agent --join %s --token-file FILE\n", plain(t.URL))
		if t.NATS != "" {
			fmt.Fprintf(w, "\nAdd this to the users of the cluster's configuration and reload it (nats-server --signal reload):\n\n  %s\n", plain(t.NATS))
		}
		return nil
	}
	return cmd
}

func hostRevokeCmd(at *remote) *cobra.Command {
	var by string
	cmd := &cobra.Command{Use: "revoke NAME", Short: "Make a machine's tokens void and cut its connection", Args: exactly("NAME")}
	cmd.Flags().StringVar(&by, "by", me(), "who does it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		d, _, err := askFor[server.HostDone](cmd.Context(), c, http.MethodDelete, "/hosts/"+url.PathEscape(args[0])+"/token?by="+url.QueryEscape(by), nil)
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "%s of %s revoked; what runs there goes on until its lease is over\n", count(d.Tokens, "token"), plain(d.Host))
		}
		return err
	}
	return cmd
}

func hostLostCmd(at *remote) *cobra.Command {
	var by string
	var yes bool
	cmd := &cobra.Command{
		Use: "lost NAME --yes", Short: "Say that a machine is gone: its jobs go on elsewhere at once", Args: exactly("NAME"),
		Long: "Say that a machine is gone: its jobs go on elsewhere at once, instead of when their lease is over.\n" +
			"Say so only when it is switched off or its jobs were ended by hand: what still ran there would run twice.",
	}
	cmd.Flags().StringVar(&by, "by", me(), "who does it")
	cmd.Flags().BoolVar(&yes, "yes", false, "nothing of its jobs runs there any more")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !yes {
			return sluice.Errorf(sluice.Invalid, "say --yes when the machine is off, or its jobs were ended by hand", "what still ran on %s would run twice", args[0])
		}
		c, err := at.open()
		if err != nil {
			return err
		}
		d, _, err := askFor[server.HostDone](cmd.Context(), c, http.MethodPost, "/hosts/"+url.PathEscape(args[0])+"/lost", server.HostLostOrder{By: by, Yes: true})
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "%s is lost, with %d runs\n", plain(d.Host), d.Runs)
		}
		return err
	}
	return cmd
}
