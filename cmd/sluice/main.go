// Command sluice runs a site where bitcoin mining and AI work share a grid
// connection, and talks to one that runs.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"sluice"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := rootCmd().ExecuteContext(ctx)
	stop()
	if code, ok := exitOf(err); ok {
		os.Exit(code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sluice: "+err.Error())
		os.Exit(exitCode(err))
	}
}

func rootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "Run a site where bitcoin mining and AI work share a grid connection",
		Long: `Sluice decides, minute by minute, which machines of a site mine bitcoin, which run
paying AI work and which stand still; it drives them there, proves that they got
there, and keeps the books.

  sluice up --demo     a whole virtual site on this machine, over real history
  sluice status        what the running site does now`,
		Args:          subcommandOnly,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"site", "A site", []*cobra.Command{upCmd(), statusCmd(), curtailCmd(), decisionsCmd(), alarmsCmd(), machineCmd(), fleetCmd(), ledgerCmd(), backupCmd(), restoreCmd()}},
		{"jobs", "AI jobs, and who and what runs them", []*cobra.Command{jobCmd(), tenantCmd(), vaultCmd(), hostCmd(), agentCmd()}},
		{"setup", "Setting up", []*cobra.Command{configCmd(), deviceCmd(), gpuCmd(), simCmd()}},
		{"decide", "Planning and evaluating", []*cobra.Command{backtestCmd(), forecastCmd(), planCmd(), dispatchCmd()}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title + ":"})
		for _, c := range g.commands {
			c.GroupID = g.id
		}
		root.AddCommand(g.commands...)
	}
	root.AddCommand(guardCmd(), shimCmd())
	checkArguments(root)
	return root
}

// checkArguments makes a wrong number of arguments, of any command, a mistake in
// how it was called.
func checkArguments(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if err == nil || exitCode(err) == 2 {
				return err
			}
			return sluice.Errorf(sluice.Invalid, "usage: "+cmd.UseLine(), "%v", err)
		}
	}
	for _, sub := range c.Commands() {
		checkArguments(sub)
	}
}

// usageError is a mistake in how the command was called.
func usageError(err error) error {
	return sluice.Errorf(sluice.Invalid, "`sluice help` shows what there is", "%v", err)
}
