package jobfile

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
)

// sbatch reads a script with these #SBATCH lines.
func sbatch(lines ...string) (*compute.Task, error) {
	return parse("#!/bin/sh\n#SBATCH "+strings.Join(lines, "\n#SBATCH ")+"\nhostname\n", "s.sh")
}

func TestBatch(t *testing.T) {
	got, err := Parse([]byte(`#!/bin/bash -l
# trains
#SBATCH -J train -N2-4 --ntasks-per-node 2 # --mem=1G
##SBATCH --time=1
#SBATCH --cpus-per-task=3 --gres=gpu:h100:2
#SBATCH --mem=8G --time=1-2:30 "--comment=a b"

#SBATCH --signal=B:USR1@120 --no-requeue --export=NONE,A=1
#SBATCH --array=0-8:4,5%2 --dependency=afterok:12:j-000013,singleton
#SBATCH -o logs/%x-%A_%a.out --chdir=.
set -e
#SBATCH --mem=1
hostname
`), Options{File: "s.sh"})
	if err != nil {
		t.Fatal(err)
	}
	got.Run = ""
	want := &compute.Task{
		Name: "train", NumNodes: 2, Workdir: ".", Envs: map[string]string{"A": "1"},
		Resources: compute.Resources{Accelerator: "h100", GPUs: 2, CPUs: 6, MemoryGB: 8},
		TimeLimit: 26*time.Hour + 30*time.Minute,
		Interrupt: compute.Interrupt{Signal: "USR1", Before: 2 * time.Minute, Notice: 2 * time.Minute},
		Array:     &compute.Array{Indexes: []int{0, 4, 5, 8}, Most: 2},
		After: []compute.Dependency{
			{Kind: "afterok", Jobs: []string{"j-000012"}}, {Kind: "afterok", Jobs: []string{"j-000013"}}, {Kind: "singleton"},
		},
		Output: "logs/%x-%A_%a.out", NoRequeue: true,
		Batch: &compute.Batch{Tasks: 4, TasksPerNode: 2, CPUsPerTask: 3, MemPerNodeMB: 8192, TasksPerNodeGiven: true, CPUsPerTaskGiven: true},
		Warnings: []string{
			"s.sh:3:18: the script runs on each of the 2 nodes, not on the first alone; srun starts each node's own tasks",
			"s.sh:6:32: --comment is left aside: it changes nothing",
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\n%+v\nwant %+v", got, got.Batch, want)
	}
}

func TestIsBatch(t *testing.T) {
	for text, want := range map[string]bool{
		"#!/bin/sh\n#SBATCH -n1\nx\n": true, "#!/usr/bin/env python3\n#SBATCH -n1\nprint(1)\n": true,
		"#!/bin/sh\nx\n": false, "# a task\n#SBATCH -n1\nrun: x\n": false, "run: |\n  #!/bin/sh\n  #SBATCH -n1\n": false, "": false,
	} {
		if got := IsBatch([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// Every mistake is told with its place and the way out.
func TestBatchMistakes(t *testing.T) {
	for line, want := range map[string]string{
		"--ntask-per-node=2":               "s.sh:2:9: sbatch has no option --ntask-per-node (did you mean \"ntasks-per-node\"?)",
		"--mem-per=2G":                     "--mem-per may be --mem-per-cpu or --mem-per-gpu: write it out",
		"-y":                               "sbatch has no option -y",
		"-n":                               "s.sh:2:9: -n has no value",
		"--nodes":                          "--nodes has no value",
		"--requeue=1":                      "--requeue takes no value",
		"-n1 foo":                          "s.sh:2:13: \"foo\" is no option",
		"--job-name='a":                    "a quotation mark is not closed",
		"-n x":                             `--ntasks: "x" is no number from 1 on`,
		"-N 3-2":                           `--nodes: "3-2" is no number of nodes`,
		"--mem=1.5G":                       `--mem: "1.5G" is no amount of memory`,
		"--mem=1G --mem-per-cpu=1G":        "exclude each other",
		"--mem-per-gpu=1G":                 "--mem-per-gpu without GPUs",
		"-t 1:2:3:4":                       `--time: "1:2:3:4" is no time`,
		"-t 1d":                            "is no time",
		"-a 3-1":                           `--array: "3-1" is no array`,
		"-a 1-":                            "is no array",
		"-a 0-99999":                       "more than 10000 jobs",
		"-d afterok":                       "names no jobs",
		"-d aftr:1":                        "unknown kind \"aftr\" (did you mean \"after\"?)",
		"-d afterok:12_3":                  "each job of an array has an ID of its own",
		"-d afterok:x":                     "is no ID of a job",
		"-d afterok:1+5":                   "only after takes +MINUTES",
		"--signal=FOO":                     "is no signal",
		"--signal=KILL@10":                 "leaves a job no time",
		"--signal=USR1@-1":                 "no number of seconds",
		"--gres=gpu:0":                     "is no number of GPUs",
		"--gres=shard:2":                   `--gres: "shard" is not counted here`,
		"--gres=gpu:a:1,gpu:b:1":           "one kind of GPU",
		"--gres=gpu:2 --gpus-per-node=3":   "differ",
		"-N2 --gpus=3":                     "write --gpus-per-node",
		"--gpus=4 --gpus-per-node=2":       "do not agree",
		"-o a%":                            "ends in a %",
		"-o a%q":                           "unknown pattern %q",
		"-o 'a`id`'":                       "is no name of a file",
		"--export=FOO":                     "FOO has no value: write FOO=VALUE, or give it with --env FOO",
		"--export=SLURM_X=1":               "set by Sluice",
		"--constraint=a100":                "--constraint is not supported: name the GPU",
		"-w host1":                         "--nodelist is not supported: hosts are chosen",
		"--begin=now+1hour":                "--begin is not supported: hand the script in when it may start",
		"-H":                               "--hold is not supported",
		"--wrap=ls":                        "--wrap is not supported",
		"-n9 --ntasks-per-node=2 -N2":      "are more than --ntasks-per-node=2",
		"-N 9999":                          "more than any site has",
		"-J 'a:b'":                         "use up to 100 letters",
		"--dependency=afterburstbuffer:1":  "not supported",
		"--nodes=1 --tim=1 --container=/x": "",
	} {
		_, err := sbatch(line)
		if want == "" {
			want = "--tim may be --time or --time-min"
		}
		if err == nil {
			t.Errorf("%q was taken", line)
		} else if !strings.Contains(err.Error(), want) || sluice.KindOf(err) != sluice.Invalid || !strings.HasPrefix(err.Error(), "s.sh:") {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

// An untyped GPU is any of the site's.
func TestBatchAnyGPU(t *testing.T) {
	script := []byte("#!/bin/sh\n#SBATCH --gres=gpu:2\nx\n")
	for want, site := range map[string]*Site{
		"gpu[]": nil, "H100[]": {GPUs: []string{"H100"}}, "A100[A100 H100]": {GPUs: []string{"A100", "H100"}},
	} {
		task, err := Parse(script, Options{Site: site})
		if err != nil {
			t.Fatal(err)
		}
		models := []string{}
		for _, r := range task.Choices {
			models = append(models, r.Accelerator)
		}
		if got := fmt.Sprint(task.Resources.Accelerator, models); got != want || task.Resources.GPUs != 2 {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// runBatch runs what was read of a script as an executor does, on one node.
func runBatch(t *testing.T, text string, facts compute.BatchFacts, env ...string) (out, dir string, err error) {
	t.Helper()
	task, err := Parse([]byte(text), Options{File: "job.sh"})
	if err != nil {
		t.Fatal(err)
	}
	dir = facts.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	facts.JobID, facts.Name, facts.Dir = "j-000042", task.Name, dir
	out, err = runTask(t, task, facts, env...)
	return out, dir, err
}

func runTask(t *testing.T, task *compute.Task, facts compute.BatchFacts, env ...string) (string, error) {
	t.Helper()
	run := filepath.Join(t.TempDir(), "run")
	if err := os.WriteFile(run, []byte(task.Run), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", run)
	cmd.Dir = facts.Dir
	cmd.Env = append(append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + facts.Dir}, compute.BatchEnviron(task, facts)...), env...)
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func TestBatchRuns(t *testing.T) {
	out, dir, err := runBatch(t, "#!/bin/bash\n#SBATCH -n3 -c2 -J train -o logs/%x-%6j.out -e err.txt\n"+
		"[[ $0 == */script ]] && echo \"job $SLURM_JOB_ID of $SLURM_NTASKS on $(scontrol show hostnames | tr '\\n' ' ')\"\n"+
		"echo bad >&2\ncat\nsrun sh -c 'echo task $SLURM_PROCID/$SLURM_NTASKS $SLURM_LOCALID' | sort\nexit 3",
		compute.BatchFacts{Nodes: []string{"h1"}})
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 3 { //nolint:errorlint // as it came
		t.Errorf("ended with %v", err)
	}
	const want = "job 42 of 3 on h1 \ntask 0/3 0\ntask 1/3 1\ntask 2/3 2\n"
	if strings.Replace(out, "bad\n", "", 1) != want || !strings.Contains(out, "bad\n") {
		t.Errorf("printed\n%s", out)
	}
	for file, want := range map[string]string{"logs/train-000042.out": want, "err.txt": "bad\n"} {
		if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
}

func TestBatchInterpreters(t *testing.T) {
	out, _, err := runBatch(t, "#!/usr/bin/env python3\n#SBATCH -a 5\nimport os\nprint('END', os.environ['SLURM_ARRAY_TASK_ID'])\nEND = '''\nEND\n'''\n",
		compute.BatchFacts{}, "SLURM_ARRAY_TASK_ID=5")
	if err != nil || out != "END 5\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// A signal to all processes of a job reaches the script and what srun started;
// what they write on it arrives in the file and in the log. A second run appends.
func TestBatchSignals(t *testing.T) {
	const wait = `trap 'echo saved; exit 0' USR1; echo ready; while :; do sleep 1 & wait $!; done`
	for name, c := range map[string]struct {
		body    string
		started int
	}{
		"the script": {wait, 1}, "two tasks": {"trap : USR1\nsrun -n2 sh -c \"" + strings.ReplaceAll(wait, "$!", `\$!`) + "\"", 2},
	} {
		dir := t.TempDir()
		want := ""
		for range 2 {
			task, err := parse("#!/bin/sh\n#SBATCH -o out.txt\n"+c.body+"\n", "s.sh")
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", task.Run)
			cmd.Dir = dir
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, compute.BatchEnviron(task, compute.BatchFacts{JobID: "j-000042", Name: "s"})...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			pipe, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			lines := bufio.NewScanner(pipe)
			for ready := 0; lines.Scan(); {
				fmt.Fprintln(&got, lines.Text())
				if lines.Text() == "ready" {
					if ready++; ready == c.started {
						if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGUSR1); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			want += got.String()
			if n := strings.Count(got.String(), "saved\n"); n != c.started {
				t.Errorf("%s: %d of %d were told: %s", name, n, c.started, got.String())
			}
			if b, err := os.ReadFile(filepath.Join(dir, "out.txt")); err != nil || string(b) != want {
				t.Errorf("%s: the file has %q, want %q, %v", name, b, want, err)
			}
		}
	}
}

// Each node of a job starts its own share of the tasks.
func TestSrun(t *testing.T) {
	for _, c := range []struct {
		rank      int
		cmd, want string
		code      int
	}{
		{0, "srun echo hi", "hi\nhi\n", 0},
		{1, "srun sh -c 'echo $SLURM_PROCID'", "2\n", 0},
		{0, "srun -n1 echo one", "one\n", 0},
		{1, "srun -n1 echo one", "", 0},
		{1, "srun --nodes=1 --ntasks=1 -w h2 echo here", "here\n", 0},
		{0, "srun -N1 -n1 --nodelist=h2 echo here", "", 0},
		{0, "srun -n 4 --cpu-bind=none -u sh -c 'exit $SLURM_PROCID'", "", 1},
		{1, "srun -n 4 sh -c 'exit $SLURM_PROCID'", "", 3},
		{0, "srun --ntasks-per-node=1 --mpi=none --export=ALL echo a", "a\n", 0},
		{0, "srun --mpi=pmix echo a", "srun: --mpi=pmix is not supported here: see sluice's docs/jobs.md\n", 2},
		{0, "srun --multi-prog x", "srun: --multi-prog is not supported here: see sluice's docs/jobs.md\n", 2},
		{0, "scontrol requeue 5", "scontrol: only scontrol show hostnames is supported here: see sluice's docs/jobs.md\n", 1},
	} {
		out, _, err := runBatch(t, "#!/bin/sh\n#SBATCH -N2 -n3 -o /dev/null\n"+c.cmd+"\n", compute.BatchFacts{Nodes: []string{"h1", "h2"}, Rank: c.rank})
		code := 0
		if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // as it came
			code = exit.ExitCode()
		}
		if out != c.want || code != c.code {
			t.Errorf("node %d: %s: exit %d, %q", c.rank, c.cmd, code, out)
		}
	}
}

// Whatever the bytes, Parse answers, and what it takes is sound.
func FuzzBatch(f *testing.F) {
	for _, s := range []string{
		"-J a -N2-3 --ntasks-per-node 2 # c", "\"--comment=a b\" -t 1-2:3:4", "-a 0-7:2,9%3 -d afterok:1:2?singleton", "--gres=gpu:h100:2 --mem-per-gpu=4G",
		"--signal=B:USR1@10 -o %x-%5j.out --export=A=1,ALL", "-G4 -N2 -c3 --mem-per-cpu=2000", "'", "\\", "--", "-", "=", "--=",
	} {
		f.Add("/bin/sh", s, "hostname\n")
	}
	f.Fuzz(func(t *testing.T, shebang, line, rest string) {
		data := "#!" + shebang + "\n#SBATCH " + line + "\n" + rest
		task, err := Parse([]byte(data), Options{File: "f", Site: &Site{GPUs: []string{"H100", "L4"}}})
		if err != nil {
			if sluice.KindOf(err) != sluice.Invalid || !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("error %v", err)
			}
			return
		}
		sound(t, task)
		b := task.Batch
		if b == nil || b.Tasks < 1 || b.TasksPerNode < 1 || b.TasksPerNode*task.NumNodes < b.Tasks || task.TimeLimit < 0 ||
			task.Resources.CPUs < float64(b.TasksPerNode*b.CPUsPerTask) || task.Output == "" {
			t.Fatalf("took %+v %+v", task, b)
		}
		for _, e := range compute.BatchEnviron(task, compute.BatchFacts{JobID: "j-000001", Nodes: make([]string, task.NumNodes)}) {
			if !strings.HasPrefix(e, "SLURM") || strings.ContainsRune(e, 0) {
				t.Fatalf("variable %q", e)
			}
		}
	})
}
