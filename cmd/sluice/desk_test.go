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

// newDesk is a desk of a site with two GPU hosts, a machine without and a virtual
// host, with real books and no executors: jobs wait.
func newDesk(t *testing.T) jobDesk {
	t.Helper()
	hosts := []compute.Host{
		{Name: "a1", Class: "a100", Units: 8, CPUs: 64, MemoryGB: 512, GPUModel: "A100", Real: true, Region: "eu-de", UnitW: 400,
			Isolations: []compute.Isolation{compute.IsolationContainer, compute.IsolationSandbox}, Labels: map[string]string{"iso27001": "yes"}},
		{Name: "a2", Class: "a100", Units: 8, CPUs: 64, MemoryGB: 512, GPUModel: "A100", Real: true, Region: "eu-de", UnitW: 400},
		{Name: "h1", Class: "h100", Units: 8, CPUs: 128, MemoryGB: 1024, GPUModel: "H100", Real: true, UnitW: 700},
		{Name: "cpu", Class: "cpu", Units: 4, CPUs: 4, MemoryGB: 16, Real: true, UnitW: 10, DiskGB: 100},
		{Name: "v1", Class: "virtual", Units: 8, CPUs: 64, GPUModel: "B200"},
	}
	dir := t.TempDir()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	now := func() time.Time { return cliTime }
	jobs := compute.New(compute.Config{Hosts: hosts, Store: db.Jobs(), Dir: dir, Now: now})
	if err := jobs.Recover(t.Context(), cliTime); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(jobs.Close)
	return jobDesk{&running{site: &site.Site{}, jobs: jobs, parts: &parts{
		hosts: hosts, clock: sluice.NewClock(cliTime, 1), options: site.Options{Name: "west", Overhead: 1.1},
		rates: map[string]rate{"a100": {2, 1}, "h100": {4, 3}, "cpu": {0.1, 0.05}, "virtual": {6, 5}},
	}}}
}

func TestDeskPrices(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct{ resources, want string }{
		{"{}", "cpu 0.1"},
		{"{cpus: 3, use_spot: true}", "cpu 0.15"},
		{"{accelerators: A100:4}", "a100 8"},
		{"{accelerators: a100:8, infra: west/eu-de}", "a100 16"},
		{"{accelerators: {A100:8, H100:2}}", "a100 16; h100 8"},
		{"{accelerators: [L4, H100]}", "? no real host of this site has L4; h100 4"},
		{"{accelerators: A100:9}", "a100 18 a2 has 8 units of the 9"},
		{"{accelerators: H100:1, cpus: 500}", "h100 4 h1 has 128 CPUs of the 500"},
		{"{accelerators: H100:1, memory: 2TB}", "h100 4 h1 has 1024 GB of the 2048"},
		{"{disk_size: 1TB}", "cpu 0.1 cpu has 100 GB of disk of the 1024"},
		{"{accelerators: H100, infra: '*/eu-de'}", "h100 4 h1 is not in eu-de"},
		{"{accelerators: B200:2}", "virtual 12 no real host of this site has B200"},
		{"{accelerators: A100, image_id: docker:x}", "a100 2"},
		{"{accelerators: H100, image_id: docker:x}", "h100 4 h1 runs no containers, which image_id needs"},
		{"{accelerators: A100, labels: {sluice/isolation: sandbox, iso27001: 'yes'}}", "a100 2"},
		{"{accelerators: H100, labels: {sluice/isolation: sandbox}}", "h100 4 h1 gives no isolation sandbox"},
		{"{accelerators: H100, labels: {iso27001: 'yes'}}", "h100 4 h1 has no label iso27001: yes"},
		{"{accelerators: A100:8, max_hourly_cost: 10}", "a100 16 it costs 16.00 $/h, and max_hourly_cost is 10.00"},
	} {
		check, err := d.Check(t.Context(), server.Submission{Task: "resources: " + c.resources + "\nrun: x\n", Expect: time.Hour})
		if err != nil {
			t.Errorf("%s: %v", c.resources, err)
			continue
		}
		var got []string
		for _, ch := range check.Choices {
			text := "?"
			if ch.Class != "" {
				text = fmt.Sprintf("%s %.4g", ch.Class, ch.USDPerHour)
			}
			if !ch.Fits {
				text += " " + ch.Why
			}
			if got = append(got, text); ch.USDInAll != ch.USDPerHour {
				t.Errorf("%s: an hour costs %g, an hour in all %g", c.resources, ch.USDPerHour, ch.USDInAll)
			}
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: %q, want %q", c.resources, s, c.want)
		}
	}
	check, err := d.Check(t.Context(), server.Submission{Task: "num_nodes: 3\nresources: {accelerators: A100:8}\nrun: x\n"})
	if err != nil || check.Choices[0].Why != "it needs 3 hosts at once, of which the site has 2" || check.Choices[0].USDPerHour != 48 {
		t.Errorf("%+v, %v", check.Choices, err)
	}
}

