package compute_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/jobfile"
)

// log returns the job's output so far.
func (w *world) log(id string) string {
	w.t.Helper()
	var b bytes.Buffer
	if err := w.svc.Logs(context.Background(), id, 0, false, &b); err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}

func TestRealLife(t *testing.T) {
	w := newWorld(t, thisMachine)
	ok, bad := w.submit(script("echo hello; env | sort > env; exit 0")), w.submit(script("echo oops >&2; exit 3"))
	long := w.submit(script(`echo up > up; echo $$ > pid; sleep 1000`))
	for _, j := range []compute.Job{ok, bad, long} {
		w.start(j.ID)
	}
	if j := w.reach(ok.ID, compute.Succeeded); *j.ExitCode != 0 || j.RunSeconds <= 0 || j.EndedAt == nil {
		t.Errorf("%+v", j)
	}
	if j := w.reach(bad.ID, compute.Failed); *j.ExitCode != 3 || j.Why != "exit status 3" {
		t.Errorf("%+v", j)
	}
	if !strings.Contains(w.log(ok.ID), "hello\n") || !strings.Contains(w.log(bad.ID), "oops\n") {
		t.Errorf("logs %q, %q", w.log(ok.ID), w.log(bad.ID))
	}
	env := w.appears(ok.ID, "env")
	for _, want := range []string{
		"SLUICE_JOB_ID=" + ok.ID, "SKYPILOT_NODE_RANK=0", "SKYPILOT_NUM_NODES=1", "SKYPILOT_NODE_IPS=127.0.0.1",
		"SKYPILOT_NUM_GPUS_PER_NODE=0", "SKYPILOT_TASK_ID=", "SLUICE_CHECKPOINT_DIR=" + filepath.Join(w.dir, "jobs", ok.ID, "checkpoint"),
	} {
		if !strings.Contains(env, want) {
			t.Errorf("no %s in the environment:\n%s", want, env)
		}
	}
	w.appears(long.ID, "up")
	if _, err := w.svc.Cancel(t.Context(), w.Now(), long.ID); err != nil {
		t.Fatal(err)
	}
	if j := w.reach(long.ID, compute.Cancelled); j.ExitCode != nil || j.Host == "" {
		t.Errorf("%+v", j)
	}
	if use := w.svc.HostUse()["this"]; use.UnitsBusy != 0 || use.PowerW != 60 {
		t.Errorf("use %+v", use)
	}
	uses := w.svc.Meter(w.Now())
	if len(uses) != 3 || uses[0].Amount < 0 || uses[2].UnitSeconds <= 0 {
		t.Errorf("uses %+v", uses)
	}
}

// The server's own environment, with whatever secrets it holds, is not the
// job's, nor are its open files.
func TestNothingLeaks(t *testing.T) {
	t.Setenv("SLUICE_SECRET_OF_THE_SERVER", "hunter2")
	w := newWorld(t, thisMachine)
	j := w.submit(script(`env > env; ls -l /proc/self/fd > fds; tr '\0' ' ' < /proc/$PPID/cmdline > keeper; tr '\0' '\n' < /proc/$PPID/environ >> keeper`))
	w.start(j.ID)
	w.reach(j.ID, compute.Succeeded)
	for _, f := range []string{"env", "keeper"} {
		if text := w.appears(j.ID, f); strings.Contains(text, "hunter2") || strings.Contains(text, "SECRET") {
			t.Errorf("%s: %s", f, text)
		}
	}
	if fds := w.appears(j.ID, "fds"); strings.Contains(fds, "sluice.db") || strings.Contains(fds, "lock") || strings.Contains(fds, "socket:") {
		t.Errorf("open files: %s", fds)
	}
}

