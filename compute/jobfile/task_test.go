package jobfile

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
)

// parse reads a file without anything around it.
func parse(data, file string) (*compute.Task, error) { return Parse([]byte(data), Options{File: file}) }

func TestParseTask(t *testing.T) {
	_, err := parse(`# what SkyPilot's users write
name: train-1
num_nodes: 1
workdir: .
resources:
  infra: aws/us-east-1
  accelerators: {A100: 8}
  cpus: 4+
  memory: 16+
  use_spot: true
  disk_size: 256
envs:
  EPOCHS: 20
  RATE: "0.10"
  NAME: a: b
  EMPTY: ""
setup: |
  pip list
run: |
  echo "$EPOCHS"
  python train.py
`, "job.yaml")
	if err == nil {
		t.Fatal("a: b inside of a value was taken")
	}
	if !strings.HasPrefix(err.Error(), "job.yaml:15:") {
		t.Errorf("error %q, want its place", err)
	}
	got, err := parse("name: train-1\nresources:\n  infra: aws\n  accelerators: {A100: 8}\n  cpus: 4+\n  memory: 16+\n"+
		"  use_spot: true\nenvs:\n  EPOCHS: 20\n  RATE: 0.10\n  ON: yes\n  EMPTY: ''\nsetup: |\n  pip list\nrun: |\n  a\n  b\n", "job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := &compute.Task{
		Name: "train-1", NumNodes: 1, Setup: "pip list\n", Run: "a\nb\n",
		Resources: compute.Resources{Accelerator: "A100", GPUs: 8, CPUs: 4, MemoryGB: 16, UseSpot: true},
		Envs:      map[string]string{"EPOCHS": "20", "RATE": "0.10", "ON": "yes", "EMPTY": ""},
		Warnings:  []string{"job.yaml:3:10: infra aws is left aside: it is a hint for other providers"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseAccelerators(t *testing.T) {
	for text, want := range map[string]string{
		"A100": "A100×1", "A100:8": "A100×8", "{A100: 8}": "A100×8", "'H100:2'": "H100×2", "{A100}": "A100×1",
		"{A100:4}": "A100×4", "": "×0", "null": "×0", "A100-80GB:2": "A100-80GB×2", "\n    L4: 2": "L4×2", "{L4: 2.0}": "L4×2",
		"[A100, H100]": "A100×1 then H100×1", "{A100: 1, H100: 1}": "A100×1 or H100×1", "{A100:1, H100:2, L4}": "A100×1 or H100×2 or L4×1",
		"[A100:8, A100:8]": "A100×8", "{A100:8, A100:4}": "A100×8 or A100×4", "GB200:4": "GB200×4", "\n    - L4:1\n    - T4": "L4×1 then T4×1", "\"{'L4:1', 'T4:2'}\"": "L4×1 or T4×2",
		"A100:0.5": "A100×1", "A100:1.5": "", "A100:0": "", "A100:x": "", ":8": "", "A100:-1": "", "A100:99999999999999999999": "", "{A100: [1]}": "",
		"80GB+": "", "nvidia:40GB:2": "", "16GB:1": "", "[[A100]]": "", "[]": "×0", "{}": "×0",
	} {
		task, err := parse("resources:\n  accelerators: "+text+"\nrun: x\n", "f")
		got := ""
		if err == nil {
			all := task.Choices
			if len(all) == 0 {
				all = append(all, task.Resources)
			}
			between := " or "
			if task.Ordered {
				between = " then "
			}
			for i, r := range all {
				if i > 0 {
					got += between
				}
				got += fmt.Sprintf("%s×%d", r.Accelerator, r.GPUs)
			}
		} else if !strings.HasPrefix(err.Error(), "f:2:") && !strings.HasPrefix(err.Error(), "f:3:") {
			t.Errorf("%s: %v", text, err)
		}
		if got != want {
			t.Errorf("%s: %q, want %q (%v)", text, got, want, err)
		}
	}
}

// Within braces, too, a colon without a blank is part of a text.
func TestParseFlow(t *testing.T) {
	task, err := parse("resources: {image_id: docker:a/b:1.2, accelerators: [H100:1, A100-80GB:2], ports: [80, 90-91]}\nrun: x\n", "f")
	if err != nil || task.Resources.Image != "a/b:1.2" || len(task.Choices) != 2 || task.Choices[1].GPUs != 2 || !task.Ordered || len(task.Resources.Ports) != 3 {
		t.Errorf("%+v, %v", task, err)
	}
	task, err = parse("{resources: {accelerators: {L4:1, T4:2}, any_of: [{image_id: docker:x}]}, run: x, file_mounts: {/a:b: c}}\n", "f")
	if err != nil || len(task.Choices) != 2 || task.Resources.Image != "x" {
		t.Errorf("%+v, %v", task, err)
	}
}

// Every mistake is told with its place and the way out.
func TestParseMistakes(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"", "t.yaml:1:1: the file is empty"},
		{"# only a comment\n", "t.yaml:1:1: the file is empty"},
		{"run: x\nsetpu: y\n", `t.yaml:2:1: unknown field "setpu" (did you mean "setup"?)`},
		{"run: x\nqwertz: y\n", "t.yaml:2:1: unknown field \"qwertz\"\n"},
		{"run: x\nresources:\n  acelerators: A100\n", `t.yaml:3:3: unknown field "acelerators" (did you mean "accelerators"?)`},
		{"run: x\ncpus: 4\n", "t.yaml:2:1: cpus belongs under resources"},
		{"run: x\nresources:\n  run: 4\n", "t.yaml:3:3: run does not belong under resources"},
		{"run: x\nnum_nodes: 0\n", `t.yaml:2:12: num_nodes: "0" is no number from 1 to 1024`},
		{"run: x\nfile_mounts:\n  /a: s3://b/c\n", "t.yaml:3:7: file_mounts: s3://b/c is not supported: Sluice holds no key to your cloud; fetch it in setup"},
		{"run: x\nfile_mounts:\n  /a: {name: b, source: ./c, store: s3, mode: COPY}\n", "t.yaml:3:3: file_mounts: /a is a bucket, which is not supported: write /a: PATH"},
		{"run: x\nfile_mounts:\n  /a: {source: gs://b, mode: COPY}\n", "gs://b is not supported"},
		{"run: x\nfile_mounts:\n  /a: {name: b, mode: MOUNT}\n", "volumes: {/a: NAME}"},
		{"run: x\nfile_mounts:\n  ../a: b\n", "t.yaml:3:3: file_mounts: ../a leads out of the job's own files"},
		{"run: x\nfile_mounts:\n  /: b\n", "t.yaml:3:3: file_mounts: / is the whole"},
		{"run: x\nfile_mounts:\n  /a/b: b\n  /a/./b: c\n", "t.yaml:4:3: /a/b is mounted twice"},
		{"run: x\nfile_mounts:\n  /a:\n", "t.yaml:3:3: file_mounts: /a has no source"},
		{"run: x\nfile_mounts:\n  /$K: b\nsecrets: {K: v}\n", "K is a secret, and this is kept in the clear"},
		{"run: x\nvolumes:\n  /a: {size: 10Gi}\n", "t.yaml:3:3: volumes: /a has no name"},
		{"run: x\nvolumes:\n  /a: {name: b, sub_path: c}\n", "sub_path is not supported"},
		{"run: x\nvolumes:\n  /a: b/c\n", "no name of a volume"},
		{"run: x\n\tname: a\n", "YAML is indented with spaces"},
		{"#SBATCH -J a\nhostname\n", "t.yaml:1:1: an sbatch script begins with its interpreter: write #!/bin/bash"},
		{"run: x\nsecrets:\n  A:\n", "t.yaml:3:3: secrets: A has no value: give it with --secret A"},
		{"run: x\nsecrets: [secrets:personal.A]\n", "t.yaml:2:11: secrets: A has no value"},
		{"run: x\nmanaged_secrets: [{A: {mount_path: /x}}]\n", "a secret in a file is not supported"},
		{"run: x\nsecrets:\n  A-B: v\n", "secrets: A-B: a variable's name"},
		{"run: x\nworkdir: {ref: main}\n", "t.yaml:2:1: workdir: url is missing"},
		{"run: x\nworkdir: https://a/b\n", "{url: …, ref: …}"},
		{"run: x\nconfig:\n  hooks:\n    - run: a\n      events: [stop]\n", "a hook runs here when the job is interrupted: add preemption"},
		{"run: x\nconfig:\n  hooks:\n    - events: [preemptoin]\n", `unknown event "preemptoin" (did you mean "preemption"?)`},
		{"run: x\nconfig:\n  hooks: x\n", "config.hooks must be a list"},
		{"run: x\nconfig:\n  hook: []\n", `t.yaml:3:3: unknown field "hook" in config (did you mean "hooks"?)`},
		{"run: x\nservice: {}\n", "t.yaml:2:1: service is not supported"},
		{"run: x\nresources:\n  image_id: ami-12\n", "t.yaml:3:13: image_id ami-12 is a machine image of another provider: write docker:IMAGE"},
		{"run: x\nresources:\n  image_id: {us-east-1: ami-1}\n", "t.yaml:3:3: image_id by region is not supported"},
		{"run: x\nresources:\n  image_id: 'docker:a b'\n", "no name of a container image"},
		{"run: x\nresources:\n  ports: [80, 90-80]\n", `t.yaml:3:15: ports: "90-80" is no port`},
		{"run: x\nresources:\n  ports: 1-65535\n", "more than 1000"},
		{"run: x\nresources:\n  any_of: 3\n", "t.yaml:3:11: any_of must be a list"},
		{"run: x\nresources:\n  any_of: [{cpus: 1}]\n  ordered: [{cpus: 2}]\n", "t.yaml:4:3: resources: give any_of or ordered, not both"},
		{"run: x\nresources:\n  any_of:\n    - any_of: []\n", "any_of cannot stand inside"},
		{"run: x\nresources:\n  any_of:\n    - accelerator: A100\n", `t.yaml:4:7: unknown field "accelerator" (did you mean "accelerators"?)`},
		{"run: x\nresources:\n  accelerators: {A: 1, B: 1}\n  ordered: [{cpus: 2}]\n", "exclude each other"},
		{"run: x\nresources:\n  any_of: [{job_recovery: none}, {cpus: 2}]\n", "job_recovery holds for the task"},
		{"run: x\nresources:\n  job_recovery: {strategy: FAILOVR}\n", `unknown strategy "FAILOVR" (did you mean "failover"?)`},
		{"run: x\nresources:\n  job_recovery: {max_restarts_on_errors: -1}\n", "t.yaml:3:42: max_restarts_on_errors"},
		{"run: x\nresources:\n  max_hourly_cost: 0\n", "max_hourly_cost: \"0\" is no amount"},
		{"run: x\nresources:\n  labels: {sluice/isolation: strong}\n", `t.yaml:3:30: sluice/isolation: "strong" is none of [process container sandbox]`},
		{"run: x\nresources:\n  labels: {sluice/powercap: '0.6'}\n", `t.yaml:3:12: unknown label "sluice/powercap"`},
		{"run: x\nresources:\n  labels: {sluice/power-cap: '6'}\n", "no share from 0.1 to 1"},
		{"run: x\nresources:\n  labels: {sluice/notice: '6'}\n", "no time up to 24h"},
		{"run: x\nresources:\n  labels: {sluice/signal: KILL}\n", "leaves a job no time"},
		{"run: x\nresources:\n  autostop: {hook: x}\n", "t.yaml:3:14: autostop.hook is not supported: put it under config.hooks"},
		{"run: x\nresources:\n  volumes: []\n", "t.yaml:3:3: volumes is not supported: write volumes: {PATH: NAME}"},
		{"run: x\nresources:\n  disk_size: 5+\n", "disk_size: \"5+\" is no amount"},
		{"run: x\nresources:\n  memory: 4x\n", "memory: \"4x\" is no amount"},
		{"run: x\npool: {workers: 2}\n", "t.yaml:2:1: pool is not supported"},
		{"name: a\n", "t.yaml:1:"},
		{"name: a\n", "run is missing"},
		{"run: \n", "t.yaml:1:1: run is empty"},
		{"run: [a]\n", "run must be text"},
		{"run: x\nname: 'a/b'\n", "t.yaml:2:7: name"},
		{"run: x\nenvs:\n  A:\n", "t.yaml:3:3: envs: A has no value: write one here, or give it with --env A=VALUE"},
		{"run: x\nenvs:\n  A: [1]\n", "envs: the value of A must be text"},
		{"run: x\nenvs:\n  A-B: 1\n", "envs: A-B: a variable's name"},
		{"run: x\nenvs:\n  SLUICE_JOB_ID: 1\n", "set by Sluice"},
		{"run: x\nenvs: 3\n", "t.yaml:2:7: envs must be a mapping"},
		{"run: x\nresources:\n  cpus: many\n", `t.yaml:3:9: cpus: "many" is no amount`},
		{"run: x\nresources:\n  cpus: .nan\n", "is no amount"},
		{"run: x\nresources:\n  memory: -1\n", "is no amount"},
		{"run: x\nresources:\n  use_spot: perhaps\n", "t.yaml:3:13: use_spot must be true or false"},
		{"run: x\nrun: y\n", "t.yaml:2:1"},
		{"run: x\n---\nrun: y\n", "t.yaml:3:4: a file with several tasks (a pipeline or a job group) is not supported"},
		{"a: &x b\nrun: *x\n", "t.yaml:2:"},
		{"- run\n", "a task must be a mapping"},
		{"run: \"x\n", "t.yaml:1:"},
		{"run: \"a\\0b\"\n", "NUL"},
		{"run: \xff\n", "not UTF-8"},
		{strings.Repeat("#", MaxFile+1), "larger than 1 MiB"},
		{strings.Repeat("[", 100_000), "too complex"},
		{strings.Repeat("a: b\n", 10_000), "too complex"},
	} {
		_, err := parse(c.file, "t.yaml")
		name := c.file[:min(len(c.file), 60)]
		if err == nil {
			t.Errorf("%q was taken", name)
		} else if !strings.Contains(err.Error()+"\n", c.want) || sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%q: %v, want %q", name, err, c.want)
		}
	}
}