func TestDeskTakesTheCheapest(t *testing.T) {
	d := newDesk(t)
	for resources, want := range map[string]string{
		"{accelerators: {H100:1, A100:1}}":                      "a100 [A100 H100]",
		"{accelerators: [H100:1, A100:1]}":                      "h100 [H100 A100]",
		"{accelerators: [L4:1, H100:1]}":                        "h100 []",
		"{ordered: [{accelerators: L4}, {cpus: 1}]}":            "cpu []",
		"{accelerators: {H100:8, A100:8}, max_hourly_cost: 20}": "a100 []",
	} {
		j, err := d.Submit(t.Context(), server.Submission{Task: "resources: " + resources + "\nrun: x\n", Expect: time.Hour})
		if err != nil {
			t.Errorf("%s: %v", resources, err)
			continue
		}
		models := []string{}
		for _, r := range j.Task.Choices {
			models = append(models, r.Accelerator)
		}
		if got := fmt.Sprint(j.Class, " ", models); got != want || j.ExpectSeconds != 3600 {
			t.Errorf("%s: %s, want %s", resources, got, want)
		}
	}
	_, err := d.Submit(t.Context(), server.Submission{Task: "resources: {accelerators: [L4, T4]}\nrun: x\n"})
	if sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "1 × L4: no real host of this site has L4; 1 × T4: no real host") {
		t.Errorf("%v", err)
	}
}

func TestDeskArrays(t *testing.T) {
	d := newDesk(t)
	s := server.Submission{ID: "k", Task: "#!/bin/sh\n#SBATCH -J sweep -a 2-8:3%2 --nice=5\nx\n", File: "s.sh"}
	first, err := d.Submit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Submit(t.Context(), s)
	if err != nil || again.ID != first.ID {
		t.Errorf("a second try gives %s, %v", again.ID, err)
	}
	all := d.r.jobs.Jobs()
	if len(all) != 3 {
		t.Fatalf("%d jobs", len(all))
	}
	for i, want := range []compute.ArrayTask{{Index: 2}, {Index: 5, Of: first.ID}, {Index: 8, Of: first.ID}} {
		want.Count, want.Min, want.Max, want.Step, want.Most = 3, 2, 8, 3, 2
		j := all[i]
		if *j.Task.ArrayTask != want || j.Name != fmt.Sprintf("sweep-%d", want.Index) || j.Task.Array != nil || j.Priority != -5 {
			t.Errorf("job %d: %+v %+v", i, j, j.Task.ArrayTask)
		}
		env := compute.BatchEnviron(j.Task, compute.BatchFacts{JobID: j.ID})
		for _, v := range []string{"SLURM_ARRAY_JOB_ID=1", fmt.Sprintf("SLURM_ARRAY_TASK_ID=%d", want.Index), fmt.Sprintf("SLURM_JOB_ID=%d", i+1)} {
			if !slices.Contains(env, v) {
				t.Errorf("job %d lacks %s: %v", i, v, env)
			}
		}
	}
	after, err := d.Submit(t.Context(), server.Submission{Task: "#!/bin/sh\n#SBATCH -d afterok:1\nx\n"})
	if err != nil || !slices.Equal(after.Task.After[0].Jobs, []string{all[0].ID, all[1].ID, all[2].ID}) {
		t.Errorf("after %+v, %v", after.Task.After, err)
	}
}

func TestDeskFilesAndSecrets(t *testing.T) {
	d := newDesk(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	tgz, err := server.PackWorkdir("", server.Packed{From: filepath.Join(dir, "conf"), To: "etc/conf"})
	if err != nil {
		t.Fatal(err)
	}
	s := server.Submission{Task: "file_mounts: {etc/conf: ./conf}\nsecrets: {KEY: }\nrun: x\n", Secrets: map[string]string{"KEY": "very-secret"}}
	if _, err := d.Submit(t.Context(), s); sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "etc/conf did not travel with the task") {
		t.Errorf("without its files: %v", err)
	}
	s.Workdir = tgz
	j, err := d.Submit(context.Background(), s)
	if err != nil || j.Task.Secrets["KEY"] != "very-secret" || !slices.Equal(j.Task.SecretNames, []string{"KEY"}) {
		t.Fatalf("%+v, %v", j.Task, err)
	}
	s.Secrets = nil
	if _, err := d.Submit(t.Context(), s); sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "KEY has no value") {
		t.Errorf("without its secret: %v", err)
	}
}
