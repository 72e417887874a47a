package docker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/compute"
	"sluice/compute/agent"
	"sluice/compute/docker"
	"sluice/compute/remote"
	"sluice/fabric"
	"sluice/store"
)

// joins is what an agent is told.
type joins struct {
	Dir, URL, Token string
	Config          docker.Config
}

func readJoins(file string) (j joins, ways []agent.Executor, err error) {
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &j)
	}
	var x *docker.Executor
	if err == nil {
		x, err = docker.New(j.Config)
	}
	return j, []agent.Executor{{Name: "docker", Run: x, Isolations: []compute.Isolation{compute.IsolationContainer}}}, err
}

// agentProcess is an agent that a test kills.
func agentProcess(file string) int {
	err := func() error {
		j, ways, err := readJoins(file)
		if err != nil {
			return err
		}
		tok, err := fabric.ParseToken(j.Token)
		if err != nil {
			return err
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		a, err := agent.New(agent.Config{
			Dir: j.Dir, Link: fabric.LinkConfig{URL: j.URL, Token: tok}, Executors: ways, Facts: agent.HostFacts(tok.Host, "test", j.Dir),
			Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Guard: []string{self, "guard", file},
		})
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		return a.Run(ctx)
	}()
	fmt.Fprintln(os.Stderr, "agent:", err)
	return 1
}

func guardProcess(file, dir string) int {
	_, ways, err := readJoins(file)
	if err == nil {
		err = agent.Guard(context.Background(), dir, ways)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		return 1
	}
	return 0
}

// Containers of a host that has joined: what they print and save comes home, also
// over the agent's death; a stop has its notice, and the next run goes on from there.
func TestAgent(t *testing.T) {
	t.Parallel()
	p := service(t, "runc")
	host := hostAddress(t)
	dir := t.TempDir()
	db, err := store.Open(t.Context(), filepath.Join(dir, "site"), store.Options{Site: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	hub, err := fabric.NewHub(t.Context(), fabric.Config{
		Dir: filepath.Join(dir, "site", "fabric"), Listen: "127.0.0.1:0", Hosts: []string{"h1"}, Tokens: db.Fabric(), Journal: db.Fabric(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	tok, err := hub.Token(t.Context(), "h1", time.Now().Add(time.Hour), "test")
	if err != nil {
		t.Fatal(err)
	}
	x := remote.New(hub, remote.Config{})
	t.Cleanup(x.Close)
	there := joins{filepath.Join(dir, "h1"), hub.Address(), tok.Text(), config(p)}
	t.Cleanup(func() {
		until(t, "the guard ends", func() bool {
			f, err := os.OpenFile(filepath.Join(there.Dir, "guard.lock"), os.O_RDWR, 0)
			if err != nil {
				return os.IsNotExist(err)
			}
			defer f.Close()
			return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
		})
	})
	_, kill := otherThat(t, "agent", there)
	until(t, "the host answers", func() bool { ok, _ := hub.Reach("h1"); return ok })

	address := "192.0.2.9:9"
	if host != "" {
		address = fmt.Sprintf("%s:%d", host, serveText(t, host+":0", "the host"))
	}
	s := spec(t, filepath.Join(dir, "site", "jobs"), "")
	s.Host, s.Nodes, s.Egress = "h1", 1, compute.EgressInternet
	s.Env = append(s.Env, "SLUICE_CHECKPOINT_DIR="+s.CheckpointDir)
	s.Secrets = []string{"TOKEN=of mine"}
	s.Task.Setup = "echo setup >> setups"
	s.Task.Run = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 " + strings.ReplaceAll(address, ":", " ") + "; echo \"status $?\"" + `
printf %s "$TOKEN" > token
trap 'echo saved > "$SLUICE_CHECKPOINT_DIR/last"; exit 0' TERM
cat "$SLUICE_CHECKPOINT_DIR/last"; echo one > "$SLUICE_CHECKPOINT_DIR/first"
i=0; while :; do echo "line $i"; i=$((i+1)); sleep 0.02; done`
	h, err := x.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	has := func(n int) bool { return strings.Contains(logOf(s), fmt.Sprintf("line %d\n", n)) }
	saved := func(name string) string {
		b, _ := os.ReadFile(filepath.Join(s.CheckpointDir, name))
		return string(b)
	}
	until(t, "its output and its checkpoint come home", func() bool { return has(20) && saved("first") == "one\n" })
	for _, n := range []int{100, 300} {
		kill()
		until(t, "the site finds that it is gone", func() bool { ok, _ := hub.Reach("h1"); return !ok })
		_, kill = otherThat(t, "agent", there)
		until(t, "it goes on under the next", func() bool { return has(n) })
	}
	if err := x.Stop(t.Context(), h, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	e, err := x.Wait(t.Context(), h)
	if err != nil || !e.Stopped || e.Lost || e.Code != 0 || e.Used.Seconds < 1 || e.Used.MemPeak == 0 {
		t.Errorf("exit %+v, %v", e, err)
	}
	i := 0
	for line := range strings.Lines(logOf(s)) {
		if strings.HasPrefix(line, "line ") {
			if line != fmt.Sprintf("line %d\n", i) {
				t.Fatalf("%q where line %d should be", line, i)
			}
			i++
		}
	}
	if saved("last") != "saved\n" || text(s, "token") != "of mine" {
		t.Errorf("saved %q, its secret was %q", saved("last"), text(s, "token"))
	}
	if log := logOf(s); strings.Contains(log, "the host") || !strings.Contains(log, "\nstatus 1\n") {
		t.Errorf("it reaches its host:\n%.500s", log)
	}

	s.RunID, s.Dir = s.JobID+"-r2", filepath.Join(filepath.Dir(s.Dir), s.JobID+"-r2")
	s.Task.Run = `cat "$SLUICE_CHECKPOINT_DIR/last"; cat setups; exit 3`
	if h, err = x.Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if e, err = x.Wait(t.Context(), h); err != nil || e.Code != 3 || e.Stopped || !strings.Contains(logOf(s), "\nsaved\nsetup\n[sluice]") {
		t.Errorf("exit %+v, %v\n%s", e, err, logOf(s))
	}
	names, err := p.containers()
	if err != nil || strings.Contains(strings.Join(names, " "), s.JobID) {
		t.Errorf("left: %v, %v", names, err)
	}
	kill()
}
