package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/device/gpu/gputest"
)

// A host with GPUs joins by an agent: its jobs get their GPUs and no others, their energy
// by the GPUs' own counters, and a power limit instead of a stop, which outlives a kill of
// the agent and is lifted at the end. The host's figures come to the site and into its
// history, and a GPU that breaks keeps new jobs off it.
func TestAgentGPUs(t *testing.T) {
	t.Parallel()
	gpus := []gputest.Fake{gputest.H100(0), gputest.H100(1)}
	for i := range gpus {
		gpus[i].Power, gpus[i].Util = 600_000, 97
	}
	driver := gputest.New(t, gpus...)
	dir := t.TempDir()
	leaveNothing(t, dir)
	config := filepath.Join(dir, "sluice.yaml")
	text := fmt.Sprintf(`site: {name: gpus, mode: control}
nodes:
  - {name: grid, limit: 100kW}
fabric: {listen: "127.0.0.1:%d"}
feeds:
  - {name: fixed, type: constant, values: {real_time_usd_per_mwh: 30}}
hosts:
  - {name: h1, node: grid, driver: agent, gpu: H100, slots: 2, cpus: 8, memory_gb: 16, idle_power: 1kW, slot_power: 700W, usd_per_slot_hour: 3, spot_usd_per_slot_hour: 2}
`, freePort(t))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := up(t, "--config", config, "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0")
	token := s.hostToken(t, "h1")
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte(token.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	join := func() *process {
		return startIn(t, environment(t, "SLUICE_NVML="+driver.Library), "agent", "--join", token.URL, "--token-file", file, "--data", filepath.Join(dir, "h1"))
	}
	agent := join()
	type host struct {
		State   string  `json:"state"`
		Why     string  `json:"why"`
		CPUBusy float64 `json:"cpu_busy"`
		GPUs    []struct {
			UUID   string  `json:"uuid"`
			Model  string  `json:"model"`
			PowerW float64 `json:"power_w"`
			LimitW float64 `json:"limit_w"`
		} `json:"gpu_list"`
	}
	h1 := func() (h host) {
		if err := json.Unmarshal([]byte(must(t, s.on("host", "show", "h1", "--json")...)), &h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	eventually(t, patience, func() error {
		if h := h1(); h.State != "ready" || len(h.GPUs) != 2 || h.GPUs[1].Model != "H100" || h.GPUs[1].PowerW != 600 || h.GPUs[1].LimitW != 700 {
			return fmt.Errorf("%+v", h)
		}
		return nil
	})

	type record struct {
		jobRecord
		EnergyWh  float64 `json:"energy_wh"`
		Estimated bool    `json:"energy_estimated"`
		Share     float64 `json:"power_share"`
		PowerW    float64 `json:"power_w"`
	}
	submit := func(n int, body string) string {
		t.Helper()
		j, err := ask[jobRecord](s.client, http.MethodPost, "/jobs", map[string]any{"task": fmt.Sprintf(
			"name: gpu\nresources: {accelerators: H100:%d, use_spot: true, labels: {sluice/power-cap: \"0.5\", sluice/notice: 1s}}\nrun: |\n  %s\n", n, strings.ReplaceAll(body, "\n", "\n  "))})
		if err != nil {
			t.Fatal(err)
		}
		return j.ID
	}
	shows := func(id string, ok func(record) bool) record {
		t.Helper()
		var r record
		eventually(t, 2*patience, func() error {
			var err error
			if r, err = ask[record](s.client, http.MethodGet, "/jobs/"+id, nil); err == nil && !ok(r) {
				err = fmt.Errorf("%+v", r)
			}
			return err
		})
		return r
	}
	first := submit(1, `echo "sees <$CUDA_VISIBLE_DEVICES>"; while [ ! -e go ]; do sleep 0.05; done`)
	shows(first, func(r record) bool { return r.State == "running" && r.PowerW == 600 })
	second := submit(1, `echo "sees <$CUDA_VISIBLE_DEVICES>"`)
	shows(second, func(r record) bool { return r.State == "succeeded" })
	saw := map[string]bool{}
	for _, id := range []string{first, second} {
		eventually(t, patience, func() error {
			log := must(t, s.on("job", "logs", id)...)
			for _, g := range gpus {
				if strings.Contains(log, "sees <"+g.UUID+">") {
					saw[g.UUID] = true
					return nil
				}
			}
			return fmt.Errorf("%s", log)
		})
	}
	if len(saw) != 2 {
		t.Errorf("two jobs at once saw %v", saw)
	}

	// 3.6 kJ are 1 Wh.
	for i := range gpus {
		gpus[i].Energy += 3_600_000
	}
	driver.Set(gpus)
	shows(first, func(r record) bool { return r.EnergyWh > 0.999 && r.EnergyWh < 1.001 && !r.Estimated })

	// Idle 1 kW and a job of 700 W do not fit; limited to 60 % of its power it does.
	order, err := ask[curtailment](s.client, http.MethodPost, "/curtailments", map[string]any{"limit_kw": 1.5, "for_s": 3600, "by": "test", "why": "test"})
	if err != nil {
		t.Fatal(err)
	}
	capped := shows(first, func(r record) bool { return r.Share > 0 && r.Share < 1 })
	if capped.State != "running" || capped.Preemptions != 0 {
		t.Errorf("%+v", capped)
	}
	limited := func() (n int) {
		for i := range gpus {
			if l := driver.Limit(i); l >= 350_000 && l < 700_000 {
				n++
			}
		}
		return n
	}
	if limited() != 1 {
		t.Errorf("limits %d and %d mW", driver.Limit(0), driver.Limit(1))
	}
	agent.kill()
	join()
	eventually(t, patience, func() error {
		if h := h1(); h.State != "ready" {
			return fmt.Errorf("%+v", h)
		}
		return nil
	})
	if limited() != 1 {
		t.Errorf("after a restart of the agent: limits %d and %d mW", driver.Limit(0), driver.Limit(1))
	}
	if _, err := ask[curtailment](s.client, http.MethodDelete, "/curtailments/"+order.ID, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*patience, func() error {
		if limited() != 0 {
			return fmt.Errorf("limits %d and %d mW", driver.Limit(0), driver.Limit(1))
		}
		return nil
	})
	eventually(t, patience, func() error {
		res, err := http.Get(s.base + "/prometheus/api/v1/query?query=sluice_gpu_power_watts")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || strings.Count(string(b), `"host":"h1"`) != 2 || strings.Count(string(b), `"600"`) != 2 {
			return fmt.Errorf("%s, %v", b, err)
		}
		return nil
	})

	driver.Xid(1, 79)
	eventually(t, patience, func() error {
		if h := h1(); h.State != "fault" || !strings.Contains(h.Why, "fallen off the bus") {
			return fmt.Errorf("%+v", h)
		}
		return nil
	})
	third := submit(1, "true")
	shows(third, func(r record) bool { return r.State == "queued" })
}

// An agent whose machine has not the GPUs that the configuration says gets no jobs, and
// the site says what is there.
func TestAgentGPUsDiffer(t *testing.T) {
	t.Parallel()
	driver := gputest.New(t, gputest.H100(0))
	dir := t.TempDir()
	leaveNothing(t, dir)
	config := filepath.Join(dir, "sluice.yaml")
	text := fmt.Sprintf(`site: {name: gpus, mode: control}
nodes:
  - {name: grid, limit: 100kW}
fabric: {listen: "127.0.0.1:%d"}
feeds:
  - {name: fixed, type: constant, values: {real_time_usd_per_mwh: 30}}
hosts:
  - {name: few, node: grid, driver: agent, gpu: H100, slots: 8, usd_per_slot_hour: 3}
  - {name: other, node: grid, driver: agent, gpu: H200, slots: 1, usd_per_slot_hour: 3}
  - {name: none, node: grid, driver: agent, gpu: H100, slots: 1, usd_per_slot_hour: 3}
`, freePort(t))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := up(t, "--config", config, "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0")
	for name, more := range map[string][]string{"few": nil, "other": nil, "none": {"--gpus", "none"}} {
		token := s.hostToken(t, name)
		startIn(t, environment(t, "SLUICE_NVML="+driver.Library, "SLUICE_TOKEN="+token.Token),
			append([]string{"agent", "--join", token.URL, "--data", filepath.Join(dir, name)}, more...)...)
	}
	for name, want := range map[string]string{"few": "has 1 GPUs for jobs, the configuration says 8", "other": "model H100, the configuration says H200", "none": "has no GPUs for jobs"} {
		eventually(t, patience, func() error {
			if out := must(t, s.on("host", "show", name)...); !strings.Contains(out, "fault: ") || !strings.Contains(out, want) {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
	}
}

// An agent's idle GPUs mine where its own configuration says what and the site says that
// there is power to spare, at a price that pays: not under an order, not without the site,
// and never beside a job.
func TestAgentIdleMining(t *testing.T) {
	t.Parallel()
	driver := gputest.New(t, gputest.H100(0))
	dir := t.TempDir()
	leaveNothing(t, dir)
	config := filepath.Join(dir, "sluice.yaml")
	text := fmt.Sprintf(`site: {name: gpus, mode: control}
nodes:
  - {name: grid, limit: 100kW}
fabric: {listen: "127.0.0.1:%d"}
feeds:
  - {name: fixed, type: constant, values: {real_time_usd_per_mwh: 20}}
hosts:
  - {name: h1, node: grid, driver: agent, gpu: H100, slots: 1, idle_power: 1kW, slot_power: 700W, usd_per_slot_hour: 3}
`, freePort(t))
	pid := filepath.Join(dir, "miner")
	own := filepath.Join(dir, "agent.yaml")
	mining := fmt.Sprintf(`idle_mining:
  driver: lolminer
  url: http://127.0.0.1:1
  command: [sh, -c, "echo $$ $CUDA_VISIBLE_DEVICES >%s; exec sleep 600"]
  algorithm: kawpow
  hashrate_mhs: 100
  power: 380W
  usd_per_mh_day: 0.05
  as_of: %s
  min_on: 0s
  min_off: 0s
`, pid, time.Now().UTC().Format(time.DateOnly))
	for file, text := range map[string]string{config: text, own: mining, own + ".bad": strings.Replace(mining, "power: 380W", "powr: 380W", 1)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site := func() *server {
		return up(t, "--config", config, "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0")
	}
	s := site()
	token := s.hostToken(t, "h1")
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte(token.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"agent", "--join", token.URL, "--token-file", file, "--data", filepath.Join(dir, "h1"), "--config"}
	if r := run(t, append(args, own+".bad")...); r.status != 2 || !strings.Contains(r.err, "agent.yaml.bad:7:3") || !strings.Contains(r.err, `did you mean "power"`) {
		t.Errorf("status %d: %s", r.status, r.err)
	}
	agent := startIn(t, environment(t, "SLUICE_NVML="+driver.Library), append(args, own)...)
	lives := func() bool {
		b, err := os.ReadFile(pid)
		f := strings.Fields(string(b))
		if err != nil || len(f) != 2 || f[1] != gputest.H100(0).UUID {
			return false
		}
		stat, err := os.ReadFile("/proc/" + f[0] + "/stat")
		return err == nil && !strings.Contains(string(stat), ") Z")
	}
	mines := func(want bool, when string) {
		t.Helper()
		eventually(t, patience, func() error {
			if lives() != want {
				return fmt.Errorf("%s: it mines: %v", when, !want)
			}
			return nil
		})
	}
	mines(true, "with power to spare")
	order, err := ask[curtailment](s.client, http.MethodPost, "/curtailments", map[string]any{"limit_kw": 50, "for_s": 3600, "by": "test", "why": "test"})
	if err != nil {
		t.Fatal(err)
	}
	mines(false, "under an order")
	if _, err := ask[curtailment](s.client, http.MethodDelete, "/curtailments/"+order.ID, nil); err != nil {
		t.Fatal(err)
	}
	mines(true, "after it")
	s.kill()
	mines(false, "without the site")
	s = site()
	mines(true, "with the site again")
	j, err := ask[jobRecord](s.client, http.MethodPost, "/jobs", map[string]any{"task": fmt.Sprintf(`name: gpu
resources: {accelerators: H100:1}
run: |
  read -r miner _ <%s
  if kill -0 "$miner" 2>/dev/null && ! grep -q ') Z' /proc/$miner/stat; then echo "the miner lives"; fi
  echo "it sees <$CUDA_VISIBLE_DEVICES>"
`, pid)})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() error {
		log := must(t, s.on("job", "logs", j.ID)...)
		if !strings.Contains(log, "it sees <"+gputest.H100(0).UUID+">") || strings.Contains(log, "the miner lives") {
			return fmt.Errorf("%s", log)
		}
		return nil
	})
	if status := agent.stop(t, patience); status != 0 || lives() {
		t.Errorf("the agent ends with %d, it mines: %v", status, lives())
	}
}