// Preempted, a job finds its files again; a clean shutdown is a preemption, and
// it goes on after the restart.
func TestPreemptAndShutdown(t *testing.T) {
	w := newWorld(t, thisMachine)
	j := w.submit(script(`n=$(cat "$SLUICE_CHECKPOINT_DIR/n" 2>/dev/null || echo 0)
echo $((n+1)) > "$SLUICE_CHECKPOINT_DIR/n"
[ $n -ge 2 ] && exit 0
trap 'echo told >> told; exit 0' TERM
echo $n > up-$n; while :; do sleep 0.02; done`))
	w.start(j.ID)
	w.appears(j.ID, "up-0")
	if err := w.svc.Preempt(t.Context(), w.Now(), j.ID, "price"); err != nil {
		t.Fatal(err)
	}
	// Its exit status 0 after SIGTERM does not make it done.
	if got := w.reach(j.ID, compute.Queued); got.Preemptions != 1 || got.CheckpointAt == nil || got.Why != "preempted: price" {
		t.Fatalf("%+v", got)
	}
	w.start(j.ID)
	w.appears(j.ID, "up-1")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.svc.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if got := w.job(j.ID); got.State != compute.Queued || got.Preemptions != 2 {
		t.Fatalf("%+v", got)
	}
	_, err := w.svc.Submit(t.Context(), w.Now(), script("true"))
	wantKind(t, err, sluice.Unavailable)
	w.restart()
	w.start(j.ID)
	if got := w.reach(j.ID, compute.Succeeded); got.Runs != 3 {
		t.Fatalf("%+v", got)
	}
	if told := w.appears(j.ID, "told"); told != "told\ntold\n" {
		t.Fatalf("told %q", told)
	}
}

