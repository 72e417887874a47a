package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/compute"
	"sluice/server"
)

func TestJobCheck(t *testing.T) {
	c := newCLI(t, "")
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string) string {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	task := write("job.yaml", `name: train
num_nodes: 2
workdir: src
resources:
  cloud: aws
  accelerators: [H100:8, L4:8]
  use_spot: true
envs: {EPOCHS: 3}
secrets: {HF_TOKEN: null}
file_mounts: {~/data: ./data}
run: python train.py
config:
  hooks:
    - run: ./save
      timeout: 90
`)
	t.Setenv("HF_TOKEN", "hf-very-secret")
	c.prints(`job          train, a SkyPilot task
nodes        2
workdir      src
mount        ./data → data
variables    EPOCHS
secrets      HF_TOKEN
interrupted  by its hook, then SIGTERM, with 90s of notice; goes on later

CHOICE  EACH NODE NEEDS  SOLD           $/H    IN 3H
1.      8 × H100         interruptible  32.00  96.00
2.      8 × L4           interruptible  -      -      cannot run here: h1 has 4 units of the 8
warning: job.yaml:5:3: cloud is left aside: it is a hint for other providers
warning: workdir src is not there: it must be, to submit the job
warning: the source of a file_mount data is not there: it must be, to submit the job
`, "job", "check", task, "--secret", "HF_TOKEN", "--expect", "3h")
	if v, named := c.jobs.got.Secrets["HF_TOKEN"]; !named || v != "" {
		t.Errorf("a check sends secrets: %v", c.jobs.got.Secrets)
	}
	script := write("train", "#!/bin/bash\n#SBATCH -n4 -c2 --gres=gpu:2 -t 1:30:00 -a 0-9%3 -d afterok:7\n#SBATCH --signal=USR1@60 --no-requeue --chdir=.\nhostname\n")
	c.prints(`job          train, an sbatch script
nodes        1, tasks 4, CPUs of a task 2
workdir      .
array        10 jobs, indexes 0 to 9, 3 at once
waits for    afterok:j-000007
interrupted  SIGUSR1, with 60s of notice, and 60s before its time limit; it does not run again
time limit   90m
output       slurm-%A_%a.out

CHOICE  EACH NODE NEEDS   SOLD  $/H   IN 90M × 10 JOBS
1       2 × L4, 8 CPUs    firm  -     -                 cannot run here: h1 has 4 units of the 8
2       2 × H100, 8 CPUs  firm  4.00  60.00
`, "job", "check", script)
	out, err := c.run(t.Context(), "job", "check", task, "--secret", "HF_TOKEN", "--json")
	var check server.JobCheck
	if err != nil || json.Unmarshal([]byte(out), &check) != nil || !check.Priced || len(check.Choices) != 2 || check.Choices[0].USDPerHour != 32 ||
		strings.Contains(out, "hf-very-secret") {
		t.Errorf("%v\n%s", err, out)
	}
	// A check wants no secrets, only their names; the job itself does.
	if out, err = c.run(t.Context(), "job", "check", task); err != nil || !strings.Contains(out, "secrets      HF_TOKEN\n") ||
		!strings.Contains(out, "warning: job.yaml:9:11: secrets: HF_TOKEN has no value: give it with --secret HF_TOKEN") {
		t.Errorf("%v\n%s", err, out)
	}
	c.fails(2, "job.yaml:9:11: secrets: HF_TOKEN has no value: give it with --secret HF_TOKEN", "job", "submit", task)
	if _, err := c.run(t.Context(), "job", "check", write("bad.yaml", "nmae: x\nrum: y\n")); exitCode(err) != 2 || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("all mistakes: %v", err)
	}
	c.fails(2, "bad:2:9: sbatch has no option --nodez", "job", "check", write("bad", "#!/bin/sh\n#SBATCH --nodez=2\nx\n"))
	c.fails(2, "cannot be negative", "job", "check", task, "--expect", "-1h")

	c.url = "http://127.0.0.1:1"
	out, err = c.run(t.Context(), "job", "check", task, "--secret", "HF_TOKEN")
	if err != nil || !strings.Contains(out, "CHOICE  EACH NODE NEEDS  SOLD\n1.      8 × H100         interruptible\n") ||
		!strings.Contains(out, "warning: no price: no site answers at http://127.0.0.1:1\n") {
		t.Errorf("without a site: %v\n%s", err, out)
	}
}

