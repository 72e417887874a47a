package jobfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/compute"
)

// slurm starts Debian's Slurm on loopback, with four nodes of 8 CPUs and 8 GPUs.
func slurm(t *testing.T) (dir string, run func(args ...string) (string, error)) {
	t.Helper()
	up, err := filepath.Abs("../../../shared/engines/slurm-up.sh")
	if err != nil {
		t.Fatal(err)
	}
	missing := ""
	if _, err := os.Stat(up); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no script that starts Slurm beside the checkout")
	}
	for _, tool := range []string{"sbatch", "scontrol", "slurmctld", "slurmd", "munged"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = tool
		}
	}
	if os.Getuid() != 0 {
		missing = "root's rights, which slurmd wants,"
	}
	if missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: the readings are judged by Debian's Slurm", missing)
		}
		t.Skipf("%s is missing: scripts/need slurm", missing)
	}
	if dir, err = os.MkdirTemp("/tmp", "sluice-slurm-"); err != nil { // sockets have short names
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "up.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	t.Cleanup(func() { stopSlurm(t, dir) })
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	start := exec.CommandContext(ctx, "bash", up, dir, "4")
	start.Stdout, start.Stderr = log, log
	if err := start.Run(); err != nil {
		b, _ := os.ReadFile(log.Name())
		t.Fatalf("Slurm did not start: %v\n%s", err, b)
	}
	return dir, func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "SLURM_CONF="+filepath.Join(dir, "slurm.conf"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

// stopSlurm kills what was started in dir, by the numbers it left there.
func stopSlurm(t *testing.T, dir string) {
	t.Helper()
	files, _ := filepath.Glob(dir + "/*run/*.pid")
	for _, f := range files {
		b, err := os.ReadFile(f)
		pid, err2 := strconv.Atoi(strings.TrimSpace(string(b)))
		if line, err3 := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err != nil || err2 != nil || err3 != nil ||
			!bytes.Contains(line, []byte("slurm")) && !bytes.Contains(line, []byte("munged")) {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("killing %s: %v", f, err)
		}
	}
	_ = os.RemoveAll(dir)
}

// asSlurm writes what we read as scontrol does.
func asSlurm(t *testing.T, task *compute.Task, id string) map[string]string {
	t.Helper()
	b := task.Batch
	m := map[string]string{
		"JobName": task.Name, "NumNodes": strconv.Itoa(task.NumNodes), "NumTasks": strconv.Itoa(b.Tasks), "CPUs/Task": strconv.Itoa(b.CPUsPerTask),
		"NumCPUs": strconv.Itoa(b.Tasks * b.CPUsPerTask), "Requeue": "1", "Dependency": "(null)", "TimeLimit": "UNLIMITED", "MinMemory": "0",
		"MinTmpDiskNode": strconv.FormatFloat(task.Resources.DiskGB, 'g', 4, 64) + "G", "GPUs": strconv.Itoa(task.Resources.GPUs),
	}
	if task.Resources.DiskGB == 0 {
		m["MinTmpDiskNode"] = "0"
	}
	if task.NoRequeue {
		m["Requeue"] = "0"
	}
	if d := task.TimeLimit; d > 0 {
		m["TimeLimit"] = fmt.Sprintf("%02d:%02d:00", int(d.Hours())%24, int(d.Minutes())%60)
		if d >= 24*time.Hour {
			m["TimeLimit"] = fmt.Sprintf("%d-%s", int(d.Hours())/24, m["TimeLimit"])
		}
	}
	if n := b.MemPerNodeMB + b.MemPerCPUMB; n > 0 {
		m["MinMemory"] = fmt.Sprintf("%dM", n)
		if n%1024 == 0 {
			m["MinMemory"] = fmt.Sprintf("%dG", n/1024)
		}
		if n%(1<<20) == 0 {
			m["MinMemory"] = fmt.Sprintf("%dT", n>>20)
		}
	}
	var after []string
	between := ","
	for _, d := range task.After {
		text := d.Kind
		if len(d.Jobs) > 0 {
			text += ":" + strings.TrimLeft(strings.TrimPrefix(d.Jobs[0], "j-"), "0")
		}
		if d.Delay > 0 {
			text += fmt.Sprintf("+%d", int(d.Delay.Minutes()))
		}
		if d.Any {
			between = "?"
		}
		after = append(after, text)
	}
	if len(after) > 0 {
		m["Dependency"] = strings.Join(after, between)
	}
	if a := task.Array; a != nil {
		m["Array"] = fmt.Sprint(a.Indexes)
		m["ArrayTaskThrottle"] = strconv.Itoa(a.Most)
	}
	word, err := pattern(task.Output)
	if err != nil {
		t.Fatal(err)
	}
	echo := exec.CommandContext(t.Context(), "sh", "-c", "echo "+word)
	echo.Env = []string{"SLURM_JOB_ID=" + id, "SLURM_JOB_NAME=" + task.Name, "PATH=" + os.Getenv("PATH"), "SLURM_JOB_USER=root"}
	out, err := echo.Output()
	if err != nil {
		t.Fatal(err)
	}
	m["StdOut"] = strings.TrimSpace(string(out))
	return m
}

var field = regexp.MustCompile(`(\S+?)=(\S*)`)

// fromSlurm reads what scontrol says of a job, in asSlurm's words.
func fromSlurm(show, dir string, nodes int) map[string]string {
	m := map[string]string{"MinMemory": "0", "GPUs": "0"}
	for _, f := range field.FindAllStringSubmatch(show, -1) {
		name, value := f[1], f[2]
		switch {
		case name == "NumNodes":
			value, _, _ = strings.Cut(value, "-")
		case strings.HasPrefix(name, "MinMemory"):
			name = "MinMemory"
		case name == "Dependency":
			value = strings.ReplaceAll(value, "(unfulfilled)", "")
		case name == "StdOut":
			value = strings.TrimPrefix(value, dir+"/")
		case name == "ArrayTaskId":
			name = "Array"
			a, err := arrayOf(value)
			if err == nil {
				value = fmt.Sprint(a.Indexes)
			}
		case strings.HasPrefix(name, "TresPer"):
			parts := strings.Split(value, ":")
			n, err := strconv.Atoi(parts[len(parts)-1])
			if err != nil {
				n = 1
			}
			if name == "TresPerJob" {
				n /= nodes
			}
			name, value = "GPUs", strconv.Itoa(n)
		}
		m[name] = value
	}
	return m
}

// Debian's Slurm judges what we read of scripts: what it resolves, we resolve the
// same; what it refuses, we refuse.
func TestAgainstSlurm(t *testing.T) {
	dir, run := slurm(t)
	submit := func(lines string) (string, error) {
		file := filepath.Join(dir, "s.sh")
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"+lines+"\nhostname\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := run("sbatch", "--hold", file)
		return strings.TrimSpace(out[strings.LastIndex(out, " ")+1:]), err
	}
	for range 2 { // jobs 1 and 2, for dependencies
		if _, err := submit("#SBATCH -J first"); err != nil {
			t.Fatal(err)
		}
	}
	compared := 0
	for _, lines := range []string{
		"", "-n3 -N2", "-n1 -N4", "-n 5 -c 2", "--ntasks=2 --cpus-per-task 3 --mem-per-cpu=2G", "-N2-3 --ntasks-per-node 2 -c2", "--ntasks-per-node=2 -n6",
		"--ntasks-per-node=2", "-N1-1", "-c4", "-n2 -n3",
		"--mem=1500M", "--mem=4GB", "--mem=2048", "--mem=1T", "--mem=0", "--mem-per-cpu=1G -c2", "--tmp=5G",
		"--gres=gpu", "--gres=gpu:2", "--gres=gpu:h100:2", "--gres=gpu:h100", "--gpus-per-node=h100:2", "-G4 -N2", "--gpus=2", "--gpus=h100:2",
		"-t 90", "-t 1-2", "-t 1-2:3", "-t 1-2:3:4", "-t 1:2:3", "-t 5:30", "-t 0", "-t UNLIMITED", "-t 1:60:60", "-t 1-", "--time 0:30", "-t 2-0",
		"-a 1-7:2%2", "-a 1,3,5-6", "-a 0-10:3", "--array=5", "-a 3,1,2,2", "-a 0-3%1",
		"-d afterok:1", "-d after:1+5", "-d afterany:1?afternotok:2", "-d singleton", "-d afterok:1:2,afterany:1", "-d 1",
		"-d afterok:1,afterany:1?singleton", "--dependency=afternotok:2,aftercorr:1",
		"--no-requeue", "--requeue", "--no-requeue --requeue", "-o x-%j_%x.out", "--output=a.txt",
		"--signal=B:USR1@120", "--signal=10", "--signal=R:SIGTERM", "--signal USR2@30",
		"-J name # --mem=9", "--job-name=a#b", `"--job-name=quoted" '--mem=2G'`, `-Jx\-y`, "--ntasks-per-nod=2", "--comment='a b' -n2", "-n2 --comment=\"#\" -c2",
		"-n2\n##SBATCH -n3\n# a comment\n\n#SBATCH -c2\nhostname\n#SBATCH -n4", "-n2\n  #SBATCH -n3", "-n2\n#SBATCH\t-c3\n#SBATCH --mem=1G",
		// These are mistakes.
		"foo", "-n x", "-n2 foo", "--nope=1", "--mem=1.5G", "-N 3-2", "-t 1:2:3:4", "-t x", "-a 1-", "-a 3-1", "-a x", "--signal=FOO", "-d 1:2", "-d aftr:1",
		"--mem=1G --mem-per-cpu=1G", "--mem", "-c",
	} {
		id, refused := submit("#SBATCH " + lines)
		task, err := Parse([]byte("#!/bin/sh\n#SBATCH "+lines+"\nhostname\n"), Options{File: "s.sh"})
		if (refused != nil) != (err != nil) {
			t.Errorf("%q: Slurm says %v (%s), we say %v", lines, refused, id, err)
		}
		if refused != nil || err != nil {
			continue
		}
		show, err := run("scontrol", "show", "job", "-o", id)
		if err != nil {
			t.Fatal(show, err)
		}
		show, _, _ = strings.Cut(strings.TrimSpace(show), "\n")
		ours, theirs := asSlurm(t, task, id), fromSlurm(show, dir, task.NumNodes)
		for name, want := range ours {
			switch got := theirs[name]; {
			case name == "StdOut" && task.Array != nil: // it shows a number for none
			case name == "NumNodes" && !strings.Contains(lines, "-N") && !strings.Contains(lines, "per-nod"): // a guess, until it runs
			case name == "NumCPUs" && task.Resources.CPUs != float64(task.Batch.TasksPerNode*task.Batch.CPUsPerTask):
			case name == "ArrayTaskThrottle" && want == "0" && got == "":
			case got != want:
				t.Errorf("%q: %s is %q to Slurm, %q to us", lines, name, got, want)
			}
			compared++
		}
	}
	if compared < 500 {
		t.Errorf("only %d values were compared", compared)
	}
	t.Logf("%d values compared", compared)
}

// A file of a pattern has the name that it has under Slurm.
func TestOutputAsUnderSlurm(t *testing.T) {
	dir, run := slurm(t)
	for _, name := range []string{"%j", "%5j-%x", "%%j", "100%%-%j", "%2a_%A", "%N.%n.%t", "%u-%J", "%0j"} {
		script := "#!/bin/sh\n#SBATCH --mem=100 -J named -o 'out-" + name + ".log'\necho hi\n"
		file := filepath.Join(dir, "job.sh")
		if err := os.WriteFile(file, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := run("sbatch", "--wait", "--parsable", file)
		if err != nil {
			t.Fatal(err, out)
		}
		id, err := strconv.Atoi(strings.TrimSpace(out))
		if err != nil {
			t.Fatal(err)
		}
		task, err := Parse([]byte(script), Options{File: "job.sh"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		here := t.TempDir()
		machine, err := os.Hostname() // all of this Slurm's nodes are on it
		if err != nil {
			t.Fatal(err)
		}
		facts := compute.BatchFacts{Nodes: []string{machine}, JobID: fmt.Sprintf("j-%06d", id), Name: "named", Dir: here, User: "root"}
		if _, err := runTask(t, task, facts); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		theirs, _ := filepath.Glob(dir + "/out-*")
		ours, _ := filepath.Glob(here + "/out-*")
		if len(theirs) != 1 || len(ours) != 1 || filepath.Base(theirs[0]) != filepath.Base(ours[0]) {
			t.Errorf("%s: %v under Slurm, %v here", name, theirs, ours)
		}
		for _, f := range theirs {
			_ = os.Remove(f)
		}
	}
}

// The same scripts, run by Slurm and by us, print the same.
func TestRunsAsUnderSlurm(t *testing.T) {
	dir, run := slurm(t)
	const vars = "env | grep -E '^SLURM_(NTASKS|NPROCS|JOB_NUM_NODES|NNODES|CPUS_PER_TASK|TASKS_PER_NODE|NTASKS_PER_NODE|MEM_PER_NODE|MEM_PER_CPU|" +
		"JOB_CPUS_PER_NODE|NODEID|PROCID|LOCALID|JOB_NAME|ARRAY_TASK_.*|GPUS_ON_NODE|CPUS_ON_NODE)=' | sort\n"
	for name, script := range map[string]string{
		"variables": "#!/bin/bash\n#SBATCH -n2 -c2 --ntasks-per-node=2 --mem=2G -J vars\n" + vars,
		"one node":  "#!/bin/sh\n#SBATCH -n2 -c2 --mem=100\n" + vars,
		"by cpu":    "#!/bin/sh\n#SBATCH -c3 --mem-per-cpu=500 --gres=gpu:2\n" + vars,
		"array":     "#!/bin/sh\n#SBATCH -a 2-6:4 --mem=10\n[ $SLURM_ARRAY_TASK_ID = 6 ] || exit 0\n" + vars,
		"srun":      "#!/bin/sh\n#SBATCH -n3 --mem=100\nsrun sh -c 'echo $SLURM_PROCID $SLURM_LOCALID $SLURM_NTASKS $SLURM_NODEID' | sort\nsrun -n1 echo one\nsrun -n2 false; echo $?\n",
		"python":    "#!/usr/bin/env python3\n#SBATCH --mem=100 -J snake\nimport os, sys\nprint(os.environ['SLURM_JOB_NAME'], os.path.basename(sys.argv[0]) != '')\n",
		"hostnames": "#!/bin/sh\n#SBATCH -N1 --mem=100\nscontrol show hostnames $SLURM_JOB_NODELIST | wc -l\n",
		"stdin":     "#!/bin/sh\n#SBATCH --mem=100\ncat; echo \"$0\" | grep -c script\n",
	} {
		file := filepath.Join(dir, "job.sh")
		if err := os.WriteFile(file, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := run("sbatch", "--wait", file)
		if err != nil {
			t.Errorf("%s: %v %s", name, err, out)
			continue
		}
		written, _ := filepath.Glob(dir + "/slurm-*.out")
		want := ""
		for _, w := range written {
			b, err := os.ReadFile(w)
			if err != nil {
				t.Fatal(err)
			}
			want += string(b)
			_ = os.Remove(w)
		}
		task, err := Parse([]byte(script), Options{File: "job.sh"})
		if err != nil {
			t.Fatal(err)
		}
		if a := task.Array; a != nil {
			task.ArrayTask = a.Task("j-000042", len(a.Indexes)-1)
		}
		got, err := runTask(t, task, compute.BatchFacts{Nodes: []string{"g1"}, JobID: "j-000042", Name: task.Name, Dir: t.TempDir()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// What Slurm leaves out where the script did not ask for it, we may set.
		theirs := strings.Split(strings.TrimSpace(want), "\n")
		ours := slices.DeleteFunc(strings.Split(strings.TrimSpace(got), "\n"), func(l string) bool {
			k, _, isVar := strings.Cut(l, "=")
			return isVar && !strings.Contains(want, k+"=")
		})
		theirs = slices.DeleteFunc(theirs, func(l string) bool { return strings.HasPrefix(l, "srun: ") })
		if !slices.Equal(ours, theirs) {
			t.Errorf("%s:\nunder Slurm\n%s\nhere\n%s", name, strings.Join(theirs, "\n"), strings.Join(ours, "\n"))
		}
	}
}