// A job that runs on while no server does is found with its end, its log and
// its whole use; one whose keeper was killed is honestly lost, and goes on when
// it left a checkpoint.
func TestRecover(t *testing.T) {
	w := newWorld(t, thisMachine)
	runs := w.submit(script(`echo up > up; while [ ! -e go ]; do sleep 0.02; done; echo done > done; exit 5`))
	lost := w.submit(script(`echo up > up; sleep 1000`))
	saved := w.submit(script(`if [ -e "$SLUICE_CHECKPOINT_DIR/x" ]; then exit 0; fi; echo x > "$SLUICE_CHECKPOINT_DIR/x"; echo up > up; sleep 1000`))
	for _, j := range []compute.Job{runs, lost, saved} {
		w.start(j.ID)
		w.appears(j.ID, "up")
		w.reach(j.ID, compute.Running)
	}
	w.svc.Close() // as a kill: nothing is told, nothing is stopped
	if err := os.WriteFile(filepath.Join(w.dir, "jobs", runs.ID, "work", "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.appears(runs.ID, "done")
	for _, id := range []string{lost.ID, saved.ID} {
		killKeeper(t, filepath.Join(w.dir, "jobs", id, "runs", id+"-r1"))
	}
	w.restart()
	if j := w.reach(runs.ID, compute.Failed); *j.ExitCode != 5 || j.Runs != 1 || j.RunSeconds <= 0 {
		t.Errorf("%+v", j)
	}
	if j := w.reach(lost.ID, compute.Lost); j.ExitCode != nil || !strings.Contains(j.Why, "gone") {
		t.Errorf("%+v", j)
	}
	w.reach(saved.ID, compute.Queued)
	w.start(saved.ID)
	w.reach(saved.ID, compute.Succeeded)
}

var pidField = regexp.MustCompile(`"pid":(\d+)`)

func killKeeper(t *testing.T, run string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(run, "keeper.json"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(pidField.FindSubmatch(b)[1]), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestFollowLog(t *testing.T) {
	w := newWorld(t, thisMachine)
	j := w.submit(script(`echo one; while [ ! -e go ]; do sleep 0.02; done; echo two`))
	w.start(j.ID)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &signalWriter{seen: make(chan struct{}), want: "one\n"}
	done := make(chan error, 1)
	go func() { done <- w.svc.Logs(ctx, j.ID, 0, true, out) }()
	select {
	case <-out.seen:
	case <-ctx.Done():
		t.Fatal("the first line never came")
	}
	if err := os.WriteFile(filepath.Join(w.dir, "jobs", j.ID, "work", "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || !strings.Contains(out.buf.String(), "two\n") {
		t.Fatalf("%v: %q", err, out.buf.String())
	}
	var tail bytes.Buffer
	all := w.log(j.ID)
	if err := w.svc.Logs(ctx, j.ID, -7, false, &tail); err != nil || tail.String() != all[len(all)-7:] {
		t.Fatalf("%v: the last 7 bytes are %q", err, tail.String())
	}
}

// signalWriter closes seen when want has been written.
type signalWriter struct {
	buf  bytes.Buffer
	want string
	seen chan struct{}
	done bool
}

func (s *signalWriter) Write(b []byte) (int, error) {
	n, err := s.buf.Write(b)
	if !s.done && strings.Contains(s.buf.String(), s.want) {
		s.done = true
		close(s.seen)
	}
	return n, err
}

// The example job, preempted twice, ends with the weights of an uninterrupted
// run, having gone on at the epochs it left.
func TestDigits(t *testing.T) {
	file := filepath.Join("..", "examples", "digits", "job.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	request := func(pause string) compute.SubmitRequest {
		task, err := jobfile.Parse(data, jobfile.Options{File: file, Env: map[string]string{
			"DIGITS_EPOCHS": "30", "DIGITS_SLEEP": pause,
			"GOCACHE": strings.TrimSpace(string(cache)), // so as not to compile the library for each job
		}})
		if err != nil {
			t.Fatal(err)
		}
		return compute.SubmitRequest{Tenant: "acme", Task: task, WorkdirPath: filepath.Join("..", "examples", "digits"), RateUSDHour: 0.04}
	}
	w := newWorld(t, thisMachine)
	whole, pieces := w.submit(request("0s")), w.submit(request("200ms"))
	w.start(whole.ID)
	w.start(pieces.ID)
	line := func(log, pattern string) []string { return regexp.MustCompile(pattern).FindStringSubmatch(log) }
	left := ""
	for i, epoch := range []string{"4", "11"} {
		w.until("epoch "+epoch, func() bool { return strings.Contains(w.log(pieces.ID), "epoch "+epoch+"/30") })
		if err := w.svc.Preempt(t.Context(), w.Now(), pieces.ID, "price"); err != nil {
			t.Fatal(err)
		}
		w.reach(pieces.ID, compute.Queued)
		all := regexp.MustCompile(`saved after epoch (\d+)`).FindAllStringSubmatch(w.log(pieces.ID), -1)
		if len(all) != i+1 {
			t.Fatalf("preempted %d times, saved:\n%s", i+1, w.log(pieces.ID))
		}
		left = all[i][1]
		w.start(pieces.ID)
		w.until("it resumes", func() bool {
			return strings.Contains(w.log(pieces.ID), "starting after epoch "+left+" of 30")
		})
	}
	a, b := w.reach(whole.ID, compute.Succeeded), w.reach(pieces.ID, compute.Succeeded)
	if a.Runs != 1 || b.Runs != 3 || b.Preemptions != 2 || !b.Interruptible {
		t.Errorf("%+v\n%+v", a, b)
	}
	const result = `done: (\d+\.\d+) % of 360 held-back samples, weights (\S+)`
	ra, rb := line(w.log(whole.ID), result), line(w.log(pieces.ID), result)
	if ra == nil || rb == nil || ra[2] != rb[2] {
		t.Fatalf("whole %v, in pieces %v", ra, rb)
	}
	var accuracy float64
	if _, err := fmt.Sscan(rb[1], &accuracy); err != nil || accuracy < 95 {
		t.Fatalf("accuracy %v, %v", accuracy, err)
	}
	for e := 1; e <= 30; e++ {
		if n := strings.Count(w.log(pieces.ID), fmt.Sprintf("\nepoch %d/30 ", e)); n != 1 {
			t.Errorf("epoch %d was trained %d times", e, n)
		}
	}
	// It worked on a copy.
	if _, err := os.Stat(filepath.Join("..", "examples", "digits", "digits")); err == nil {
		t.Error("the job has written into its owner's folder")
	}
}
