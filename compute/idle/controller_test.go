package idle_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/compute/idle"
	"sluice/device/devicetest"
)

// The test binary is also the mining program: it serves lolMiner's summary at the
// address, writes its pid beside the GPUs that it was shown, and starts a child that
// leaves its session.
func TestMain(m *testing.M) {
	if len(os.Args) >= 4 && os.Args[1] == "miner" {
		mine(os.Args[2], os.Args[3], len(os.Args) > 4)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func mine(addr, dir string, stubborn bool) {
	self := fmt.Sprintf("%d %s\n", os.Getpid(), os.Getenv("CUDA_VISIBLE_DEVICES"))
	if stubborn {
		signal.Ignore(syscall.SIGTERM)
		child := exec.Command("sleep", "600")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if child.Start() == nil {
			self += fmt.Sprintf("%d %s\n", child.Process.Pid, os.Getenv("CUDA_VISIBLE_DEVICES"))
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_ = os.WriteFile(filepath.Join(dir, "pids~"), []byte(self), 0o600)
	_ = os.Rename(filepath.Join(dir, "pids~"), filepath.Join(dir, "pids"))
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, lolSummary) }))
}

// host is the driver's side: GPU i is called GPU-i; whoever is in the file of pids
// and lives computes on the GPUs that it was shown.
type host struct {
	dir  string
	mu   sync.Mutex
	busy map[int][]int
	w    sluice.Watts
}

func (h *host) Name(_ context.Context, g int) (string, error) { return fmt.Sprintf("GPU-%d", g), nil }

func (h *host) Power(_ context.Context, g int) (sluice.Watts, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.w, nil
}

func (h *host) set(g int, pids ...int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy[g] = pids
}

