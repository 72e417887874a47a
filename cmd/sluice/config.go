package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"sluice"
	"sluice/config"

	"github.com/spf13/cobra"
)

// configCmd checks a sluice.yaml and prints its schema; neither needs a site that
// runs.
func configCmd() *cobra.Command {
	var asJSON bool
	check := &cobra.Command{
		Use:   "check FILE",
		Short: "Name every mistake of a sluice.yaml, with its place",
		Long: `Reads a sluice.yaml and names every mistake as file:line:column, with what was
probably meant. Exit status 0 when there is none, 2 otherwise. Nothing is
contacted and no secret is read.`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return configCheck(cmd.OutOrStdout(), args[0], asJSON)
		},
	}
	check.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	schema := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of sluice.yaml, for editors",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		},
	}
	return apiGroup("config", "Check a configuration, print its schema", check, schema)
}

// checked is the result of a check, as JSON.
type checked struct {
	File     string           `json:"file"`
	OK       bool             `json:"ok"`
	Summary  *config.Summary  `json:"summary,omitempty"`
	Mistakes []config.Mistake `json:"mistakes"`
	Warnings []config.Mistake `json:"warnings"`
}

func configCheck(w io.Writer, file string, asJSON bool) error {
	c, err := loadConfig(file)
	mistakes, listed := errors.AsType[config.Errors](err)
	if err != nil && !listed {
		return err // the file cannot be read at all
	}
	switch {
	case asJSON:
		r := checked{File: file, OK: err == nil, Mistakes: mistakes, Warnings: []config.Mistake{}}
		if err == nil {
			s := c.Summary()
			r.Summary, r.Mistakes, r.Warnings = &s, []config.Mistake{}, append(r.Warnings, c.Warnings...)
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			return err
		}
	case err == nil:
		for _, m := range c.Warnings {
			fmt.Fprintf(w, "%s (warning)\n", m)
		}
		fmt.Fprintf(w, "%s: OK: %s\n", file, c.Summary())
	default:
		for _, m := range mistakes {
			fmt.Fprintln(w, m)
		}
	}
	if err != nil {
		n := "mistakes"
		if len(mistakes) == 1 {
			n = "mistake"
		}
		return sluice.Errorf(sluice.Invalid, "", "%s has %d %s", file, len(mistakes), n)
	}
	return nil
}
