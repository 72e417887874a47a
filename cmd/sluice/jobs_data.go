package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice"
	"sluice/compute"
	"sluice/server"

	"github.com/spf13/cobra"
)

// commandExit is the exit status of a command that ran beside a job: it becomes
// that of this program.
type commandExit int

func (e commandExit) Error() string { return fmt.Sprintf("the command ended with status %d", int(e)) }

// jobDataCmds are the commands about what lies with a job.
func jobDataCmds(at *remote) []*cobra.Command {
	return []*cobra.Command{jobExecCmd(at), jobFilesCmd(at), jobDownloadCmd(at), jobWipeCmd(at), jobWipesCmd(at), jobWhyCmd(at)}
}

func jobExecCmd(at *remote) *cobra.Command {
	var input bool
	cmd := &cobra.Command{
		Use: "exec ID -- COMMAND [ARGUMENT…]", Short: "Run a command beside a running job",
		Long: "Run a command where the job runs, with its environment and folders, and print its output as it comes. Its exit\nstatus becomes that of this command. With -i it reads this command's standard input, up to 1 MiB.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactly("ID", "COMMAND")(cmd, args)
			}
			return nil
		},
		Example: "  sluice job exec j-000012 -- nvidia-smi\n  sluice job exec j-000012 -- sh -c 'ls -l $SLUICE_CHECKPOINT_DIR'",
	}
	cmd.Flags().BoolVarP(&input, "stdin", "i", false, "hand on the standard input")
	cmd.Flags().SetInterspersed(false) // what follows the ID is the command's
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		argv := args[1:]
		if argv[0] == "--" {
			argv = argv[1:]
		}
		if len(argv) == 0 {
			return sluice.Errorf(sluice.Invalid, "usage: "+cmd.UseLine(), "%s: COMMAND is missing", cmd.CommandPath())
		}
		order := server.ExecOrder{Argv: argv}
		if input {
			b, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), server.MaxExecInput+1))
			if err != nil {
				return fmt.Errorf("reading the standard input: %w", err)
			}
			if len(b) > server.MaxExecInput {
				return sluice.Errorf(sluice.Invalid, "put it into a file that the job can reach", "the standard input is larger than 1 MiB")
			}
			order.Input = b
		}
		c, err := at.open()
		if err != nil {
			return err
		}
		res, err := c.response(cmd.Context(), http.MethodPost, "/jobs/"+url.PathEscape(args[0])+"/exec", order)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if _, err := io.Copy(cmd.OutOrStdout(), res.Body); err != nil {
			return sluice.Errorf(sluice.Unavailable, "the job may go on: sluice job show "+args[0], "the output broke off: %v", err)
		}
		if text := res.Trailer.Get(server.ErrorTrailer); text != "" {
			if t, err := strconv.Unquote(text); err == nil {
				text = t
			}
			return sluice.Errorf(sluice.Conflict, "", "%s", plain(text))
		}
		code, err := strconv.Atoi(res.Trailer.Get(server.ExitTrailer))
		if err != nil {
			return sluice.Errorf(sluice.Unavailable, "a proxy between may drop HTTP trailers", "the command's output ended without its exit status")
		}
		if code != 0 {
			return commandExit(code)
		}
		return nil
	}
	return cmd
}

func whatFlag(cmd *cobra.Command, what *string) {
	cmd.Flags().StringVar(what, "what", "all", "work, checkpoint or all")
}

func jobFilesCmd(at *remote) *cobra.Command {
	var what string
	var n int
	var asJSON bool
	cmd := &cobra.Command{Use: "files ID", Short: "List a job's files, also while it runs", Args: exactly("ID")}
	whatFlag(cmd, &what)
	cmd.Flags().IntVarP(&n, "number", "n", 1000, "at most so many, up to 10000")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		l, raw, err := askFor[server.FileList](cmd.Context(), c, http.MethodGet,
			fmt.Sprintf("/jobs/%s/files?what=%s&limit=%d", url.PathEscape(args[0]), url.QueryEscape(what), n), nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		g := newGrid(cmd.OutOrStdout(), "BYTES", "WRITTEN", "PATH")
		for _, f := range l.Items {
			size, name := figure(float64(f.Bytes), 0), f.Path
			switch {
			case f.Dir:
				size, name = "-", name+"/"
			case f.Link != "":
				size, name = "-", name+" -> "+f.Link
			}
			g.row(size, stamp(f.At), name)
		}
		if l.More {
			g.row("…", "", "there are more")
		}
		return g.flush()
	}
	return cmd
}

