package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// gpuJob keeps a GPU busy for some ten seconds in steps, goes on from its checkpoint and
// saves one when it is told to end. It says what it sees.
const gpuJob = `name: busy
resources: {accelerators: "MODEL:1", use_spot: true, labels: {sluice/notice: 15s}}
run: |
  echo "sees <$CUDA_VISIBLE_DEVICES>"
  exec python3 - <<P
  import os, signal, sys, time, torch
  file = os.environ["SLUICE_CHECKPOINT_DIR"] + "/step"
  told = []
  signal.signal(signal.SIGTERM, lambda *a: told.append(1))
  first = int(open(file).read()) if os.path.exists(file) else 0
  w = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
  print("counts", torch.cuda.device_count(), "from", first, flush=True)
  step, begin = first, time.time()
  while step < 200 and not told:
      for _ in range(50): y = w @ w
      torch.cuda.synchronize(); step += 1
  open(file + "~", "w").write(str(step)); os.replace(file + "~", file)
  print("to", step, "at", round(2 * 8192**3 * 50 * (step - first) / (time.time() - begin) / 1e12), "TFLOP/s", flush=True)
  sys.exit(143 if told else 0)
  P
`

// For a machine with a GPU that nobody uses, and PyTorch (scripts/test-gpu runs it): a real
// job on this machine, and on one that joined by an agent, gets its GPU, is stopped with
// notice and goes on, also over a kill of whoever runs it, and its energy is what the GPU's
// counter says. Nothing is changed on the GPU.
func TestRealGPUJob(t *testing.T) {
	if os.Getenv("SLUICE_TEST_GPU") == "" {
		t.Skip("SLUICE_TEST_GPU is not set: this is for a machine with GPUs")
	}
	for _, by := range []string{"local", "agent"} {
		t.Run(by, func(t *testing.T) { realGPUJob(t, by) })
	}
}

type gpuSeen struct {
	UUID     string  `json:"uuid"`
	Model    string  `json:"model"`
	PowerW   float64 `json:"power_w"`
	EnergyWh float64 `json:"energy_wh"`
}

func firstGPU(t *testing.T) gpuSeen {
	t.Helper()
	var l struct {
		GPUs []gpuSeen `json:"gpus"`
	}
	if err := json.Unmarshal([]byte(must(t, "gpu", "list", "--json")), &l); err != nil || len(l.GPUs) == 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	return l.GPUs[0]
}

func realGPUJob(t *testing.T, by string) {
	before := firstGPU(t)
	dir := t.TempDir()
	leaveNothing(t, dir)
	config := filepath.Join(dir, "sluice.yaml")
	host := "gpus: auto"
	if by == "agent" {
		host = fmt.Sprintf("gpu: %s, slots: 1", before.Model)
	}
	text := fmt.Sprintf(`site: {name: gpu, mode: control}
nodes: [{name: grid, limit: 1MW}]
fabric: {listen: "127.0.0.1:%d"}
hosts:
  - {name: h, node: grid, driver: %s, %s, idle_power: 300W, slot_power: 700W, usd_per_slot_hour: 3, spot_usd_per_slot_hour: 2}
feeds:
  - {name: fixed, type: constant, values: {real_time_usd_per_mwh: 30}}
`, freePort(t), by, host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	site := func() *server {
		return up(t, "--config", config, "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0")
	}
	s := site()
	kill := func() { s.kill(); s = site() }
	if by == "agent" {
		token := s.hostToken(t, "h")
		join := func() *process {
			return startIn(t, environment(t, "SLUICE_TOKEN="+token.Token), "agent", "--join", token.URL, "--data", filepath.Join(dir, "h"))
		}
		agent := join()
		kill = func() { agent.kill(); agent = join() }
		eventually(t, patience, func() error {
			if out := must(t, s.on("host", "show", "h")...); !strings.Contains(out, "ready") || !strings.Contains(out, before.UUID) {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
	}
	type record struct {
		jobRecord
		EnergyWh  float64 `json:"energy_wh"`
		Estimated bool    `json:"energy_estimated"`
		PowerW    float64 `json:"power_w"`
	}
	var got record
	becomes := func(id string, ok func(record) bool) record {
		t.Helper()
		eventually(t, 2*patience, func() (err error) {
			if got, err = ask[record](s.client, http.MethodGet, "/jobs/"+id, nil); err == nil && !ok(got) {
				err = fmt.Errorf("%+v\n%s", got, must(t, s.on("job", "logs", id)...))
			}
			return err
		})
		return got
	}
	begin := time.Now()
	j, err := ask[jobRecord](s.client, http.MethodPost, "/jobs", map[string]any{"task": strings.ReplaceAll(gpuJob, "MODEL", before.Model)})
	if err != nil {
		t.Fatal(err)
	}
	becomes(j.ID, func(r record) bool { return r.State == "running" })
	t.Logf("running after %v", time.Since(begin).Round(time.Millisecond))
	busy := becomes(j.ID, func(r record) bool { return r.PowerW > 300 })
	t.Logf("draws %.0f W after %v", busy.PowerW, time.Since(begin).Round(100*time.Millisecond))
	computes := func() bool { return strings.Contains(must(t, s.on("job", "logs", j.ID)...), "counts 1 from 0") }
	becomes(j.ID, func(record) bool { return computes() })
	kill()
	becomes(j.ID, func(r record) bool { return r.State == "running" && r.PowerW > 300 && computes() })
	order, err := ask[curtailment](s.client, http.MethodPost, "/curtailments", map[string]any{"limit_kw": 0.5, "for_s": 600, "by": "test", "why": "test"})
	if err != nil {
		t.Fatal(err)
	}
	becomes(j.ID, func(r record) bool { return r.State == "queued" && r.Preemptions == 1 })
	if _, err := ask[curtailment](s.client, http.MethodDelete, "/curtailments/"+order.ID, nil); err != nil {
		t.Fatal(err)
	}
	done := becomes(j.ID, func(r record) bool { return r.State == "succeeded" })
	after := firstGPU(t)
	log := must(t, s.on("job", "logs", j.ID)...)
	t.Logf("%s", log)
	if strings.Count(log, "sees <"+before.UUID+">") != 2 || strings.Count(log, "counts 1 from") != 2 || strings.Count(log, "from 0") != 1 || done.Runs != 2 {
		t.Errorf("it did not run twice on its GPU alone, the second time from its checkpoint: %+v", done)
	}
	// The GPU's own counter ran on before the job, between its runs and after it.
	drew := after.EnergyWh - before.EnergyWh
	idle := before.PowerW * (time.Since(begin).Seconds() - done.RunSeconds) / 3600
	t.Logf("the job used %.3f Wh in %.1f s; the GPU drew %.3f Wh, of which some %.3f before and after it", done.EnergyWh, done.RunSeconds, drew, idle)
	if done.Estimated || done.EnergyWh > drew || done.EnergyWh < 0.8*(drew-idle) {
		t.Errorf("its energy is not what the GPU's counter says: %+v", done)
	}
}