// Who only looks at a file need not give what it wants, but where the rest of it
// cannot be told without.
func TestCheckWantsNoValues(t *testing.T) {
	for file, want := range map[string]string{
		"run: x\nenvs:\n  A:\n":                      "f:3:3: envs: A has no value: write one here, or give it with --env A=VALUE",
		"run: x\nsecrets:\n  A: null\n":              "f:3:3: secrets: A has no value: give it with --secret A",
		"run: x\nsecrets: [secrets:personal.A]\n":    "f:2:11: secrets: A has no value",
		"#!/bin/sh\n#SBATCH --export=A -D .\nhost\n": "f:2:9: --export: A has no value: write A=VALUE, or give it with --env A",
	} {
		task, err := Parse([]byte(file), Options{File: "f", Check: true})
		if err != nil || len(task.Warnings) != 1 || !strings.HasPrefix(task.Warnings[0], want) {
			t.Errorf("%q: %v, %+v", file, err, task)
			continue
		}
		if _, named := task.Envs["A"]; !named && !slices.Contains(task.SecretNames, "A") {
			t.Errorf("%q names it nowhere: %+v", file, task)
		}
		if _, err := parse(file, "f"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q, to be run: %v", file, err)
		}
	}
	for _, file := range []string{"run: x\nname: a-$A\nenvs:\n  A:\n", "run: x\nname: a-$A\nsecrets:\n  A:\n", "run: x\nenvs:\n  A-B:\n"} {
		if task, err := Parse([]byte(file), Options{File: "f", Check: true}); err == nil {
			t.Errorf("%q: %+v", file, task)
		}
	}
}

