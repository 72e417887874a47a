package compute

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice"
)

func TestParseTask(t *testing.T) {
	_, err := ParseTask([]byte(`# what SkyPilot's users write
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
`), "job.yaml")
	if err == nil {
		t.Fatal("a: b inside of a value was taken")
	}
	if !strings.HasPrefix(err.Error(), "job.yaml:15:") {
		t.Errorf("error %q, want its place", err)
	}
	got, err := ParseTask([]byte("name: train-1\nresources:\n  infra: aws\n  accelerators: {A100: 8}\n  cpus: 4+\n  memory: 16+\n"+
		"  use_spot: true\nenvs:\n  EPOCHS: 20\n  RATE: 0.10\n  ON: yes\n  EMPTY: ''\nsetup: |\n  pip list\nrun: |\n  a\n  b\n"), "job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := &Task{
		Name: "train-1", NumNodes: 1, Setup: "pip list\n", Run: "a\nb\n",
		Resources: Resources{Accelerator: "A100", GPUs: 8, CPUs: 4, MemoryGB: 16, UseSpot: true},
		Envs:      map[string]string{"EPOCHS": "20", "RATE": "0.10", "ON": "yes", "EMPTY": ""},
		Warnings:  []string{"job.yaml:3:3: infra means nothing on this site and is left aside"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseAccelerators(t *testing.T) {
	for text, want := range map[string]string{
		"A100": "A100×1", "A100:8": "A100×8", "{A100: 8}": "A100×8", "'H100:2'": "H100×2", "{A100}": "A100×1",
		"{A100:4}": "A100×4", "": "×0", "null": "×0", "A100-80GB:2": "A100-80GB×2", "\n    L4: 2": "L4×2",
		"A100:0.5": "", "A100:0": "", "A100:x": "", ":8": "", "[A100, H100]": "", "{A100: 1, H100: 1}": "", "A100:-1": "",
		"A100:99999999999999999999": "", "{A100: [1]}": "",
	} {
		task, err := ParseTask([]byte("resources:\n  accelerators: "+text+"\nrun: x\n"), "f")
		got := ""
		if err == nil {
			got = fmt.Sprintf("%s×%d", task.Resources.Accelerator, task.Resources.GPUs)
		} else if !strings.HasPrefix(err.Error(), "f:2:") {
			t.Errorf("%s: %v", text, err)
		}
		if got != want {
			t.Errorf("%s: %q, want %q (%v)", text, got, want, err)
		}
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
		{"run: x\nnum_nodes: 2\n", "t.yaml:2:12: num_nodes 2 is not supported"},
		{"run: x\nfile_mounts:\n  /a: b\n", "t.yaml:2:1: file_mounts is not supported: put"},
		{"run: x\nsecrets:\n  A: b\n", "t.yaml:2:1: secrets is not supported"},
		{"run: x\nservice: {}\n", "t.yaml:2:1: service is not supported"},
		{"run: x\nvolumes: {}\n", "t.yaml:2:1: volumes is not supported"},
		{"run: x\nresources:\n  image_id: docker:x\n  ports: 80\n", "t.yaml:3:3: image_id is not supported"},
		{"run: x\nresources:\n  image_id: docker:x\n  ports: 80\n", "t.yaml:4:3: ports is not supported"},
		{"run: x\nresources:\n  any_of: []\n", "t.yaml:3:3: any_of is not supported"},
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
		{"run: x\n---\nrun: y\n", "several tasks"},
		{"a: &x b\nrun: *x\n", "t.yaml:2:"},
		{"- run\n", "a task must be a mapping"},
		{"run: \"x\n", "t.yaml:1:"},
		{"run: \"a\\0b\"\n", "NUL"},
		{"run: \xff\n", "not UTF-8"},
		{strings.Repeat("#", MaxTaskFile+1), "larger than 1 MiB"},
		{strings.Repeat("[", 100_000), "too complex"},
		{strings.Repeat("a: b\n", 10_000), "too complex"},
	} {
		_, err := ParseTask([]byte(c.file), "t.yaml")
		name := c.file[:min(len(c.file), 60)]
		if err == nil {
			t.Errorf("%q was taken", name)
		} else if !strings.Contains(err.Error()+"\n", c.want) || sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%q: %v, want %q", name, err, c.want)
		}
	}
}

func TestParseTaskEnv(t *testing.T) {
	file := []byte("run: x\nenvs:\n  A: file\n  B:\n")
	if _, err := ParseTask(file, "f"); err == nil || !strings.Contains(err.Error(), "f:4:3: envs: B has no value") {
		t.Fatalf("error %v", err)
	}
	task, err := ParseTaskEnv(file, "f", map[string]string{"A": "line", "B": "b", "C": "c"})
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"A": "line", "B": "b", "C": "c"}; !reflect.DeepEqual(task.Envs, want) {
		t.Fatalf("envs %v, want %v", task.Envs, want)
	}
	if _, err := ParseTaskEnv(file, "f", map[string]string{"B": "b", "C=D": "c"}); err == nil {
		t.Fatal("a name with = was taken")
	}
}

// Whatever the bytes, ParseTask answers soon, and what it takes is sound.
func FuzzParseTask(f *testing.F) {
	for _, s := range []string{
		"", "run: x", "name: a\nresources: {accelerators: {A100: 8}, cpus: 4+, memory: 16}\nenvs: {A: b}\nrun: |\n  x\n",
		"a: &x [*x]\nrun: *x", "run: !!str x", "<<: {run: x}", "? run\n: x", "--- \nrun: >-\n  x\n...\n", "run: \"\\u0000\"",
		"[[[[", "- - - -", "resources:\n  accelerators: A100:1\nrun: x", "{run: x, ? : }", "run: |\nfoo", "%YAML 1.2\n---\nrun: x",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		began := time.Now()
		task, err := ParseTask(data, "f")
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("took %v for %d bytes", took, len(data))
		}
		if err != nil {
			if sluice.KindOf(err) != sluice.Invalid || !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("error %v", err)
			}
			return
		}
		r := task.Resources
		if strings.TrimSpace(task.Run) == "" || task.NumNodes != 1 || r.GPUs < 0 || (r.Accelerator == "") != (r.GPUs == 0) ||
			!(r.CPUs >= 0) || !(r.MemoryGB >= 0) {
			t.Fatalf("took %+v", task)
		}
		for k, v := range task.Envs {
			if msg := badEnv(k, v); msg != "" {
				t.Fatalf("took env %q: %s", k, msg)
			}
		}
	})
}
