package e2e_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/device/devicetest"
)

// limitedSite is a site of this machine alone, whose power a management controller
// measures and limits, with a job on it that may be slowed down to half.
func limitedSite(t *testing.T, bmc *devicetest.BMC) (args []string, job string) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "sluice.yaml")
	text := fmt.Sprintf(`site: {name: x, mode: control}
nodes:
  - {name: grid, limit: 100kW}
devices:
  - {name: bmc, driver: redfish, address: "%s", tls: "off", user: operator, password: hunter2}
hosts:
  - {name: here, node: grid, driver: local, slots: 4, memory_gb: 4, idle_power: 60W, slot_power: 1kW, meter: bmc, usd_per_slot_hour: 1, spot_usd_per_slot_hour: 1}
feeds:
  - {name: fixed, type: constant, values: {real_time_usd_per_mwh: 30}}
`, net.JoinHostPort(bmc.Address.Host, strconv.Itoa(bmc.Address.WebPort)))
	job = filepath.Join(dir, "job.yaml")
	work := "name: slow\nresources:\n  cpus: 4\n  use_spot: true\n  labels:\n    sluice/power-cap: \"0.5\"\nrun: sleep 1000\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(job, []byte(work), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", config, "--data", filepath.Join(dir, "data"), "--listen", fmt.Sprintf("127.0.0.1:%d", freePort(t))}, job
}

// An order slows a job by its host's own controller instead of stopping it; a kill of
// Sluice changes nothing of that, and after the order what the operator had set stands
// there again.
func TestHostIsLimited(t *testing.T) {
	t.Parallel()
	bmc := devicetest.StartBMC(t, 4060, 5000)
	args, job := limitedSite(t, bmc)
	s := up(t, args...)
	must(t, s.on("job", "submit", job)...)
	running := func(share float64) func() error {
		return func() error {
			js, err := s.jobs()
			if err != nil || len(js) != 1 || js[0].State != "running" || (js[0].PowerShare > 0) != (share > 0) || js[0].Preemptions > 0 {
				return fmt.Errorf("%+v, %v", js, err)
			}
			return nil
		}
	}
	eventually(t, patience, running(0))
	must(t, s.on("curtail", "--limit", "3kW", "--for", "1h", "--id", "noon")...)
	eventually(t, patience, running(0.7))
	limit := bmc.Limit()
	if limit > 3000 || limit < 2060 {
		t.Fatalf("the controller has %v", limit)
	}
	if out := must(t, s.on("machine", "show", "here")...); !strings.Contains(out, "by its own controller") {
		t.Errorf("machine show:\n%s", out)
	}
	s.kill()
	bmc.Reboot()
	s = up(t, args...)
	eventually(t, patience, running(0.7))
	eventually(t, patience, func() error {
		if got := bmc.Limit(); got != limit {
			return fmt.Errorf("the controller that rebooted has %v, not %v", got, limit)
		}
		return nil
	})
	must(t, s.on("curtail", "cancel", "noon")...)
	eventually(t, patience, running(0))
	eventually(t, patience, func() error {
		if got := bmc.Limit(); got != 5000 {
			return fmt.Errorf("the controller has %v", got)
		}
		return nil
	})
	if status := s.stop(t, 20*time.Second); status != 0 {
		t.Fatalf("status %d: %s", status, s.err.String())
	}
}

// Where the controller does nothing, or says no, the job is stopped, and an alarm says
// why; the end of Sluice leaves no limit behind.
func TestHostIsNotLimited(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*devicetest.BMC){
		"ignores": func(b *devicetest.BMC) { b.Ignores = true },
		"refuses": func(b *devicetest.BMC) { b.Refuses = true },
		"loses":   func(b *devicetest.BMC) { b.Loses = true },
	} {
		bmc := devicetest.StartBMC(t, 4060, 0)
		bmc.Do(f)
		args, job := limitedSite(t, bmc)
		s := up(t, args...)
		must(t, s.on("job", "submit", job)...)
		eventually(t, patience, func() error {
			js, err := s.jobs()
			if err != nil || len(js) != 1 || js[0].State != "running" {
				return fmt.Errorf("%+v, %v", js, err)
			}
			return nil
		})
		must(t, s.on("curtail", "--limit", "3kW", "--for", "1h")...)
		eventually(t, patience, func() error {
			js, err := s.jobs()
			if err != nil || js[0].Preemptions != 1 || js[0].PowerShare != 0 {
				return fmt.Errorf("%s: %+v, %v", name, js, err)
			}
			return nil
		})
		if out := must(t, s.on("alarms")...); !strings.Contains(out, "job-cap") {
			t.Errorf("%s: %s", name, out)
		}
		bmc.Do(func(b *devicetest.BMC) { b.Ignores, b.Refuses, b.Loses = false, false, false })
		if status := s.stop(t, 20*time.Second); status != 0 || bmc.Limit() != 0 {
			t.Errorf("%s: status %d, a limit of %v is left: %s", name, status, bmc.Limit(), s.err.String())
		}
	}
}