func TestEnv(t *testing.T) {
	file := []byte("run: x\nenvs:\n  A: file\n  B:\n")
	if _, err := parse(string(file), "f"); err == nil || !strings.Contains(err.Error(), "f:4:3: envs: B has no value") {
		t.Fatalf("error %v", err)
	}
	task, err := Parse(file, Options{File: "f", Env: map[string]string{"A": "line", "B": "b", "C": "c"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"A": "line", "B": "b", "C": "c"}; !reflect.DeepEqual(task.Envs, want) {
		t.Fatalf("envs %v, want %v", task.Envs, want)
	}
	if _, err := Parse(file, Options{File: "f", Env: map[string]string{"B": "b", "C=D": "c"}}); err == nil {
		t.Fatal("a name with = was taken")
	}
}

// Whatever the bytes, Parse answers soon, and what it takes is sound.
func FuzzTask(f *testing.F) {
	for _, s := range []string{
		"", "run: x", "name: a\nresources: {accelerators: {A100: 8}, cpus: 4+, memory: 16}\nenvs: {A: b}\nrun: |\n  x\n",
		"a: &x [*x]\nrun: *x", "run: !!str x", "<<: {run: x}", "? run\n: x", "--- \nrun: >-\n  x\n...\n", "run: \"\\u0000\"",
		"[[[[", "- - - -", "resources:\n  accelerators: A100:1\nrun: x", "{run: x, ? : }", "run: |\nfoo", "%YAML 1.2\n---\nrun: x",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		began := time.Now()
		task, err := Parse(data, Options{File: "f", Site: &Site{Name: "s", Regions: []string{"eu-de"}, GPUs: []string{"H100", "L4"}}})
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("took %v for %d bytes", took, len(data))
		}
		if err != nil {
			if sluice.KindOf(err) != sluice.Invalid || !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("error %v", err)
			}
			return
		}
		sound(t, task)
	})
}

