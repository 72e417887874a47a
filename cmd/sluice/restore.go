package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"sluice/store"
)

func restoreCmd() *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:     "restore FILE",
		Short:   "Make a data folder from a backup",
		Long:    "Make a data folder from a file that `sluice backup` wrote. The folder must be empty or\nmissing. `sluice up --data DIR` then runs the site as it was.",
		Example: "  sluice backup --out monday.db\n  sluice restore monday.db --data ./restored",
		Args:    exactly("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if data == "" {
				return need(c, "data")
			}
			if err := store.Restore(c.Context(), args[0], data); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "restored %s into %s\n", args[0], data)
			return nil
		},
	}
	c.Flags().StringVar(&data, "data", "", "`DIR` to restore into; empty or missing")
	return c
}
