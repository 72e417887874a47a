package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/server"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
)

func jobCmd() *cobra.Command {
	cmd, at := talks(apiGroup("job", "Submit and watch AI jobs"))
	cmd.AddCommand(jobCheckCmd(at), jobSubmitCmd(at), jobListCmd(at), jobShowCmd(at), jobLogsCmd(at), jobCancelCmd(at))
	cmd.AddCommand(jobDataCmds(at)...)
	return cmd
}

func jobSubmitCmd(at *remote) *cobra.Command {
	var f fileFlags
	var name string
	var follow, asJSON bool
	cmd := &cobra.Command{
		Use: "submit FILE", Short: "Submit a job file: a SkyPilot task or an sbatch script",
		Long: `Submit a job file: a SkyPilot task or an sbatch script. Its workdir (--chdir of a
script) and the sources of its file_mounts, given relative to the file, are packed
and travel with it. docs/jobs.md says what of both is honoured; sluice job check
tells the price.`,
		Args: exactly("FILE"),
	}
	f.add(cmd)
	cmd.Flags().StringVar(&name, "name", "", "name of the job, instead of the file's")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "show its output until it has ended")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		order, task, err := f.read(args[0], true)
		if err != nil {
			return err
		}
		if order.Workdir, err = f.pack(args[0], task); err != nil {
			return err
		}
		order.ID, order.Name = uuid.NewString(), name
		c, err := at.open()
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		j, raw, err := askFor[compute.Job](cmd.Context(), c, http.MethodPost, "/jobs", order)
		switch {
		case err != nil:
			return err
		case asJSON:
			return printJSON(out, raw)
		}
		for _, w := range task.Warnings {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+plain(w))
		}
		of := ""
		if a := task.Array; a != nil {
			of = fmt.Sprintf(", the first of %d", len(a.Indexes))
		}
		fmt.Fprintf(out, "job %s (%s) is %s%s\n", plain(j.ID), plain(j.Name), because(j), of)
		if !follow {
			return nil
		}
		return followJob(cmd.Context(), c, out, j.ID, 0)
	}
	return cmd
}

// because is a job's state and its reason.
func because(j compute.Job) string {
	s := string(j.State)
	if why := whyOf(j); why != "" {
		s += ": " + why
	}
	return plain(s)
}

// whyOf is why a job is in its state: one that may not start yet waits for more
// than room.
func whyOf(j compute.Job) string {
	if j.Held != "" {
		return held(j)
	}
	return j.Why
}

// held is why a job may not start yet.
func held(j compute.Job) string { return strings.TrimPrefix(j.Held, "held: ") }

// followJob shows the output from a byte on until the job has ended, and fails
// where the job did. Ctrl-C ends only the looking.
func followJob(ctx context.Context, c *client, w io.Writer, id string, from int64) error {
	if err := showLogs(ctx, c, w, id, from, true); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil //nolint:nilerr // to stop looking is no failure
	}
	j, _, err := askFor[compute.Job](ctx, c, http.MethodGet, "/jobs/"+url.PathEscape(id), nil)
	if err != nil {
		return err
	}
	if j.State.Ended() && j.State != compute.Succeeded {
		return sluice.Errorf(sluice.Internal, "", "job %s %s", plain(j.ID), because(j))
	}
	fmt.Fprintf(w, "job %s %s\n", plain(j.ID), because(j))
	return nil
}

func showLogs(ctx context.Context, c *client, w io.Writer, id string, from int64, follow bool) error {
	body, err := c.stream(ctx, http.MethodGet, fmt.Sprintf("/jobs/%s/logs?follow=%t&from=%d", url.PathEscape(id), follow, from), nil)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(w, body); err != nil && ctx.Err() == nil {
		return sluice.Errorf(sluice.Unavailable, "the job may go on: sluice job show "+id, "the output of job %s broke off: %v", id, err)
	}
	return nil
}

func jobListCmd(at *remote) *cobra.Command {
	var state string
	var n int
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List the jobs, the newest first", Args: exactly()}
	cmd.Flags().StringVar(&state, "state", "", "only those in this state")
	cmd.Flags().IntVarP(&n, "number", "n", 50, "at most so many; 0 for all")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		q := url.Values{}
		if state != "" {
			q.Set("state", state)
		}
		all, raw, err := list[compute.Job](cmd.Context(), c, "/jobs", q, n)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		g := newGrid(cmd.OutOrStdout(), "ID", "NAME", "TENANT", "STATE", "UNITS", "HOST", "RAN", "PREEMPTED", "BILLED", "WHY")
		for _, j := range all {
			g.row(j.ID, j.Name, orDash(j.Tenant), string(j.State), fmt.Sprintf("%d %s", j.Units, j.Class), orDash(hostsOf(j)),
				span(time.Duration(j.RunSeconds*float64(time.Second))), fmt.Sprint(j.Preemptions), j.BilledUSD.String(), whyOf(j))
		}
		return g.flush()
	}
	return cmd
}

