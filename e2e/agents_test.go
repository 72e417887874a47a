package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Three agents on three loopback addresses are three hosts: a gang runs on all of them
// at once, its nodes know each other, and what they wrote comes home. When one host is
// gone, with all that ran on it, the gang stops, and goes on from its checkpoint when
// the host is back.
func TestGangOverAgents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	leaveNothing(t, dir)
	config := filepath.Join(dir, "sluice.yaml")
	var text strings.Builder
	fmt.Fprintf(&text, `site: {name: many, mode: control}
nodes:
  - {name: grid, limit: 1MW}
fabric: {listen: "127.0.0.1:%d"}
feeds:
  - {name: fixed, type: constant, values: {real_time_usd_per_mwh: 30}}
hosts:
`, freePort(t))
	for i := 1; i <= 3; i++ {
		fmt.Fprintf(&text, "  - {name: h%d, class: cpu, node: grid, driver: agent, address: 127.0.0.%d, slots: 1, memory_gb: 2, usd_per_slot_hour: 1, spot_usd_per_slot_hour: 0.5}\n", i, i+1)
	}
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s := up(t, "--config", config, "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0")
	agents := map[string]*process{}
	join := func(name string) {
		t.Helper()
		file := filepath.Join(dir, name+".token")
		if _, err := os.Stat(file); err != nil {
			token := s.hostToken(t, name)
			if err := os.WriteFile(file, []byte(token.Token), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file+".url", []byte(token.URL), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		url, err := os.ReadFile(file + ".url")
		if err != nil {
			t.Fatal(err)
		}
		agents[name] = start(t, "agent", "--join", string(url), "--token-file", file, "--data", filepath.Join(dir, name))
	}
	for i := 1; i <= 3; i++ {
		join(fmt.Sprint("h", i))
	}
	ready := func(want int) error {
		var list []struct{ Name, State string }
		if err := json.Unmarshal([]byte(must(t, s.on("host", "list", "--json")...)), &list); err != nil {
			return err
		}
		n := 0
		for _, h := range list {
			if h.State == "ready" {
				n++
			}
		}
		if n != want {
			return fmt.Errorf("%d hosts are ready: %+v", n, list)
		}
		return nil
	}
	eventually(t, patience, func() error { return ready(3) })

	submit := func(run string) jobRecord {
		t.Helper()
		j, err := ask[jobRecord](s.client, http.MethodPost, "/jobs", map[string]any{
			"task": "name: gang\nnum_nodes: 3\nresources: {cpus: 1, use_spot: true}\nrun: |\n  " + strings.ReplaceAll(run, "\n", "\n  ") + "\n",
		})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	becomes := func(id, state string, more func(jobRecord) bool) {
		t.Helper()
		eventually(t, 2*patience, func() error {
			j, err := s.job(id)
			if err != nil {
				return err
			}
			if j.State != state || more != nil && !more(j) {
				return fmt.Errorf("%s is %s after %d runs: %s\n%s\n%s", id, j.State, j.Runs, j.Why, must(t, s.on("job", "show", id)...), must(t, s.on("host", "list")...))
			}
			return nil
		})
	}
	first := submit(`echo "$SKYPILOT_NODE_RANK $(echo $SKYPILOT_NODE_IPS)" > "$SLUICE_CHECKPOINT_DIR/rank-$SKYPILOT_NODE_RANK"; echo hello from $SKYPILOT_NODE_RANK`)
	becomes(first.ID, "succeeded", nil)
	to := filepath.Join(dir, "got")
	must(t, s.on("job", "download", first.ID, "--what", "all", "--to", to)...)
	var ips []string
	for rank := range 3 {
		b, err := os.ReadFile(filepath.Join(to, "checkpoint", fmt.Sprint("rank-", rank)))
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(b))
		if len(f) != 4 || f[0] != fmt.Sprint(rank) {
			t.Fatalf("node %d wrote %q", rank, b)
		}
		ips = append(ips, f[1+rank])
		if log := must(t, s.on("job", "logs", first.ID)...); !strings.Contains(log, fmt.Sprint("hello from ", rank)) {
			t.Errorf("no word of node %d in the log:\n%s", rank, log)
		}
	}
	slices.Sort(ips)
	if !slices.Equal(ips, []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}) {
		t.Errorf("addresses %v", ips)
	}

	// The first runs wait for ever, the next ones find what they left and are done.
	lost := submit(`me="$SLUICE_CHECKPOINT_DIR/seen-$SKYPILOT_NODE_RANK"
if [ -e "$me" ]; then exit 0; fi
echo x > "$me"; curl -s --unix-socket "$SLUICE_CONTROL" -X POST http://sluice/checkpoint
sleep 1000`)
	becomes(lost.ID, "running", nil)
	eventually(t, patience, func() error {
		for rank := range 3 {
			if _, err := os.Stat(filepath.Join(dir, "data", "jobs", lost.ID, "checkpoint", fmt.Sprint("seen-", rank))); err != nil {
				return err
			}
		}
		return nil
	})
	agents["h2"].kill()
	// The machine is gone with all that it ran, its guard too.
	for _, p := range processesIn(t, filepath.Join(dir, "h2")) {
		if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
	}
	eventually(t, patience, func() error { return ready(2) })
	must(t, s.on("host", "lost", "h2", "--yes")...)
	becomes(lost.ID, "queued", func(j jobRecord) bool { return j.Runs == 1 })
	join("h2")
	becomes(lost.ID, "succeeded", func(j jobRecord) bool { return j.Runs == 2 })
}

// hostToken is a token with which a host joins, and where.
type hostToken struct{ Token, URL string }

func (s *server) hostToken(t *testing.T, host string) (token hostToken) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, s.on("host", "token", host, "--json")...)), &token); err != nil || token.Token == "" || token.URL == "" {
		t.Fatalf("%+v, %v", token, err)
	}
	return token
}

// leaveNothing ends at the end of the test what still runs in the folder: an agent that is
// killed leaves its runs, and its guard, which writes there for a while.
func leaveNothing(t *testing.T, dir string) {
	t.Helper()
	t.Cleanup(func() {
		eventually(t, patience, func() error {
			for _, p := range processesIn(t, dir) {
				_ = p.Kill()
				return fmt.Errorf("process %d is there", p.Pid)
			}
			return nil
		})
	})
}

// processesIn finds the processes whose arguments or working folder lie in a folder.
func processesIn(t *testing.T, dir string) []*os.Process {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []*os.Process
	for _, f := range files {
		b, err := os.ReadFile(f)
		cwd, _ := os.Readlink(filepath.Join(filepath.Dir(f), "cwd"))
		if err != nil || !strings.Contains(string(b), dir) && !strings.HasPrefix(cwd, dir) {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(filepath.Base(filepath.Dir(f)), &pid); err != nil || pid == os.Getpid() {
			continue
		}
		if p, err := os.FindProcess(pid); err == nil {
			out = append(out, p)
		}
	}
	return out
}
