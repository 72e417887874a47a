package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/server"

	"github.com/spf13/cobra"
)

func jobCheckCmd(at *remote) *cobra.Command {
	var f fileFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Show what a job file asks for and what it would cost",
		Long: `Show what a job file asks for, resolved, and what it would cost at the site: per
hour, and in all where a time is known by --expect, --time-limit or the file. Without
a site that answers, all but the price is shown. Nothing is submitted.`,
		Args: exactly("FILE"),
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		order, task, err := f.read(args[0], false)
		if err != nil {
			return err
		}
		c, err := at.open()
		if err != nil {
			return err
		}
		check, _, err := askFor[server.JobCheck](cmd.Context(), c, http.MethodPost, "/jobs/check", order)
		switch {
		case sluice.KindOf(err) == sluice.Unavailable:
			check = server.CheckOf(task, f.expect)
			check.Warnings = append(check.Warnings, fmt.Sprintf("no price: %s", strings.SplitN(err.Error(), " (", 2)[0]))
		case err != nil:
			return err
		}
		check.Warnings = append(check.Warnings, f.absent(args[0], task)...)
		if asJSON {
			raw, err := json.Marshal(check)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), raw)
		}
		return writeCheck(cmd.OutOrStdout(), check)
	}
	return cmd
}

// absent tells of what should travel with the job and is not there.
func (f *fileFlags) absent(file string, task *compute.Task) []string {
	var out []string
	look := func(what, path string) {
		if path == "" {
			return
		}
		if _, err := os.Stat(path); err != nil {
			out = append(out, fmt.Sprintf("%s %s is not there: it must be, to submit the job", what, path))
		}
	}
	look("workdir", f.folder(file, task))
	for _, m := range mounts(file, task) {
		look("the source of a file_mount", m.From)
	}
	return out
}

func writeCheck(w io.Writer, c server.JobCheck) error {
	g := newGrid(w)
	kind := "a SkyPilot task"
	if c.Kind == "sbatch" {
		kind = "an sbatch script"
	}
	g.row("job", orDash(c.Name)+", "+kind)
	nodes := fmt.Sprint(c.NumNodes)
	if c.Tasks > 0 {
		nodes += fmt.Sprintf(", tasks %d, CPUs of a task %d", c.Tasks, c.CPUsPerTask)
	}
	g.row("nodes", nodes)
	if c.Workdir != "" {
		g.row("workdir", c.Workdir)
	}
	for _, m := range c.FileMounts {
		g.row("mount", m.Source+" → "+m.Target)
	}
	for _, m := range c.Volumes {
		g.row("volume", m.Source+" → "+m.Target)
	}
	if len(c.Envs) > 0 {
		names := make([]string, 0, len(c.Envs))
		for k := range c.Envs {
			names = append(names, k)
		}
		slices.Sort(names)
		g.row("variables", clip(strings.Join(names, ", "), 200))
	}
	if len(c.SecretNames) > 0 {
		g.row("secrets", clip(strings.Join(c.SecretNames, ", "), 200))
	}
	if len(c.Array) > 0 {
		text := fmt.Sprintf("%d jobs, indexes %d to %d", len(c.Array), c.Array[0], c.Array[len(c.Array)-1])
		if c.ArrayMost > 0 {
			text += fmt.Sprintf(", %d at once", c.ArrayMost)
		}
		g.row("array", text)
	}
	if len(c.After) > 0 {
		g.row("waits for", clip(strings.Join(c.After, ", "), 200))
	}
	g.row("interrupted", interruption(c))
	if c.LimitS > 0 {
		g.row("time limit", span(time.Duration(c.LimitS*float64(time.Second))))
	}
	if c.Output != "" {
		g.row("output", c.Output)
	}
	if c.Priority != 0 {
		g.row("priority", fmt.Sprint(c.Priority))
	}
	if err := g.flush(); err != nil {
		return err
	}
	if err := writeChoices(w, c); err != nil {
		return err
	}
	for _, t := range c.Warnings {
		fmt.Fprintln(w, "warning: "+plain(t))
	}
	return nil
}

