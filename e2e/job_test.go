package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	jobBeat = 50 * time.Millisecond
	// jobLife ends a job that was left behind by a test that failed.
	jobLife = 8 * time.Minute
)

// job is an AI job that keeps a diary: `job DIARY BEATS` appends a line for its
// start, each beat and its end, with its pid and its count, which goes on over
// preemptions from the checkpoint folder. It succeeds after so many beats, or
// with 0 when the file DIARY.end appears. O_APPEND puts the lines of all runs in
// their true order.
func job(args []string) error {
	diary := args[0]
	beats, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	count := filepath.Join(os.Getenv("SLUICE_CHECKPOINT_DIR"), "count")
	n := 0
	if b, err := os.ReadFile(count); err == nil {
		if n, err = strconv.Atoi(string(b)); err != nil {
			return fmt.Errorf("the checkpoint is damaged: %w", err)
		}
	}
	f, err := os.OpenFile(diary, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	note := func(what string) error {
		_, err := fmt.Fprintf(f, "%s %d %d\n", what, os.Getpid(), n)
		return err
	}
	if err := note("start"); err != nil {
		return err
	}
	tick := time.NewTicker(jobBeat)
	defer tick.Stop()
	old := time.NewTimer(jobLife)
	defer old.Stop()
	for {
		if _, err := os.Stat(diary + ".end"); (beats > 0 && n >= beats) || (beats == 0 && err == nil) {
			return note("end")
		}
		if _, err := os.Stat(diary); err != nil {
			return err // the test is over
		}
		select {
		case <-old.C:
			return errors.New("forgotten")
		case <-term:
			if err := errors.Join(os.WriteFile(count+".new", []byte(strconv.Itoa(n)), 0o600), os.Rename(count+".new", count), note("term")); err != nil {
				return err
			}
			os.Exit(143)
		case <-tick.C:
			n++
			if err := note("beat"); err != nil {
				return err
			}
		}
	}
}

// line is one of a diary.
type line struct {
	what   string
	pid, n int
}

// readDiary returns what a job has written so far; nothing where it never ran.
func readDiary(path string) ([]line, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []line
	for s := bufio.NewScanner(f); s.Scan(); {
		var l line
		if _, err := fmt.Sscanf(s.Text(), "%s %d %d", &l.what, &l.pid, &l.n); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", path, s.Text(), err)
		}
		out = append(out, l)
	}
	return out, nil
}

// checkDiary returns the runs of a job by their pids, or what is wrong: two runs
// at once, or a run that did not go on where the one before it stopped.
func checkDiary(lines []line) ([]int, error) {
	var pids []int
	running, ended, n := 0, false, 0
	for i, l := range lines {
		switch {
		case ended:
			return nil, fmt.Errorf("line %d: %v after its end", i+1, l)
		case l.what == "start":
			if running != 0 {
				return nil, fmt.Errorf("line %d: process %d starts while %d runs", i+1, l.pid, running)
			}
			if l.n != n {
				return nil, fmt.Errorf("line %d: it goes on at %d, it had stopped at %d", i+1, l.n, n)
			}
			running = l.pid
			pids = append(pids, l.pid)
		case l.pid != running:
			return nil, fmt.Errorf("line %d: %v by a process that does not run (%d does): it ran twice at once", i+1, l, running)
		case l.what == "beat" && l.n != n+1:
			return nil, fmt.Errorf("line %d: beat %d after %d", i+1, l.n, n)
		case l.what == "term":
			running = 0
		case l.what == "end":
			running, ended = 0, true
		}
		n = l.n
	}
	return pids, nil
}

func ended(lines []line) bool {
	return len(lines) > 0 && lines[len(lines)-1].what == "end"
}

// task is the task file of such a job.
func task(name, self, diary string, beats int, spot bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nresources:\n  cpus: 1\n", name)
	if spot {
		b.WriteString("  use_spot: true\n")
	}
	fmt.Fprintf(&b, "run: |\n  exec %s job %s %d\n", self, diary, beats)
	return b.String()
}
