package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// An sbatch script runs as it is: its tasks, its array, its files and its secrets.
func TestSbatch(t *testing.T) {
	t.Parallel()
	s := up(t, demoArgs(t.TempDir())...)
	dir := t.TempDir()
	script := filepath.Join(dir, "train")
	text := `#!/bin/bash
#SBATCH -J train -n2 --mem=100M --chdir=.
#SBATCH --array=3,5 --output=out-%a.txt
read -r word <word
srun sh -c 'echo "$SLURM_ARRAY_TASK_ID: task $SLURM_PROCID of $SLURM_NTASKS says '"$word"'"' | sort
`
	for name, content := range map[string]string{script: text, filepath.Join(dir, "word"): "hello\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := must(t, s.on("job", "check", script, "--expect", "1h")...); !strings.Contains(out, "an sbatch script") || !strings.Contains(out, "2 CPUs, 100 MB") {
		t.Errorf("checked:\n%s", out)
	}
	id := regexp.MustCompile(`j-(\d+)`).FindStringSubmatch(must(t, s.on("job", "submit", script)...))
	if id == nil {
		t.Fatal("no job was made")
	}
	for i, index := range []int{3, 5} {
		var n int
		if _, err := fmt.Sscan(strings.TrimLeft(id[1], "0"), &n); err != nil {
			t.Fatal(err)
		}
		job := fmt.Sprintf("j-%06d", n+i)
		eventually(t, 2*time.Minute, func() error {
			if out := must(t, s.on("job", "show", job)...); !strings.Contains(out, "succeeded") {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
		want := fmt.Sprintf("%d: task 0 of 2 says hello\n%d: task 1 of 2 says hello\n", index, index)
		if log := must(t, s.on("job", "logs", job)...); !strings.Contains(log, want) {
			t.Errorf("%s printed\n%s", job, log)
		}
	}
}
