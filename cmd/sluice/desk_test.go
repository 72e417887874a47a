package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/server"
	"sluice/site"
	"sluice/store"
)

// newDesk is a desk of a site with two GPU classes, a machine without and a virtual
// host, with real books and no executors: jobs wait.
func newDesk(t *testing.T) (jobDesk, context.Context) {
	t.Helper()
	hosts := []compute.Host{
		{
			Name: "a1", Class: "a100", Executor: "docker", Units: 8, CPUs: 64, MemoryGB: 512, GPUModel: "A100", Real: true, Region: "eu-de", UnitW: 400,
			Isolations: []compute.Isolation{compute.IsolationContainer, compute.IsolationSandbox}, Labels: map[string]string{"iso27001": "yes"},
		},
		{Name: "h1", Class: "h100", Executor: "process", Units: 8, CPUs: 128, MemoryGB: 1024, GPUModel: "H100", Real: true, UnitW: 700},
		{Name: "cpu", Class: "cpu", Executor: "process", Units: 4, CPUs: 4, MemoryGB: 16, Real: true, UnitW: 10, DiskGB: 100},
		{Name: "v1", Class: "virtual", Executor: "virtual", Units: 8, CPUs: 64, GPUModel: "B200"},
	}
	dir := t.TempDir()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	p := &parts{
		hostReadings: newHostReadings(),
		hosts:        hosts, clock: sluice.NewClock(cliTime, 1), options: site.Options{Name: "west", Overhead: 1.1},
		rates: map[string]rate{"a100": {2, 1}, "h100": {4, 3}, "cpu": {0.1, 0.05}, "virtual": {6, 5}},
	}
	jobs := compute.New(compute.Config{Hosts: hosts, Store: db.Jobs(), Dir: dir, Now: p.clock.Now, Price: p.rateOf})
	if err := jobs.Recover(t.Context(), cliTime); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(jobs.Close)
	return jobDesk{&running{site: &site.Site{}, jobs: jobs, parts: p}}, server.WithCaller(t.Context(), server.Caller{Operator: true})
}

func TestDeskPrices(t *testing.T) {
	d, ctx := newDesk(t)
	for _, c := range []struct{ resources, want, why string }{
		{"{}", "cpu 0.1", ""},
		{"{cpus: 3, use_spot: true}", "cpu 0.15", ""},
		{"{accelerators: A100:4}", "a100 8", ""},
		{"{accelerators: a100:8, infra: west/eu-de}", "a100 16", ""},
		{"{accelerators: {A100:8, H100:2}}", "a100 16; h100 8", ""},
		{"{accelerators: [L4, H100]}", "? -; h100 4", "no host here has L4"},
		{"{accelerators: A100:9}", "? -", "it asks for 9 units"},
		{"{accelerators: H100:1, memory: 2TB}", "? -", "2048 GB"},
		{"{accelerators: H100, infra: '*/eu-de'}", "? -", "its region is not attested, the task wants eu-de"},
		{"{accelerators: B200:2}", "virtual 12 -", "it is virtual"},
		{"{accelerators: A100, image_id: docker:x}", "a100 2", ""},
		{"{accelerators: A100, labels: {sluice/isolation: sandbox, iso27001: 'yes'}}", "a100 2", ""},
		{"{accelerators: H100, labels: {iso27001: 'yes'}}", "? -", "it is not attested iso27001=yes"},
		{"{accelerators: A100:8, max_hourly_cost: 10}", "a100 16 -", "it costs 16.00 $/h, and max_hourly_cost is 10.00"},
	} {
		check, err := d.Check(ctx, server.Submission{Task: "resources: " + c.resources + "\nrun: x\n", Expect: time.Hour})
		if err != nil {
			t.Errorf("%s: %v", c.resources, err)
			continue
		}
		var got []string
		why := ""
		for _, ch := range check.Choices {
			text := "?"
			if ch.Class != "" {
				text = fmt.Sprintf("%s %.4g", ch.Class, ch.USDPerHour)
			}
			if !ch.Fits {
				text, why = text+" -", why+ch.Why
			}
			if got = append(got, text); ch.USDInAll != ch.USDPerHour {
				t.Errorf("%s: an hour costs %g, an hour in all %g", c.resources, ch.USDPerHour, ch.USDInAll)
			}
		}
		if s := strings.Join(got, "; "); s != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: %q, want %q; %q, want %q", c.resources, s, c.want, why, c.why)
		}
	}
}

// The price that a file sets as its limit is kept, however little room the cheaper
// choices have.
func TestDeskKeepsToTheLimit(t *testing.T) {
	d, ctx := newDesk(t)
	j, err := d.Submit(ctx, server.Submission{Task: "resources: {accelerators: {H100:8, A100:8}, max_hourly_cost: 20}\nrun: x\n"})
	if err != nil || j.Class != "a100" {
		t.Errorf("%+v %+v, %v", j, j.Task, err)
	}
	_, err = d.Submit(ctx, server.Submission{Task: "resources: {accelerators: [L4, T4]}\nrun: x\n"})
	if sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "1 × L4: no host here has L4") || !strings.Contains(err.Error(), "; 1 × T4: no host") {
		t.Errorf("%v", err)
	}
}

func TestDeskArrays(t *testing.T) {
	d, ctx := newDesk(t)
	s := server.Submission{ID: "k", Task: "#!/bin/sh\n#SBATCH -J sweep -a 2-8:3%2 --nice=5\nx\n", File: "s.sh"}
	first, err := d.Submit(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Submit(ctx, s)
	if err != nil || again.ID != first.ID {
		t.Errorf("a second try gives %s, %v", again.ID, err)
	}
	all := d.r.jobs.Jobs()
	if len(all) != 3 {
		t.Fatalf("%d jobs", len(all))
	}
	for i, j := range all {
		index := 2 + 3*i
		if j.Name != fmt.Sprintf("sweep-%d", index) || j.Priority != -5 {
			t.Errorf("job %d: %+v", i, j)
		}
		env := compute.BatchEnviron(j.Task, compute.BatchFacts{JobID: j.ID})
		for _, v := range []string{"SLURM_ARRAY_JOB_ID=1", fmt.Sprintf("SLURM_ARRAY_TASK_ID=%d", index), fmt.Sprintf("SLURM_JOB_ID=%d", i+1), "SLURM_ARRAY_TASK_STEP=3"} {
			if !slices.Contains(env, v) {
				t.Errorf("job %d lacks %s: %v", i, v, env)
			}
		}
	}
}

func TestDeskFilesAndSecrets(t *testing.T) {
	d, ctx := newDesk(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	tgz, err := server.PackWorkdir("", server.Packed{From: filepath.Join(dir, "conf"), To: "etc/conf"})
	if err != nil {
		t.Fatal(err)
	}
	s := server.Submission{Task: "file_mounts: {etc/conf: ./conf}\nsecrets: {KEY: }\nrun: x\n", Secrets: map[string]string{"KEY": "very-secret"}}
	if _, err := d.Submit(ctx, s); sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "etc/conf did not travel with the task") {
		t.Errorf("without its files: %v", err)
	}
	s.Workdir, s.Secrets = tgz, nil
	if _, err := d.Submit(ctx, s); sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "KEY has no value") {
		t.Errorf("without its secret: %v", err)
	}
	s.Task = "file_mounts: {etc/conf: ./conf}\nrun: x\n"
	if _, err := d.Submit(ctx, s); err != nil {
		t.Errorf("with all of it: %v", err)
	}
}