func (h *host) Busy(_ context.Context, g int) ([]int, error) {
	h.mu.Lock()
	out := append([]int{}, h.busy[g]...)
	h.mu.Unlock()
	b, _ := os.ReadFile(filepath.Join(h.dir, "pids"))
	for line := range strings.Lines(string(b)) {
		pid, names, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, _ := strconv.Atoi(pid)
		if alive(n) && strings.Contains(names+",", fmt.Sprintf("GPU-%d,", g)) {
			out = append(out, n)
		}
	}
	return out, nil
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z")
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late.C:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func config(h *host, m idle.Miner) idle.Config {
	return idle.Config{
		Miner: m, GPUs: h, Terms: terms, Rig: idle.Rig{MHs: 100, Power: 320, Idle: 40},
		Value:   func(time.Time) (idle.Value, error) { return value(0.005), nil },
		Overdue: 20 * time.Second, Grace: 200 * time.Millisecond, Now: func() time.Time { return noon },
	}
}

// A real program that ignores SIGTERM and has a child that fled is off the GPUs when
// Yield returns.
func TestYieldOwnProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no /proc")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	h := &host{dir: dir, busy: map[int][]int{}, w: 40}
	addr := freePort(t)
	m, err := idle.NewLolMiner("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(h, m)
	cfg.Command, cfg.Dir = []string{self, "miner", addr, dir, "stubborn"}, filepath.Join(dir, "miner")
	c, err := idle.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	free := []int{0, 1, 2}
	// At 68 $/MWh it does not pay and nothing starts.
	vs, err := c.Step(t.Context(), noon, free, price(68), true)
	if err != nil || len(vs) != 3 || vs[0].Mine || !strings.Contains(vs[0].Why, "it does not pay") {
		t.Fatalf("%+v, %v", vs, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "pids")); err == nil {
		t.Fatal("it mines at a loss")
	}
	// At 20 it does; only looking starts nothing either.
	if vs, err = c.Step(t.Context(), noon, free, price(20), false); err != nil || !vs[0].Mine {
		t.Fatalf("%+v, %v", vs, err)
	}
	if vs, err = c.Step(t.Context(), noon, free, price(20), true); err != nil || !vs[2].Mine {
		t.Fatalf("%+v, %v", vs, err)
	}
	until(t, "it mines", func() bool { b, _ := h.Busy(t.Context(), 2); return len(b) == 2 })
	begin := time.Now()
	if err := c.Yield(t.Context(), []int{1}); err != nil {
		t.Fatal(err)
	}
	t.Logf("off after %s", time.Since(begin).Round(time.Millisecond))
	for _, g := range free {
		if b, _ := h.Busy(t.Context(), g); len(b) > 0 {
			t.Errorf("GPU %d: %v", g, b)
		}
	}
	// The rest goes on; the GPU of the job stays free even before the job runs.
	_ = os.Remove(filepath.Join(dir, "pids"))
	vs, err = c.Step(t.Context(), noon.Add(time.Minute), free, price(20), true)
	if err != nil || !vs[0].Mine || vs[1].Mine || !vs[2].Mine || !strings.Contains(vs[1].Why, "a job comes") {
		t.Fatalf("%+v, %v", vs, err)
	}
	until(t, "the rest mines", func() bool { b, _ := h.Busy(t.Context(), 0); return len(b) == 2 })
	if b, _ := h.Busy(t.Context(), 1); len(b) > 0 {
		t.Errorf("it mines on the job's GPU: %v", b)
	}
	// A controller of a next process ends what this one leaves behind in a crash.
	left, _ := h.Busy(t.Context(), 0)
	if _, err := idle.New(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for _, pid := range left {
		if alive(pid) {
			t.Errorf("%d of the earlier process lives", pid)
		}
	}
	// The price rises: it stops after its least time, not before.
	if vs, err = c.Step(t.Context(), noon.Add(2*time.Minute), nil, price(20), true); err != nil || len(vs) != 0 {
		t.Errorf("%+v, %v", vs, err)
	}
}

// fakeMiner is xmrig or T-Rex over real HTTP. It computes on the host's GPUs until it
// is made to leave; deaf it hears no pause.
type fakeMiner struct {
	mu           sync.Mutex
	h            *host
	kind         string
	paused, gone bool
	deaf         bool
	calls        []string
	server       *httptest.Server
}

func newFake(t *testing.T, kind string, h *host) *fakeMiner {
	f := &fakeMiner{h: h, kind: kind}
	h.set(0, 4711)
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	return f
}

func (f *fakeMiner) leave() {
	f.gone = true
	f.h.set(0)
}

func (f *fakeMiner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	say := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	if f.kind == "xmrig" {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.URL.Path {
		case "/2/summary":
			http.NotFound(w, r)
		case "/1/summary":
			say(map[string]any{"version": "6", "algo": "kawpow", "paused": f.paused, "hashrate": map[string]any{"total": []float64{29e6}}})
		case "/json_rpc":
			var in struct{ Method string }
			_ = json.NewDecoder(r.Body).Decode(&in)
			f.calls = append(f.calls, in.Method)
			switch {
			case f.deaf:
				say(map[string]any{"id": 1, "error": map[string]any{"code": -32601, "message": "Method not found"}})
				return
			case in.Method == "pause":
				f.paused = true
			case in.Method == "resume":
				f.paused = false
			case in.Method == "stop":
				f.leave()
			}
			say(map[string]any{"id": 1, "result": map[string]any{"status": "OK"}})
		}
		return
	}
	q := r.URL.Query()
	switch r.URL.Path {
	case "/login":
		if q.Get("password") != "s3cret" {
			say(map[string]any{"success": 0})
			return
		}
		say(map[string]any{"sid": "abc", "success": 1})
		return
	case "/logout":
		return
	}
	if q.Get("sid") != "abc" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	switch r.URL.Path {
	case "/summary":
		say(map[string]any{"version": "0.26", "algorithm": "kawpow", "hashrate": 29e6, "paused": f.paused, "gpus": []any{map[string]any{"gpu_id": 0, "hashrate": 29e6, "paused": f.paused}}})
	case "/control":
		f.calls = append(f.calls, r.URL.RawQuery)
		if q.Get("pause") != "" {
			f.paused = q.Get("pause") == "true"
		}
		if q.Get("command") == "shutdown" {
			f.leave()
		}
		say(map[string]any{"success": 1})
	}
}

func TestYieldByAPI(t *testing.T) {
	for _, kind := range []string{"xmrig", "trex"} {
		t.Run(kind, func(t *testing.T) {
			h := &host{busy: map[int][]int{}, w: 40}
			f := newFake(t, kind, h)
			m := client(t, kind, f.server.URL, "s3cret")
			cfg := config(h, m)
			cfg.Overdue, cfg.Only = 5*time.Second, []int{0}
			c, err := idle.New(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Step(t.Context(), noon, []int{0}, price(20), true); err != nil {
				t.Fatal(err)
			}
			if err := c.Yield(t.Context(), []int{0}); err != nil {
				t.Fatal(err)
			}
			f.mu.Lock()
			calls := strings.Join(f.calls, " ")
			f.mu.Unlock()
			if !strings.Contains(calls, "pause") || !(strings.Contains(calls, "stop") || strings.Contains(calls, "shutdown")) {
				t.Errorf("calls %q", calls)
			}
			if b, _ := h.Busy(t.Context(), 0); len(b) > 0 {
				t.Errorf("GPU 0: %v", b)
			}
		})
	}
}

// One that does not pay is paused, one that pays again goes on.
func TestPauseByPrice(t *testing.T) {
	h := &host{busy: map[int][]int{}, w: 40}
	f := newFake(t, "xmrig", h)
	cfg := config(h, client(t, "xmrig", f.server.URL, "s3cret"))
	c, err := idle.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	paused := func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.paused }
	if _, err := c.Step(t.Context(), noon, []int{0}, price(200), true); err != nil || !paused() {
		t.Fatalf("%v, paused %v", err, paused())
	}
	if _, err := c.Step(t.Context(), noon.Add(time.Minute), []int{0}, price(10), true); err != nil || paused() {
		t.Fatalf("%v, paused %v", err, paused())
	}
}

// A miner that does not leave: Yield says so in time, and nobody gets the GPU.
func TestYieldFails(t *testing.T) {
	h := &host{busy: map[int][]int{}, w: 40}
	f := newFake(t, "xmrig", h)
	f.deaf = true
	cfg := config(h, client(t, "xmrig", f.server.URL, "s3cret"))
	cfg.Overdue = 700 * time.Millisecond
	c, err := idle.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	took := devicetest.OwnTime(t)
	err = c.Yield(t.Context(), []int{0})
	if err == nil || sluice.KindOf(err) != sluice.Unavailable || took() > 5*time.Second {
		t.Fatalf("%v after %s", err, took())
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the secret is in %v", err)
	}
	// One that is not there at all holds nothing up, if the GPUs are free.
	f.server.Close()
	h.set(0)
	if err := c.Yield(t.Context(), []int{0}); err != nil {
		t.Errorf("a dead miner: %v", err)
	}
}

func client(t *testing.T, kind, url, secret string) idle.Miner {
	t.Helper()
	var m idle.Miner
	var err error
	if kind == "xmrig" {
		m, err = idle.NewXMRig(url, secret)
	} else {
		m, err = idle.NewTRex(url, secret)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSecrets(t *testing.T) {
	for _, kind := range []string{"xmrig", "trex"} {
		h := &host{busy: map[int][]int{}}
		f := newFake(t, kind, h)
		_, err := client(t, kind, f.server.URL, "wr0ng").Status(t.Context())
		if err == nil || strings.Contains(err.Error(), "wr0ng") || !strings.Contains(err.Error(), "token_file") {
			t.Errorf("%s: %v", kind, err)
		}
		f.server.Close()
		if _, err := client(t, kind, f.server.URL, "wr0ng").Status(t.Context()); err == nil || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, bad := range []string{"", "127.0.0.1:80", "ftp://x", "http://user:pw@x", "http://x?password=y"} {
		if _, err := idle.NewTRex(bad, ""); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	m, err := idle.NewLolMiner("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := idle.New(t.Context(), idle.Config{Miner: m}); err == nil || !strings.Contains(err.Error(), "idle_mining.command") {
		t.Errorf("lolMiner without a command: %v", err)
	}
}

// The contract of errors.Is is kept where a caller gives up.
func TestYieldCancelled(t *testing.T) {
	h := &host{busy: map[int][]int{}, w: 40}
	f := newFake(t, "xmrig", h)
	f.deaf = true
	c, err := idle.New(t.Context(), config(h, client(t, "xmrig", f.server.URL, "s3cret")))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.Yield(ctx, []int{0}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
