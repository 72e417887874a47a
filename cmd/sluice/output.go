package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"sluice"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// exitCode returns the exit status for an error: 0 without one, 2 when what was
// asked for cannot be, 1 when something else failed.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	switch sluice.KindOf(err) {
	case sluice.Invalid, sluice.NotFound, sluice.Conflict:
		return 2
	}
	return 1
}

// apiGroup makes a command that only has others under it.
func apiGroup(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: subcommandOnly, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(subs...)
	return c
}

func subcommandOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see " + cmd.CommandPath() + " --help"
	cmd.SuggestionsMinimumDistance = 2 // cobra sets it for the root only
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		hint = "did you mean " + s[0] + "?"
	}
	return sluice.Errorf(sluice.Invalid, hint, "%s has no command %q", cmd.CommandPath(), args[0])
}

// exactly wants these arguments, by name, and no others.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return sluice.Errorf(sluice.Invalid, "usage: "+cmd.UseLine(), "%s: %s is missing", cmd.CommandPath(), names[len(args)])
		case len(args) > len(names):
			return sluice.Errorf(sluice.Invalid, "usage: "+cmd.UseLine(), "%s: %q is too much", cmd.CommandPath(), args[len(names)])
		}
		return nil
	}
}

// need says which of the named flags was not given.
func need(cmd *cobra.Command, flags ...string) error {
	for _, f := range flags {
		if !cmd.Flags().Changed(f) {
			return sluice.Errorf(sluice.Invalid, "usage: "+cmd.UseLine(), "%s: --%s is missing", cmd.CommandPath(), f)
		}
	}
	return nil
}

// printJSON prints what the API said, indented.
func printJSON(w io.Writer, raw json.RawMessage) error {
	var v any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber() // figures go through as they came
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("reading the site's answer: %w", err)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// grid is a table of aligned columns, written when it is flushed.
type grid struct {
	to   io.Writer
	rows *strings.Builder
	tabs *tabwriter.Writer
}

func newGrid(w io.Writer, head ...string) grid {
	b := &strings.Builder{}
	g := grid{w, b, tabwriter.NewWriter(b, 0, 4, 2, ' ', 0)}
	if len(head) > 0 {
		g.row(head...)
	}
	return g
}

// row adds a row. Empty cells at its end count too, else the rows below would
// not line up with those above.
func (g grid) row(cells ...string) {
	for _, c := range cells {
		fmt.Fprint(g.tabs, plain(c)+"\t")
	}
	fmt.Fprintln(g.tabs)
}

func (g grid) flush() error {
	if err := g.tabs.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(g.rows.String()) {
		if _, err := io.WriteString(g.to, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// plain keeps a name or a reason that came from elsewhere from steering the
// terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// ink colours text where the output is a terminal.
type ink bool

func inkFor(w io.Writer) ink {
	f, ok := w.(*os.File)
	return ink(ok && isatty.IsTerminal(f.Fd()) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

func (i ink) paint(code, s string) string {
	if !i {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (i ink) bold(s string) string { return i.paint("1", s) }
func (i ink) warn(s string) string { return i.paint("33", s) }
func (i ink) bad(s string) string  { return i.paint("1;31", s) }

// figure prints a number with commas between thousands.
func figure(v float64, decimals int) string {
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	whole, frac, dot := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if dot {
		whole += "." + frac
	}
	if sign != "" && strings.Trim(whole, "0.,") == "" {
		sign = ""
	}
	return sign + whole
}

// mw prints kilowatts as megawatts, and what would be nothing at that size (a host, a
// small site) as kilowatts.
func mw(kw float64) string {
	if kw != 0 && math.Abs(kw) <= 100 {
		return figure(kw, 1) + " kW"
	}
	return figure(kw/1000, 2) + " MW"
}

// count prints how many there are of something, of one as one.
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return figure(float64(n), 0) + " " + one + "s"
}

// stamp prints an instant of site time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// span prints a duration as a person would say it.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + "d"
}

// clip cuts a text to so many characters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
