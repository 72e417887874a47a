package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/dispatch"
)

// solveEffort is how much longer than a controller, which plans every few
// minutes, the command tries.
const solveEffort = 10

// effortTime is about how long a unit of effort takes on one core.
const effortTime = 30 * time.Millisecond

func dispatchCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dispatch",
		Short: "The optimiser by itself: a dispatch problem in, a plan and a bound out",
	}
	cmd.AddCommand(dispatchSolveCmd())
	return cmd
}

func dispatchSolveCmd() *cobra.Command {
	var out string
	var budget time.Duration
	cmd := &cobra.Command{
		Use:   "solve INSTANCE.json",
		Short: "Solve a dispatch problem and write the plan as JSON",
		Long: `Solve reads a dispatch problem (JSON; - is standard input) and writes the best
plan that it finds, its worth, and a proven upper bound on the worth of every
plan. Without --budget the same problem gives the same plan, bit for bit.

A problem has start, step_minutes, intervals, price_usd_per_mwh, nodes[] (name,
parent, limit_kw), demand_charges[], reserves[], classes[] (name, node, count,
modes[], initial, dwell[], switches[]) and jobs[]. Powers are kW at the meter,
money is USD, rates are per hour; a series is one number or one for each
interval. Bad input is refused with exit status 2 and names the field.`,
		Example: `  sluice dispatch solve site.json --out plan.json
  sluice dispatch solve - --budget 500ms < site.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if budget < 0 {
				return sluice.Errorf(sluice.Invalid, "give a positive time such as 500ms", "--budget: %v is negative", budget)
			}
			opt, clock := dispatch.Options{Effort: solveEffort}, newTimer(budget, time.Now)
			in, err := readInstance(cmd.InOrStdin(), args[0], clock)
			if err != nil {
				return err
			}
			if budget > 0 {
				clock.wasRead()
				opt.Spent = clock.spent
				// The shares of the work's parts are set for about so long.
				opt.Effort = max(1, int(budget/effortTime))
			}
			plan, err := dispatch.Solve(in, opt)
			if err != nil {
				return fmt.Errorf("solving %s: %w", args[0], err)
			}
			return writePlan(cmd.OutOrStdout(), out, plan)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write the plan to this file, whole or not at all")
	cmd.Flags().Bool("json", true, "the plan is JSON in any case")
	cmd.Flags().DurationVar(&budget, "budget", 0, "stop improving after so long (the plan then depends on the machine)")
	return cmd
}

// timer spends a budget of time. It keeps back what has no end to be asked for:
// starting the process, one more step after time is up, checking the plan and
// writing it down. These take the longer the larger the instance and the slower
// the machine, as decoding it does.
type timer struct {
	now       func() time.Time
	from      time.Time
	all, keep time.Duration
	waited    time.Duration // for input
}

const (
	startTime   = 20 * time.Millisecond // until the command's own code runs, and after it
	keepDecodes = 3                     // so many times what decoding took
)

func newTimer(all time.Duration, now func() time.Time) *timer {
	return &timer{now: now, from: now(), all: all}
}

// reader notes how long r has it wait.
func (t *timer) reader(r io.Reader) io.Reader { return &timedReader{r, t} }

type timedReader struct {
	io.Reader
	t *timer
}

func (r *timedReader) Read(b []byte) (int, error) {
	from := r.t.now()
	n, err := r.Reader.Read(b)
	r.t.waited += r.t.now().Sub(from)
	return n, err
}

// wasRead notes how long decoding the instance took.
func (t *timer) wasRead() {
	t.keep = startTime + keepDecodes*(t.now().Sub(t.from)-t.waited)
}

// spent is the share that is up of the time to solve in.
func (t *timer) spent() float64 {
	took := t.now().Sub(t.from)
	if took >= t.all-t.keep {
		return 1
	}
	return float64(took) / float64(t.all-t.keep)
}

func readInstance(stdin io.Reader, name string, clock *timer) (*dispatch.Instance, error) {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, sluice.Errorf(sluice.Invalid, "give the path of a JSON file, or - for standard input", "opening the instance: %v", err)
		}
		defer f.Close()
		r = f
	}
	in, err := dispatch.ReadInstance(clock.reader(r))
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return nil, sluice.Errorf(sluice.Invalid, "give the path of a JSON file, or - for standard input", "reading the instance: %v", failed)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return in, nil
}

// writePlan writes to a file beside the one named and renames it, so that a
// reader never sees half a plan.
func writePlan(stdout io.Writer, name string, plan *dispatch.Plan) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(plan); err != nil {
		return fmt.Errorf("encoding the plan: %w", err)
	}
	if name == "" {
		_, err := stdout.Write(b.Bytes())
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".plan-*.json")
	if errors.Is(err, fs.ErrNotExist) {
		return sluice.Errorf(sluice.Invalid, "make it first, or give another --out", "there is no folder %s to write the plan to", filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // fails once it is renamed
	_, err = f.Write(b.Bytes())
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	return nil
}