// hostsOf names the hosts of a job, those of a gang by rank.
func hostsOf(j compute.Job) string {
	if len(j.Hosts) > 0 {
		return strings.Join(j.Hosts, ", ")
	}
	return j.Host
}

func jobShowCmd(at *remote) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "show ID", Short: "Show one job", Args: exactly("ID")}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		j, raw, err := askFor[server.JobDetail](cmd.Context(), c, http.MethodGet, "/jobs/"+url.PathEscape(args[0]), nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		return writeJob(cmd.OutOrStdout(), j)
	}
	return cmd
}

func writeJob(w io.Writer, j server.JobDetail) error {
	when := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return stamp(*t) + " UTC"
	}
	sold := "firm"
	if j.Interruptible {
		sold = fmt.Sprintf("interruptible above %s $/MWh", figure(j.StrikeUSDMWh, 1))
	}
	g := newGrid(w)
	g.row("job", j.ID)
	g.row("name", j.Name)
	g.row("tenant", orDash(j.Tenant))
	state := string(j.State)
	if j.Why != "" && (j.Held == "" || j.Why != compute.WaitsForRoom) {
		state += ": " + j.Why
	}
	g.row("state", state)
	g.row("needs", fmt.Sprintf("%d of %s, sold %s", j.Units, j.Class, sold))
	if j.Nodes > 1 {
		g.row("nodes", fmt.Sprintf("%d, all at once", j.Nodes))
	}
	runs := orDash(hostsOf(j.Job))
	if j.Isolation != "" {
		runs += ", isolated as " + string(j.Isolation)
	}
	g.row("runs on", runs)
	if j.Held != "" {
		g.row("held", held(j.Job))
	}
	if j.Array != "" && j.ArrayIndex != nil {
		g.row("array", fmt.Sprintf("%s, index %d", j.Array, *j.ArrayIndex))
	}
	g.row("submitted", when(&j.SubmittedAt))
	g.row("started", when(j.StartedAt))
	g.row("ended", when(j.EndedAt))
	if j.Deadline != nil {
		g.row("due", when(j.Deadline))
	}
	if j.ExitCode != nil {
		g.row("exit status", fmt.Sprint(*j.ExitCode))
	}
	g.row("ran", fmt.Sprintf("%s in %s, preempted %s", span(time.Duration(j.RunSeconds*float64(time.Second))), count(j.Runs, "run"), count(j.Preemptions, "time")))
	g.row("checkpoint", when(j.CheckpointAt))
	if j.LossSeconds > 0 && !j.Virtual {
		lost := j.LossSeconds / 3600 * j.RateUSDHour * float64(j.Units)
		g.row("a stop now costs", fmt.Sprintf("%s of work, %s $", span(time.Duration(j.LossSeconds*float64(time.Second))), figure(lost, 4)))
	}
	if j.NoticeSeconds > 0 {
		g.row("notice", span(time.Duration(j.NoticeSeconds*float64(time.Second)))+" from the order to stop to the kill")
	}
	if j.Cuts > 0 {
		g.row("cut short", fmt.Sprintf("%s, %s credited", count(j.Cuts, "time"), j.CreditUSD))
	}
	g.row("billed", fmt.Sprintf("%s at %s $ per unit and hour", j.BilledUSD, figure(j.RateUSDHour, 2)))
	detailRows(g, j)
	return g.flush()
}

func jobLogsCmd(at *remote) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{Use: "logs ID", Short: "Print a job's output", Args: exactly("ID")}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job has ended")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		return showLogs(cmd.Context(), c, cmd.OutOrStdout(), args[0], 0, follow)
	}
	return cmd
}

func jobCancelCmd(at *remote) *cobra.Command {
	var by string
	cmd := &cobra.Command{Use: "cancel ID", Short: "Cancel a job; a running one gets its grace to checkpoint", Args: exactly("ID")}
	cmd.Flags().StringVar(&by, "by", me(), "who cancels it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		j, _, err := askFor[compute.Job](cmd.Context(), c, http.MethodPost,
			"/jobs/"+url.PathEscape(args[0])+"/cancel?by="+url.QueryEscape(by), nil)
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "job %s is %s\n", plain(j.ID), because(j))
		}
		return err
	}
	return cmd
}
