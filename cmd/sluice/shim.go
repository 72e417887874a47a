package main

import (
	"os"

	"github.com/spf13/cobra"

	"sluice/compute/process"
)

// shimCmd is the keeper of one run of a job. The server starts it; it is hidden
// because it does nothing for a person.
func shimCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "exec-shim DIR",
		Short:  "Keep one run of a job (started by the server)",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		Run:    func(_ *cobra.Command, args []string) { os.Exit(process.Shim(args[0])) },
	}
}