func TestSubmitPacks(t *testing.T) {
	c := newCLI(t, "")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"job.yaml":    "workdir: src\nfile_mounts: {/data/set: ./set, conf.json: ./a.json, ~/sky_workdir/sub/b: src}\nsecrets: {KEY: , PIN: }\nrun: x\n",
		"src/main.go": "package main", "set/1.csv": "one", "a.json": "{}", "pin": "1234\n", "other/x": "x",
		"script": "#!/bin/sh\n#SBATCH --chdir=src\nhostname\n", "bare": "#!/bin/sh\n#SBATCH -n1\nhostname\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("KEY", "k-secret")
	submit := func(args ...string) map[string]string {
		t.Helper()
		if _, err := c.run(t.Context(), append([]string{"job", "submit"}, args...)...); err != nil {
			t.Fatal(err)
		}
		to := t.TempDir()
		if err := c.jobs.got.UnpackWorkdir(to); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		_ = filepath.WalkDir(to, func(p string, d os.DirEntry, err error) error {
			if b, err := os.ReadFile(p); err == nil {
				rel, _ := filepath.Rel(to, p)
				got[rel] = string(b)
			}
			return err
		})
		return got
	}
	same := func(got, want map[string]string) {
		t.Helper()
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s is %q, want %q", k, got[k], v)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%v travelled, want %v", got, want)
		}
	}
	job := filepath.Join(dir, "job.yaml")
	same(submit(job, "--secret", "KEY", "--secret-file", "PIN="+filepath.Join(dir, "pin")), map[string]string{
		"main.go": "package main", ".sluice/mounts/0/1.csv": "one", "conf.json": "{}", "sub/b/main.go": "package main",
	})
	if s := c.jobs.got.Secrets; s["KEY"] != "k-secret" || s["PIN"] != "1234" || strings.Contains(c.jobs.got.Task, "k-secret") {
		t.Errorf("secrets %v", s)
	}
	same(submit(filepath.Join(dir, "script")), map[string]string{"main.go": "package main"})
	same(submit(filepath.Join(dir, "bare")), map[string]string{})
	same(submit(filepath.Join(dir, "bare"), "--workdir", filepath.Join(dir, "other"), "--time-limit", "2h", "--expect", "1h"), map[string]string{"x": "x"})
	if c.jobs.got.Limit.Hours() != 2 || c.jobs.got.Expect.Hours() != 1 {
		t.Errorf("times %v, %v", c.jobs.got.Limit, c.jobs.got.Expect)
	}
	c.fails(2, "an argument is seen by every user", "job", "submit", job, "--secret", "KEY=k-secret")
	c.fails(2, "--secret PIN: it is not set here", "job", "submit", job, "--secret", "PIN")
	c.fails(2, "names no file", "job", "submit", job, "--secret-file", "PIN")
	if err := os.Remove(filepath.Join(dir, "a.json")); err != nil {
		t.Fatal(err)
	}
	c.fails(2, "file_mounts names a file or folder", "job", "submit", job, "--secret", "KEY", "--secret-file", "PIN="+filepath.Join(dir, "pin"))
}

// A job that may not start yet says what it waits for, once.
func TestWhyAJobWaits(t *testing.T) {
	for held, want := range map[string]string{
		"":                           "queued: waits for room",
		"j-000002 has not ended":     "queued: j-000002 has not ended",
		compute.HeldBySpending + ".": "queued: spending limit.",
	} {
		if got := because(compute.Job{State: compute.Queued, Why: compute.WaitsForRoom, Held: held}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	var b strings.Builder
	j := server.JobDetail{Job: compute.Job{State: compute.Queued, Why: compute.WaitsForRoom, Held: "j-000002 has not ended", Runs: 1, Preemptions: 2}}
	if err := writeJob(&b, j); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"queued\n", "j-000002 has not ended\n", "0s in 1 run, preempted 2 times\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}
