package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice"
)

// The test binary is also the process that is killed.
const childEnv = "SLUICE_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := writeForEver(dir, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1) // it is to be killed, not to end
	}
	os.Exit(m.Run())
}

// crashWriters append at once, each a series of its own.
const crashWriters = 4

// writeForEver appends entries, each writer from its number in next on, and
// prints "writer number" when an entry is acknowledged.
func writeForEver(dir string, next []string) error {
	ctx := context.Background()
	db, err := Open(ctx, dir, Options{Site: "west"})
	if err != nil {
		return err
	}
	fmt.Println("open")
	errs := make(chan error)
	for w, s := range next {
		n, err := strconv.Atoi(s)
		if err != nil {
			return err
		}
		go func() {
			for ; ; n++ {
				if _, err := appendAll(ctx, db, entry(fmt.Sprint("w", w), n)); err != nil {
					errs <- err
					return
				}
				if _, err := fmt.Printf("%d %d\n", w, n); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	return <-errs
}

func TestKillNine(t *testing.T) {
	const rounds = 10
	dir := filepath.Join(t.TempDir(), "data")
	var acked [crashWriters]int
	rng := rand.New(rand.NewPCG(8, 17))
	total := 0
	for round := range rounds {
		killWhileWriting(t, dir, 20+rng.IntN(60), time.Duration(rng.IntN(3000))*time.Microsecond, &acked)

		db, err := Open(t.Context(), dir, Options{Site: "west"})
		if err != nil {
			t.Fatalf("round %d: after kill -9: %v", round, err)
		}
		var found [crashWriters]int
		for _, e := range checkBooks(t, db) {
			var w, n int
			if _, err := fmt.Sscanf(e.ID, "w%d/%d", &w, &n); err != nil {
				t.Fatal(err)
			}
			// Each series is without a hole and without a double.
			if found[w]++; n != found[w] || !e.Equal(entry(fmt.Sprint("w", w), n)) {
				t.Fatalf("round %d: entry %d of writer %d is %+v", round, found[w], w, e)
			}
		}
		total = 0
		for w := range crashWriters {
			// What was on the way may be there: one entry of each writer.
			if found[w] < acked[w] || found[w] > acked[w]+1 {
				t.Fatalf("round %d: writer %d has %d entries, %d were acknowledged", round, w, found[w], acked[w])
			}
			total += found[w]
		}
		var verdict string
		if err := db.Read().QueryRow(`PRAGMA integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
			t.Fatalf("round %d: integrity check: %s, %v", round, verdict, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if total < rounds*20 {
		t.Errorf("only %d entries were written: this tests little", total)
	}
}

// killWhileWriting runs a child that goes on where the last one was cut off, its
// last acknowledged entries once more first, and kills it a moment after it has
// acknowledged so many.
func killWhileWriting(t *testing.T, dir string, after int, moment time.Duration, acked *[crashWriters]int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var next []string
	for _, n := range acked {
		next = append(next, strconv.Itoa(max(n, 1)))
	}
	child := exec.CommandContext(ctx, os.Args[0], next...)
	child.Env = append(os.Environ(), childEnv+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the child did not open its folder")
	}
	_, err = Open(t.Context(), dir, Options{Site: "west"})
	wantError(t, err, sluice.Conflict, fmt.Sprintf("in use by process %d", child.Process.Pid))

	for i := 0; lines.Scan(); i++ {
		var w, n int
		if _, err := fmt.Sscan(lines.Text(), &w, &n); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		acked[w] = n
		if i == after {
			time.AfterFunc(moment, func() { _ = child.Process.Kill() })
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	_ = child.Wait()
	if s, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL || ctx.Err() != nil {
		t.Fatalf("the child ended by itself: %v", strings.TrimSpace(child.ProcessState.String()))
	}
}