// interruption says how the job is asked to end and what becomes of it.
func interruption(c server.JobCheck) string {
	text := "SIG" + c.Signal
	if c.Hook != "" {
		text = "by its hook, then SIGTERM"
	}
	if c.NoticeS > 0 {
		text += ", with " + span(time.Duration(c.NoticeS*float64(time.Second))) + " of notice"
	}
	if c.BeforeS > 0 {
		text += ", and " + span(time.Duration(c.BeforeS*float64(time.Second))) + " before its time limit"
	}
	if !c.Restartable {
		return text + "; it does not run again"
	}
	return text + "; goes on later"
}

func writeChoices(w io.Writer, c server.JobCheck) error {
	head := []string{"CHOICE", "EACH NODE NEEDS", "SOLD"}
	all := ""
	if c.ExpectS > 0 {
		all = "IN " + strings.ToUpper(span(time.Duration(c.ExpectS*float64(time.Second))))
		if len(c.Array) > 1 {
			all += fmt.Sprintf(" × %d JOBS", len(c.Array))
		}
	}
	if c.Priced {
		head = append(head, "$/H")
		if all != "" {
			head = append(head, all)
		}
		head = append(head, "")
	}
	fmt.Fprintln(w)
	g := newGrid(w, head...)
	for i, ch := range c.Choices {
		n := strconv.Itoa(i + 1)
		if c.Ordered {
			n += "."
		}
		sold := "firm"
		if ch.Resources.UseSpot {
			sold = "interruptible"
		}
		row := []string{n, needsOf(ch.Resources), sold}
		if c.Priced {
			price, whole := "-", "-"
			if ch.USDPerHour > 0 {
				price, whole = figure(ch.USDPerHour, 2), figure(ch.USDInAll, 2)
			}
			row = append(row, price)
			if all != "" {
				row = append(row, whole)
			}
			why := ""
			if !ch.Fits {
				why = "cannot run here: " + ch.Why
			}
			row = append(row, why)
		}
		g.row(row...)
	}
	return g.flush()
}

// needsOf says what a node must have.
func needsOf(r compute.Resources) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if r.GPUs > 0 {
		add("%d × %s", r.GPUs, r.Accelerator)
	}
	if r.CPUs == 1 {
		add("1 CPU")
	} else if r.CPUs > 0 {
		add("%g CPUs", r.CPUs)
	}
	if r.MemoryGB > 0 {
		add("%s", sizeGB(r.MemoryGB))
	}
	if r.DiskGB > 0 {
		add("%s disk", sizeGB(r.DiskGB))
	}
	if r.Image != "" {
		add("image %s", r.Image)
	}
	if len(r.Ports) > 0 {
		add("%s", count(len(r.Ports), "port"))
	}
	if r.Region != "" {
		add("in %s", r.Region)
	}
	if r.Isolation != "" {
		add("isolation %s", r.Isolation)
	}
	if len(r.Labels) > 0 {
		var labels []string
		for k, v := range r.Labels {
			labels = append(labels, k+"="+v)
		}
		slices.Sort(labels)
		add("%s", clip(strings.Join(labels, " "), 100))
	}
	if r.PowerCapOK {
		add("power down to %.0f %%", r.MinPowerShare*100)
	}
	if r.MaxUSDPerHour > 0 {
		add("at most %s $/h", figure(r.MaxUSDPerHour, 2))
	}
	if len(parts) == 0 {
		return "1 CPU slot"
	}
	return strings.Join(parts, ", ")
}

// sizeGB prints an amount of 2^30 bytes, a small one in MB.
func sizeGB(n float64) string {
	if n < 1 {
		return fmt.Sprintf("%.4g MB", n*1024)
	}
	return fmt.Sprintf("%.4g GB", n)
}
