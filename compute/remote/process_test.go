package remote_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/compute"
	"sluice/compute/agent"
	"sluice/compute/process"
	"sluice/compute/remote"
	"sluice/fabric"
	"sluice/store"
)

// orders is what a process of a test is told, as JSON in its argument.
type orders struct {
	Dir   string
	URL   string // agent: where to join; site: where to listen
	Token string
	Host  string
	Specs []compute.RunSpec // site: what to run
}

func parseOrders(text string) orders {
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	return o
}

func processExecutors() []agent.Executor {
	x, err := process.New(process.Config{})
	if err != nil {
		panic(err)
	}
	return []agent.Executor{{Name: "process", Run: x, Isolations: []compute.Isolation{compute.IsolationNone}}}
}

// counter is a source whose readings can be counted: life and number.
type counter struct {
	life string
	n    int
}

func (c *counter) Readings(context.Context) ([]fabric.Reading, error) {
	c.n++
	return []fabric.Reading{{Name: "count", Unit: "1", Value: float64(c.n), Labels: map[string]string{"life": c.life}}}, nil
}

// agentProcess is an agent that a test kills.
func agentProcess(text string) int {
	o := parseOrders(text)
	tok, err := fabric.ParseToken(o.Token)
	if err != nil {
		panic(err)
	}
	self, _ := os.Executable()
	a, err := agent.New(agent.Config{
		Dir: o.Dir, Link: fabric.LinkConfig{URL: o.URL, Token: tok}, Executors: processExecutors(),
		Facts: agent.HostFacts(tok.Host, "test", o.Dir), Sources: []agent.Source{&counter{life: fmt.Sprint(os.Getpid())}},
		ReadEvery: time.Millisecond, Guard: []string{self, "guard"},
	})
	if err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := a.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func guardProcess(dir string) int {
	if err := agent.Guard(context.Background(), dir, processExecutors()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// siteProcess is a site that a test kills. As compute's Service does, it asks for
// each start again by its RunID, and writes down how each run ended.
func siteProcess(text string) int {
	o := parseOrders(text)
	ctx := context.Background()
	db, err := store.Open(ctx, o.Dir, store.Options{Site: "test"})
	if err != nil {
		panic(err)
	}
	hub, err := fabric.NewHub(ctx, fabric.Config{Dir: filepath.Join(o.Dir, "fabric"), Listen: o.URL, Hosts: []string{o.Host}, Tokens: db.Fabric(), Journal: db.Fabric()})
	if err != nil {
		panic(err)
	}
	if o.Token == "new" {
		tok, err := hub.Token(ctx, o.Host, time.Time{}, "test")
		if err != nil {
			panic(err)
		}
		if err := os.WriteFile(filepath.Join(o.Dir, "token"), []byte(tok.Text()), 0o600); err != nil {
			panic(err)
		}
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "address"), []byte(hub.Address()), 0o600); err != nil {
		panic(err)
	}
	x := remote.New(hub, remote.Config{})
	for _, s := range o.Specs {
		go func() {
			file := filepath.Join(s.Dir, "exit.json")
			if _, err := os.Stat(file); err == nil {
				return
			}
			for {
				h, err := x.Start(ctx, s)
				if err != nil {
					<-time.After(100 * time.Millisecond) // as a turn of a site would ask again
					continue
				}
				e, err := x.Wait(ctx, h)
				if err != nil {
					panic(err)
				}
				b, _ := json.Marshal(e)
				if os.WriteFile(file+".new", b, 0o600) == nil {
					_ = os.Rename(file+".new", file)
				}
				return
			}
		}()
	}
	select {}
}

// child runs this binary in another role until it is killed.
func child(t testing.TB, role string, o orders) (kill func()) {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, role, string(b))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dead := false
	kill = func() {
		if !dead {
			dead = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(kill)
	return kill
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := time.After(90 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// endGuard waits for the guard of a data folder to find that nothing is left.
func endGuard(t testing.TB, dir string) {
	t.Helper()
	waitFor(t, "the guard ends", func() bool {
		f, err := os.OpenFile(filepath.Join(dir, "guard.lock"), os.O_RDWR, 0)
		if err != nil {
			return os.IsNotExist(err)
		}
		defer f.Close()
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
	})
}

// Site and agent are killed with SIGKILL again and again, while runs print, end and
// are reported: each runs once, each output comes once, each event is stored once.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := &world{t: t, dir: dir}
	siteDir, hostDir := filepath.Join(dir, "site"), filepath.Join(dir, "hosts", "h1")
	const n = 250
	o := orders{Dir: siteDir, URL: "127.0.0.1:0", Host: "h1", Token: "new"}
	for range 3 {
		s := w.spec("h1", "echo x >> count; "+lines(n, "sleep 0.02"))
		o.Specs = append(o.Specs, s)
	}
	killSite := child(t, "site", o)
	read := func(f string) string { b, _ := os.ReadFile(filepath.Join(siteDir, f)); return string(b) }
	waitFor(t, "the site is up", func() bool { return read("address") != "" })
	a := orders{Dir: hostDir, URL: read("address"), Token: read("token")}
	o.URL, o.Token = strings.TrimPrefix(read("address"), "tls://"), ""
	killAgent := child(t, "agent", a)
	size := func() (total int64) {
		for _, s := range o.Specs {
			if info, err := os.Stat(s.Log); err == nil {
				total += info.Size()
			}
		}
		return total
	}
	for i := range 6 {
		from := size()
		waitFor(t, "output comes", func() bool { return size() > from+200 || ended(o.Specs) })
		if i%2 == 0 {
			killAgent()
			killAgent = child(t, "agent", a)
		} else {
			killSite()
			killSite = child(t, "site", o)
		}
	}
	waitFor(t, "all have ended", func() bool { return ended(o.Specs) })
	for _, s := range o.Specs {
		checkLines(t, s.Log, n)
		b, err := os.ReadFile(filepath.Join(s.WorkDir, "count"))
		if err != nil || string(b) != "x\n" {
			t.Errorf("%s ran %d times, %v", s.RunID, len(b)/2, err)
		}
		var e compute.Exit
		b, _ = os.ReadFile(filepath.Join(s.Dir, "exit.json"))
		if err := json.Unmarshal(b, &e); err != nil || e.Code != 0 || e.Lost || e.Why != "" {
			t.Errorf("exit %+v, %v", e, err)
		}
	}
	killAgent()
	killSite()
	// What the last agent has spooled arrives with the next, at a site that stays.
	db, err := store.Open(t.Context(), siteDir, store.Options{Site: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	hub, err := fabric.NewHub(t.Context(), fabric.Config{Dir: filepath.Join(siteDir, "fabric"), Listen: o.URL, Hosts: []string{"h1"}, Tokens: db.Fabric(), Journal: db.Fabric()})
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	last := spooled(t, hostDir)
	killAgent = child(t, "agent", a)
	waitFor(t, "what was spooled is stored", func() bool {
		for _, e := range events(t, db) {
			if e.Seq == last {
				return true
			}
		}
		return false
	})
	killAgent()
	hub.Close()
	checkEvents(t, events(t, db))
	endGuard(t, hostDir)
}

// spooled is the number of the newest event that a host's agent keeps.
func spooled(t *testing.T, hostDir string) (last uint64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(hostDir, "spool", "*.events"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var e fabric.Event
			_, text, _ := strings.Cut(line, " ")
			if json.Unmarshal([]byte(text), &e) == nil { // the kill may have cut the last one
				last = max(last, e.Seq)
			}
		}
	}
	if last == 0 {
		t.Fatal("nothing is spooled")
	}
	return last
}

// events are all that the host has reported.
func events(t *testing.T, db *store.DB) []fabric.Event {
	t.Helper()
	all, err := db.Fabric().Events(t.Context(), "h1", "", 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func ended(specs []compute.RunSpec) bool {
	for _, s := range specs {
		if _, err := os.Stat(filepath.Join(s.Dir, "exit.json")); err != nil {
			return false
		}
	}
	return true
}

// checkEvents finds what is missing or doubled among what a host has reported.
func checkEvents(t *testing.T, events []fabric.Event) {
	t.Helper()
	seen := map[uint64]bool{}
	last := map[string]int{}
	ends := map[string]int{}
	for _, e := range events {
		if seen[e.Seq] || e.Dropped > 0 {
			t.Fatalf("event %d twice, or dropped: %+v", e.Seq, e)
		}
		seen[e.Seq] = true
		if r := e.Reading; r != nil {
			life := r.Labels["life"]
			if int(r.Value) != last[life]+1 {
				t.Fatalf("reading %v of life %s after %d", r.Value, life, last[life])
			}
			last[life]++
		}
		if e.Run != nil && e.Run.Phase == fabric.Ended {
			ends[e.Run.Run]++
		}
	}
	for i := range uint64(len(events)) {
		if !seen[i+1] {
			t.Fatalf("event %d of %d is missing", i+1, len(events))
		}
	}
	if len(last) < 3 || len(ends) != 3 {
		t.Fatalf("readings of %d lives, %d ends in %d events", len(last), len(ends), len(events))
	}
	for run, n := range ends {
		if n != 1 {
			t.Errorf("the end of %s was told %d times", run, n)
		}
	}
	t.Logf("%d events of %d lives of the agent", len(events), len(last))
}

// An agent that is killed and does not return leaves no run beyond its lease: the
// guard ends it.
func TestGuardEndsWhatAnAgentLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "h1")
	dir := filepath.Join(w.dir, "hosts", "h1")
	kill := child(t, "agent", orders{Dir: dir, URL: w.hub.Address(), Token: w.token("h1").Text()})
	w.until("the host answers", func() bool { ok, _ := w.hub.Reach("h1"); return ok })
	x := w.executor(remote.Config{GangLease: 3 * time.Second})
	s := w.spec("h1", `trap 'echo told > told; exit 0' TERM; echo up > up; while :; do sleep 0.05; done`)
	s.Nodes, s.Interrupt.Notice = 2, time.Second
	begin(t, x, s)
	told := filepath.Join(w.local(s, "work", s.WorkDir), "told")
	w.until("the guard is there", func() bool { _, err := os.Stat(filepath.Join(dir, "guard.lock")); return err == nil })
	began := time.Now()
	kill()
	w.until("the host is silent", func() bool { ok, _ := w.hub.Reach("h1"); return !ok })
	t.Logf("a killed agent is noticed after %v", time.Since(began).Round(10*time.Millisecond))
	w.until("its run is told to stop", func() bool { _, err := os.Stat(told); return err == nil })
	x.Lost("h1", "test")
	endGuard(t, dir)
}