// sound fails where a task that was taken cannot be run as it stands.
func sound(t *testing.T, task *compute.Task) {
	t.Helper()
	if strings.TrimSpace(task.Run) == "" || task.NumNodes < 1 || len(task.Choices) == 1 ||
		len(task.Choices) > 1 && !reflect.DeepEqual(task.Choices[0], task.Resources) {
		t.Fatalf("took %+v", task)
	}
	for _, r := range append([]compute.Resources{task.Resources}, task.Choices...) {
		if r.GPUs < 0 || (r.Accelerator == "") != (r.GPUs == 0) || !(r.CPUs >= 0) || !(r.MemoryGB >= 0) || !(r.DiskGB >= 0) || !(r.MaxUSDPerHour >= 0) {
			t.Fatalf("took %+v", r)
		}
	}
	for i, m := range append(append([]compute.Mount{}, task.FileMounts...), task.Volumes...) {
		if m.Target == "" || m.Source == "" || !filepath.IsAbs(m.Target) && !filepath.IsLocal(m.Target) {
			t.Fatalf("took mount %+v", m)
		}
		if i < len(task.FileMounts) && !filepath.IsLocal(task.AtWork(i)) {
			t.Fatalf("mount %+v lies at %s", m, task.AtWork(i))
		}
	}
	for _, all := range []map[string]string{task.Envs, task.Secrets} {
		for k, v := range all {
			if msg := badEnv(k, v); msg != "" {
				t.Fatalf("took %q: %s", k, msg)
			}
		}
	}
}
