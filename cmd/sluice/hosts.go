package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"sluice"
	"sluice/server"

	"github.com/spf13/cobra"
)

func hostCmd() *cobra.Command {
	cmd, at := talks(apiGroup("host", "Let other machines join, see how they are, cut them off"))
	cmd.AddCommand(hostListCmd(at), hostTokenCmd(at), hostRevokeCmd(at), hostLostCmd(at))
	return cmd
}

func hostListCmd(at *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the machines that join by an agent", Args: exactly()}
	return shows(cmd, at, func([]string) string { return "/hosts" }, func(w io.Writer, hosts []server.JoinedHost) error {
		g := newGrid(w, "NAME", "STATE", "LAST HEARD", "RUNS", "WAITING", "TOKENS", "CPUS", "MEMORY", "WHY")
		for _, h := range hosts {
			heard, memory := "", ""
			if h.HeardAt != nil {
				heard = time.Since(*h.HeardAt).Round(100*time.Millisecond).String() + " ago"
			}
			if h.MemoryBytes > 0 {
				memory = figure(float64(h.MemoryBytes)/(1<<30), 0) + " GiB"
			}
			g.row(h.Name, h.State, orDash(heard), fmt.Sprint(h.Runs), fmt.Sprint(h.Pending), fmt.Sprint(h.Tokens), fmt.Sprint(h.CPUs), orDash(memory), h.Why)
		}
		return g.flush()
	})
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
