package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"sluice"
	"sluice/ledger"
	"sluice/server"

	"github.com/spf13/cobra"
)

func ledgerCmd() *cobra.Command {
	cmd, at := talks(apiGroup("ledger", "Read the books"))
	cmd.AddCommand(ledgerBalanceCmd(at), ledgerExportCmd(at))
	return cmd
}

func ledgerBalanceCmd(at *remote) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "balance", Short: "Show what each account holds", Args: exactly()}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		p, raw, err := askFor[server.Page[ledger.Balance]](cmd.Context(), c, http.MethodGet, "/ledger/balance", nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		return writeBalance(cmd.OutOrStdout(), p.Items)
	}
	return cmd
}

// writeBalance lists the accounts, debits positive, and under a line what they
// add up to, which is zero in books that balance.
func writeBalance(w io.Writer, bs []ledger.Balance) error {
	sums := map[string]sluice.Money{}
	var order []string
	line := func(amount sluice.Money, commodity, account string) {
		row := fmt.Sprintf("%18s %-4s %s", figure(amount.USD(), 2), plain(commodity), plain(account))
		fmt.Fprintln(w, strings.TrimRight(row, " "))
	}
	for _, b := range bs {
		line(b.Amount, b.Commodity, b.Account)
		if _, ok := sums[b.Commodity]; !ok {
			order = append(order, b.Commodity)
		}
		sums[b.Commodity] += b.Amount
	}
	if len(bs) == 0 {
		_, err := fmt.Fprintln(w, "nothing was posted yet")
		return err
	}
	fmt.Fprintln(w, "------------------")
	for _, c := range order {
		if sums[c] != 0 {
			return sluice.Errorf(sluice.Internal, "keep a backup and report it", "the books do not balance: %d micro-%s over", int64(sums[c]), c)
		}
		line(0, c, "")
	}
	return nil
}

func ledgerExportCmd(at *remote) *cobra.Command {
	var format, out string
	cmd := &cobra.Command{Use: "export", Short: "Write the whole journal for another program", Args: exactly()}
	cmd.Flags().StringVar(&format, "format", "hledger", "format: hledger")
	cmd.Flags().StringVarP(&out, "out", "o", "", "file to write (default: standard output)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		return fetch(cmd.Context(), c, http.MethodGet, "/ledger/export?format="+url.QueryEscape(format), out, cmd.OutOrStdout())
	}
	return cmd
}

func backupCmd() *cobra.Command {
	var out string
	cmd, at := talks(&cobra.Command{
		Use: "backup --out FILE", Short: "Take a backup of the running site, for sluice restore", Args: exactly(),
	})
	cmd.Flags().StringVarP(&out, "out", "o", "", "file to write; it must not exist")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := need(cmd, "out"); err != nil {
			return err
		}
		if _, err := os.Lstat(out); err == nil {
			return sluice.Errorf(sluice.Conflict, "choose another name", "%s exists", out)
		}
		c, err := at.open()
		if err != nil {
			return err
		}
		if err := fetch(cmd.Context(), c, http.MethodPost, "/backup", out, nil); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "the site is in %s\n", out)
		return nil
	}
	return cmd
}

// fetch writes an answer to a file, or to w without one. Under the file's name
// there is never a part of it: it appears when it is whole and on the disk.
func fetch(ctx context.Context, c *client, method, path, file string, w io.Writer) (err error) {
	body, err := c.stream(ctx, method, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if file == "" {
		_, err = io.Copy(w, body)
		return c.broken(ctx, err)
	}
	part, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return sluice.Errorf(sluice.Invalid, "choose a folder that can be written", "writing %s: %v", file, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, part.Close(), os.Remove(part.Name()))
		}
	}()
	if _, err = io.Copy(part, body); err != nil {
		return c.broken(ctx, err)
	}
	if err = part.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	if err = os.Rename(part.Name(), file); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return part.Close()
}

// broken explains a copy that ended early: the site cuts the connection rather
// than let a part pass for the whole.
func (c *client) broken(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return sluice.Errorf(sluice.Unavailable, "what came is not the whole: try again", "the answer of %s broke off: %v", c.base, err)
}