func jobDownloadCmd(at *remote) *cobra.Command {
	var what, to string
	cmd := &cobra.Command{
		Use: "download ID", Short: "Fetch a job's outputs and checkpoints, also while it runs",
		Long: "Fetch a job's working folder and checkpoints into a folder, by default one of the job's name. Files that are\nthere already are replaced; nothing is written outside of it.",
		Args: exactly("ID"),
	}
	whatFlag(cmd, &what)
	cmd.Flags().StringVar(&to, "to", "", "folder `DIR` that gets them (default: ./ID)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		if to == "" {
			if to = args[0]; strings.ContainsAny(to, `/\`) || strings.HasPrefix(to, ".") {
				return sluice.Errorf(sluice.Invalid, "sluice job list shows the jobs", "%q is no job", to)
			}
		}
		body, err := c.stream(cmd.Context(), http.MethodGet, "/jobs/"+url.PathEscape(args[0])+"/download?what="+url.QueryEscape(what), nil)
		if err != nil {
			return err
		}
		defer body.Close()
		n, bytes, err := unpackFiles(body, to)
		if err != nil {
			return fmt.Errorf("downloading job %s into %s: %w", args[0], to, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s, %s MB, in %s\n", count(n, "file"), figure(float64(bytes)/1e6, 1), to)
		return nil
	}
	return cmd
}

func jobWipeCmd(at *remote) *cobra.Command {
	var by string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "wipe ID", Short: "Wipe the data of an ended job, at once and for good",
		Long: "Wipe the secrets, working folder, checkpoints and logs of an ended job. What was wiped, when and how stays on the record.",
		Args: exactly("ID"),
	}
	cmd.Flags().StringVar(&by, "by", me(), "who wipes it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		r, raw, err := askFor[compute.Wipe](cmd.Context(), c, http.MethodPost, "/jobs/"+url.PathEscape(args[0])+"/wipe?by="+url.QueryEscape(by), nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "job %s: %s\n", plain(r.Job), plain(wipeText(r)))
		return nil
	}
	return cmd
}

// wipeText says what was wiped and how.
func wipeText(w compute.Wipe) string {
	var parts []string
	for _, p := range w.Parts {
		t := p.What + " by " + p.How
		if p.How == compute.Kept {
			t = p.What + " " + p.How
		}
		if p.Files > 0 {
			t += fmt.Sprintf(" (%s, %s MB)", count(p.Files, "file"), figure(float64(p.Bytes)/1e6, 1))
		}
		parts = append(parts, t)
	}
	what := strings.Join(parts, "; ")
	if what == "" {
		what = "nothing was left"
	}
	if w.DoneAt == nil {
		return "asked to be wiped by " + w.By + ", not done yet: " + first(w.Failed, what)
	}
	return "wiped " + stamp(*w.DoneAt) + " UTC, asked by " + w.By + ": " + what
}

func jobWipesCmd(at *remote) *cobra.Command {
	var n int
	cmd := &cobra.Command{Use: "wipes", Short: "List what was wiped of which job, the newest first", Args: exactly()}
	cmd.Flags().IntVarP(&n, "number", "n", 100, "at most so many, up to 10000")
	path := func([]string) string { return "/wipes?limit=" + strconv.Itoa(n) }
	return shows(cmd, at, path, func(w io.Writer, p server.Page[compute.Wipe]) error {
		g := newGrid(w, "JOB", "TENANT", "WHY", "WIPED")
		for _, r := range p.Items {
			g.row(r.Job, orDash(r.Tenant), r.Why, wipeText(r))
		}
		return g.flush()
	})
}

func jobWhyCmd(at *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "why ID", Short: "Show why a job is where it is, or waits", Args: exactly("ID")}
	path := func(args []string) string { return "/jobs/" + url.PathEscape(args[0]) + "/placements" }
	return shows(cmd, at, path, func(w io.Writer, p server.Page[compute.Placement]) error { return writePlacements(w, p.Items) })
}

func writePlacements(w io.Writer, ps []compute.Placement) error {
	if len(ps) == 0 {
		fmt.Fprintln(w, "no placement has been decided for it yet: sluice job show says what it waits for")
		return nil
	}
	for i, p := range ps {
		if i > 0 {
			fmt.Fprintln(w)
		}
		g := newGrid(w)
		g.row("decided", stamp(p.At)+" UTC")
		g.row("policy", fmt.Sprintf("version %d of %s: %s at least", p.PolicyVersion, orDash(p.Tenant), orDash(string(p.Isolation))))
		sold := ", firm"
		if p.Asked.UseSpot {
			sold = ", interruptible"
		}
		g.row("asked", needsOf(p.Asked)+sold)
		if len(p.Regions) > 0 {
			g.row("regions", strings.Join(p.Regions, ", "))
		}
		for _, k := range slices.Sorted(maps.Keys(p.Labels)) {
			g.row("label", k+"="+p.Labels[k])
		}
		if p.Run == "" {
			g.row("placed", "nowhere")
		} else {
			g.row("placed", p.Run+" on "+strings.Join(p.Hosts, ", "))
		}
		for _, h := range slices.Sorted(maps.Keys(p.Refused)) {
			g.row("refused", h+": "+p.Refused[h])
		}
		if err := g.flush(); err != nil {
			return err
		}
	}
	return nil
}

// detailRows adds what a job costs and what becomes of its data.
func detailRows(g grid, d server.JobDetail) {
	g.row("cost so far", d.Cost.String())
	energy := "not measured"
	if d.EnergyWh > 0 {
		energy = figure(d.EnergyWh, 1) + " Wh"
		if d.EnergyEstimated {
			energy += ", by its host's figures"
		}
	}
	g.row("energy", energy)
	if s := d.Spending; s != nil {
		spent := s.Spent.String() + " this month"
		if s.Limit > 0 {
			spent = fmt.Sprintf("%s of %s this month, %s", s.Spent, s.Limit, s.State)
		}
		g.row("its tenant spent", spent)
		g.row("at the limit", s.Then)
	}
	switch {
	case d.Wiped != nil:
		g.row("data", wipeText(*d.Wiped))
	case d.WipeAt != nil:
		g.row("data", "kept until "+stamp(*d.WipeAt)+" UTC, then wiped")
	}
}

// exitOf returns the exit status of a command that ran beside a job.
func exitOf(err error) (int, bool) {
	e, ok := errors.AsType[commandExit](err)
	return int(e), ok
}
