package jobfile

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/compute"
)

// All that a task can say, and what becomes of it.
func TestWholeTask(t *testing.T) {
	got, err := Parse([]byte(`name: ${WHO}-train
workdir: ~/code/$WHO
num_nodes: 2
resources:
  accelerators: A100:8
  cpus: 32+
  memory: 256GB+
  disk_size: 2TB
  disk_tier: best
  image_id: docker:nvcr.io/nvidia/pytorch:$TAG
  ports: [8080, 9000-9002, '8080']
  use_spot: True
  job_recovery:
    strategy: EAGER_NEXT_REGION
    max_restarts_on_errors: 3
    recover_on_exit_codes: [33, 34]
  max_hourly_cost: 40.5
  priority: -5
  infra: '*/eu-de'
  autostop: {idle_minutes: 5, down: true}
  labels:
    iso27001: "yes"
    sluice/isolation: sandbox
    sluice/power-cap: 0.6
    sluice/signal: SIGUSR1
    sluice/notice: 3m
envs:
  WHO: ann
  TAG: 24.07-py3
  EMPTY: ""
secrets:
  HF_TOKEN: null
  WANDB: "in the file"
  secrets:global.SHARED: null
file_mounts:
  /data/${WHO}: ./data/$WHO
  ~/conf/a.json: ~/a.json
  ~/sky_workdir/lib/: ../lib
  rel/x: {source: ./x, mode: COPY}
volumes:
  /ckpt: ckpt-$WHO
  ~/cache: {name: cache, size: 10Gi}
setup: pip install -r requirements.txt
run: |
  cd ~/sky_workdir
  python train.py
config:
  kubernetes: {pod_config: {spec: {}}}
  docker: {run_options: [--ipc=host]}
`), Options{File: "f", Secrets: map[string]string{"HF_TOKEN": "t", "SHARED": "s"}, Site: &Site{Name: "west", Regions: []string{"eu-de"}}})
	if err != nil {
		t.Fatal(err)
	}
	const link = `[ -e "$HOME/sky_workdir" ] || ln -s "$PWD" "$HOME/sky_workdir"` + "\n"
	want := &compute.Task{
		Name: "ann-train", NumNodes: 2, Workdir: "~/code/ann",
		Resources: compute.Resources{
			Accelerator: "A100", GPUs: 8, CPUs: 32, MemoryGB: 256, DiskGB: 2048, UseSpot: true, Image: "nvcr.io/nvidia/pytorch:24.07-py3",
			Ports: []int{8080, 9000, 9001, 9002}, Labels: map[string]string{"iso27001": "yes"}, Region: "eu-de", MaxUSDPerHour: 40.5,
			MaxRestarts: 3, RestartExitCodes: []int{33, 34}, Isolation: compute.IsolationSandbox, PowerCapOK: true, MinPowerShare: 0.6,
		},
		FileMounts: []compute.Mount{
			{Target: "/data/ann", Source: "./data/ann"}, {Target: "conf/a.json", Source: "~/a.json"}, {Target: "lib", Source: "../lib"}, {Target: "rel/x", Source: "./x"},
		},
		Volumes:     []compute.Mount{{Target: "/ckpt", Source: "ckpt-ann"}, {Target: "cache", Source: "cache"}},
		Envs:        map[string]string{"WHO": "ann", "TAG": "24.07-py3", "EMPTY": ""},
		Setup:       "pip install -r requirements.txt",
		Run:         link + "cd ~/sky_workdir\npython train.py\n",
		Secrets:     map[string]string{"HF_TOKEN": "t", "WANDB": "in the file", "SHARED": "s"},
		SecretNames: []string{"HF_TOKEN", "SHARED", "WANDB"},
		Interrupt:   compute.Interrupt{Signal: "USR1", Notice: 3 * time.Minute},
		Priority:    -5,
		Warnings: []string{
			"f:9:3: disk_tier is left aside: a site has one kind of disk",
			"f:14:15: job_recovery: EAGER_NEXT_REGION is left aside: a job that was preempted goes on at this site",
			"f:20:3: autostop is left aside: a job holds its host no longer than it runs",
			"f:42:26: volumes: size is left aside",
			"f:48:3: config.kubernetes is left aside: it is a setting of another provider",
			"f:49:3: config.docker is left aside: it is a setting of another provider",
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
	for i, want := range []string{".sluice/mounts/0", "conf/a.json", "lib", "rel/x"} {
		if at := got.AtWork(i); at != want {
			t.Errorf("mount %d lies at %s, want %s", i, at, want)
		}
	}
}

// Alternatives are merged over the base.
func TestChoices(t *testing.T) {
	got, err := parse(`resources:
  cpus: 4
  use_spot: true
  labels: {a: "1", b: "1"}
  any_of:
    - infra: aws/us-east-1
      accelerators: {H100:8, A100:8}
    - infra: gcp
      accelerators: H100:8
      labels: {b: "2"}
    - cpus: 64
      use_spot: false
      image_id: null
    - infra: azure
      accelerators: A100:8
run: x
`, "f")
	if err != nil {
		t.Fatal(err)
	}
	one := map[string]string{"a": "1", "b": "1"}
	want := []compute.Resources{
		{Accelerator: "H100", GPUs: 8, CPUs: 4, UseSpot: true, Labels: one},
		{Accelerator: "A100", GPUs: 8, CPUs: 4, UseSpot: true, Labels: one},
		{Accelerator: "H100", GPUs: 8, CPUs: 4, UseSpot: true, Labels: map[string]string{"a": "1", "b": "2"}},
		{CPUs: 64, Labels: one},
	}
	if !reflect.DeepEqual(got.Choices, want) || !reflect.DeepEqual(got.Resources, want[0]) || got.Ordered || len(got.Warnings) != 3 {
		t.Fatalf("got %+v\n%v", got.Choices, got.Warnings)
	}
	got, err = parse("resources:\n  ordered:\n    - infra: aws\n    - infra: gcp\n  gpus: L4:2\nrun: x\n", "f")
	if err != nil || got.Ordered || got.Choices != nil || got.Resources.GPUs != 2 {
		t.Fatalf("only hints differ: %+v, %v", got, err)
	}
}

// infra is honoured where it names the site or a region of it.
func TestRegion(t *testing.T) {
	site := &Site{Name: "west", Regions: []string{"eu-de", "us-tx"}}
	for line, want := range map[string]string{
		"infra: aws": "warns", "infra: aws/eu-de": "warns", "infra: k8s/ctx": "warns", "infra: '*'": "", "infra: '*/eu-de'": "eu-de", "infra: eu-de": "eu-de",
		"infra: west": "", "infra: sluice/us-tx": "us-tx", "infra: west/*": "", "region: us-tx": "us-tx", "region: us-east-1": "warns", "cloud: gcp": "warns",
		"infra: west/mars": "fails", "infra: wets": "fails", "infra: '*/us-east-1'": "warns", "infra:": "",
	} {
		task, err := Parse([]byte("resources:\n  "+line+"\nrun: x\n"), Options{File: "f", Site: site})
		got := "fails"
		if err == nil {
			if got = task.Resources.Region; len(task.Warnings) > 0 {
				got += "warns"
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q (%v)", line, got, want, err)
		}
	}
	if task, err := parse("resources:\n  infra: eu-de\nrun: x\n", "f"); err != nil || len(task.Warnings) != 1 {
		t.Errorf("without a site: %v %v", task, err)
	}
}

func TestHooks(t *testing.T) {
	got, err := parse("run: x\nconfig:\n  hooks:\n    - run: |\n        ./save\n      events: [preemption]\n      timeout: 60\n    - run: cp a b\n      timeout: 30\n", "f")
	if err != nil || got.Interrupt.Hook != "(\n./save\n)\n(\ncp a b\n)\n" || got.Interrupt.Notice != 90*time.Second {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = parse("run: x\nconfig:\n  hooks: [{run: ./save}]\n", "f"); err != nil || got.Interrupt != (compute.Interrupt{Hook: "./save\n"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestGitWorkdir(t *testing.T) {
	got, err := parse("workdir: {url: 'https://h/it''s.git', ref: v1}\nsetup: make\nrun: x\n", "f")
	if err != nil || !strings.Contains(got.Setup, `origin 'https://h/it'\''s.git'`) || !strings.HasSuffix(got.Setup, "\nmake") || got.Workdir != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// Shapes that SkyPilot's users write: each is taken, with so many warnings.
func TestShapes(t *testing.T) {
	for file, warnings := range map[string]int{
		"resources:\n  accelerators: {L4:1, A100:8, A100-80GB:4, A100:1, H100}\n  ports:\n    - 8000\nrun: |\n  vllm\n": 0,
		"resources:\n  accelerators: T4\n": 1, "resources:\n  accelerators: T4:0.5\nsetup: |\n  a\nrun: |\n  b\n": 1, "setup: pip\n": 1,
		"# comment\n\nname: a\n\nresources:\n  # cloud: aws\n  cpus: 2+\n  memory: 4+\n\nrun: echo hi\n":                                        0,
		"resources:\n  infra: gcp\n  accelerators: tpu-v2-8\n  accelerator_args:\n    runtime_version: tpu-vm-base\n    tpu_vm: True\nrun: x\n": 2,
		"resources:\n  accelerators: V100:1\n  use_spot: true\n  spot_recovery: FAILOVER\nrun: x\n":                                             1,
		"resources:\n  image_id: skypilot:gpu-ubuntu-2004\nrun: x\n":                                                                            1, "resources:\n  job_recovery: none\nrun: x\n": 0,
		"resources:\n  instance_type: p3.2xlarge\n  region: us-east-1\n  zone: a\n  network_tier: best\n  local_disk: nvme\nrun: x\n": 5,
		"---\nname: head\n---\nresources: {cpus: 1}\nrun: x\n":                                                                        0, "name: a\nresources:\nrun: x\n": 0, "envs:\nsetup:\nfile_mounts:\nrun: x\n": 0,
		"resources:\n  any_of:\n    - cloud: aws\n      image_id: null\n    - cloud: gcp\nrun: x\n":                         2,
		"inputs: {gs://a: 100}\noutputs: {gs://b: 10}\nrun: x\n":                                                            2,
		"file_mounts:\n  ~/a/: ./b/\n  ~/.ssh/id: ~/.ssh/id\nrun: x\n":                                                      0,
		"resources:\n  disk_size: 512\n  disk_tier: high\n  accelerators:\n    H100: 8\nrun: >-\n  a\n  b\nsetup: >\n  c\n": 1,
	} {
		task, err := parse(file, "f")
		if err != nil {
			t.Errorf("%q: %v", file, err)
		} else if sound(t, task); len(task.Warnings) != warnings {
			t.Errorf("%q: %d warnings, want %d: %q", file, len(task.Warnings), warnings, task.Warnings)
		}
	}
}

// The examples are what they say.
func TestExamples(t *testing.T) {
	seen := map[bool]int{}
	for _, file := range []string{"digits/job.yaml", "digits/sweep.sh", "choices/job.yaml", "torch/job.yaml"} {
		file = filepath.Join("..", "..", "examples", file)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		task, err := Parse(data, Options{File: file})
		if err != nil || len(task.Warnings) > 0 {
			t.Errorf("%v %+v", err, task)
			continue
		}
		sound(t, task)
		seen[IsBatch(data)]++
		if filepath.Base(filepath.Dir(file)) == "choices" && (len(task.Choices) != 4 || task.Interrupt.Hook == "" || !task.Choices[1].PowerCapOK) {
			t.Errorf("%+v", task)
		}
	}
	if seen[true] != 1 || seen[false] != 3 {
		t.Errorf("%v", seen)
	}
}

// One mistake of the whole is told once, not again for each alternative.
func TestOneMistakeOfTheBase(t *testing.T) {
	_, err := parse("resources:\n  accelerators: [A100:8, H100:8]\n  any_of:\n    - infra: aws\n    - infra: gcp\nrun: x\n", "f")
	if err == nil || strings.Count(err.Error(), "f:") != 1 || !strings.Contains(err.Error(), "f:3:3: resources: any_of and a choice of accelerators exclude each other") {
		t.Errorf("%v", err)
	}
}
