package compute_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/compute"
	"sluice/compute/process"
	"sluice/store"
)

const jobSteps = 40

// countingJob counts to jobSteps, a step each 20 ms, over all its runs, and
// writes the file twice should it ever find itself running twice.
func countingJob() error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	lock, err := os.OpenFile("lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return os.WriteFile("twice", []byte(err.Error()), 0o600)
	}
	file := filepath.Join(os.Getenv("SLUICE_CHECKPOINT_DIR"), "n")
	n := 0
	if b, err := os.ReadFile(file); err == nil {
		if n, err = strconv.Atoi(string(b)); err != nil {
			return err
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; n < jobSteps; n++ {
		if err := os.WriteFile(file+".tmp", []byte(strconv.Itoa(n+1)), 0o600); err != nil {
			return err
		}
		if err := os.Rename(file+".tmp", file); err != nil {
			return err
		}
		select {
		case <-term:
			os.Exit(143)
		case <-tick.C:
		}
	}
	return nil
}

// server is a service over a folder, with this machine as its host, as a site
// has it.
func server(dir string) (*compute.Service, *store.DB, error) {
	ctx := context.Background()
	db, err := store.Open(ctx, dir, store.Options{})
	if err != nil {
		return nil, nil, err
	}
	x, err := process.New(process.Config{})
	if err != nil {
		return nil, nil, err
	}
	host := thisMachine
	host.Units = 6
	svc := compute.New(compute.Config{
		Hosts: []compute.Host{host}, Executors: map[string]compute.Executor{"process": x},
		Store: db.Jobs(), Dir: dir, Now: time.Now, Grace: 5 * time.Second, Path: os.Getenv("PATH"),
	})
	return svc, db, svc.Recover(ctx, time.Now())
}

// turn is one turn of a site: start what fits, bill what was used.
func turn(svc *compute.Service, db *store.DB) error {
	ctx := context.Background()
	for _, j := range svc.Jobs() {
		if j.State == compute.Queued {
			_ = svc.Start(ctx, time.Now(), j.ID, "room")
		}
	}
	uses := svc.Meter(time.Now())
	if err := db.Write(ctx, func(tx *sql.Tx) error { return store.MarkBilled(ctx, tx, uses) }); err != nil {
		return err
	}
	svc.Billed(uses)
	return nil
}

// serve submits, starts, preempts and bills until it is killed.
func serve(dir string) error {
	svc, db, err := server(dir)
	if err != nil {
		return err
	}
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		if i%10 == 0 && len(svc.Jobs()) < 12 {
			j, err := svc.Submit(context.Background(), time.Now(), script("exec "+self+" job"))
			if err != nil {
				return err
			}
			fmt.Println(j.ID) // confirmed
		}
		if jobs := svc.Jobs(); i%5 == 0 && len(jobs) > 0 {
			_ = svc.Preempt(context.Background(), time.Now(), jobs[rand.IntN(len(jobs))].ID, "any")
		}
		if err := turn(svc, db); err != nil {
			return err
		}
		<-tick.C
	}
}

// Killed again and again at any instant, the server loses no job that it has
// confirmed, runs none twice at once and bills nothing twice; its processes go
// on without it.
func TestServerKilled(t *testing.T) {
	dir := t.TempDir()
	confirmed := map[string]bool{}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 15 || len(confirmed) == 0; i++ {
		cmd := exec.Command(self, "serve", dir)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// From its first instant on: also while it opens and recovers. Where it never
		// came so far as to confirm a job, it gets more time than that.
		time.AfterFunc(time.Duration(rand.IntN(700*max(1, i-13)))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			confirmed[lines.Text()] = true
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("it ended by itself: %v, %s", err, stderr.String())
		}
	}
	svc, db, err := server(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	defer svc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for left := 1; left > 0; {
		if err := turn(svc, db); err != nil {
			t.Fatal(err)
		}
		left = 0
		for _, j := range svc.Jobs() {
			if !j.State.Ended() {
				left++
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("jobs do not end: %+v", svc.Jobs())
		case <-tick.C:
		}
	}
	if err := turn(svc, db); err != nil {
		t.Fatal(err)
	}
	jobs := map[string]compute.Job{}
	for _, j := range svc.Jobs() {
		jobs[j.ID] = j
		work := filepath.Join(dir, "jobs", j.ID)
		n, err := os.ReadFile(filepath.Join(work, "checkpoint", "n"))
		if err != nil || string(n) != strconv.Itoa(jobSteps) || j.State != compute.Succeeded {
			t.Errorf("counted to %q, %v: %+v", n, err, j)
		}
		if b, err := os.ReadFile(filepath.Join(work, "work", "twice")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("job %s ran twice at once: %s", j.ID, b)
		}
		if j.BilledUSD <= 0 {
			t.Errorf("job %s ran %v s and was never billed", j.ID, j.RunSeconds)
		}
	}
	for id := range confirmed {
		if _, ok := jobs[id]; !ok {
			t.Errorf("job %s was confirmed and is lost", id)
		}
	}
	if err := svc.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	recs, err := db.Jobs().LoadJobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		if r.BilledMS != r.UsedMS {
			t.Errorf("job %s used %d unit-ms, billed %d", r.Job.ID, r.UsedMS, r.BilledMS)
		}
	}
}
