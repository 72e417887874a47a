package e2e_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// submit hands a task in, with the token of a file where one is given, and
// returns the job's ID.
func (s *server) submit(t testing.TB, tokenFile, task string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "task.yaml")
	if err := os.WriteFile(file, []byte(task), 0o600); err != nil {
		t.Fatal(err)
	}
	args := s.on("job", "submit", file)
	if tokenFile != "" {
		args = append(args, "--token-file", tokenFile)
	}
	out := must(t, args...)
	id := regexp.MustCompile(`j-\d+`).FindString(out)
	if id == "" {
		t.Fatalf("no job in %q", out)
	}
	return id
}

// Two clients of one site, by the commands of docs/tenants.md.
func TestClientsOfASite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := up(t, demoArgs(dir)...)
	tokens, secrets := map[string]string{}, []string{}
	for _, name := range []string{"acme", "bolt"} {
		must(t, s.on("tenant", "add", name, "--trusted", "--spend-limit", "500USD")...)
		secret := strings.TrimSpace(must(t, s.on("tenant", "token", name, "--name", "laptop", "--expires", "720h")...))
		tokens[name] = filepath.Join(t.TempDir(), name+".token")
		if err := os.WriteFile(tokens[name], []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, secret)
	}
	as := func(name string, args ...string) result {
		t.Helper()
		return run(t, append([]string{args[0], args[1], "--server", s.base, "--token-file", tokens[name]}, args[2:]...)...)
	}
	const plain = "plaintext-of-a-secret-5f1e0c"
	id := s.submit(t, tokens["acme"], `secrets:
  API_KEY: `+plain+`
run: |
  test "$API_KEY" = "plaintext-of-a"-secret-5f1e0c && echo told > told
  mkdir -p out; echo model > out/model.bin; ln -s out/model.bin latest
  echo 1 > "$SLUICE_CHECKPOINT_DIR/step"
  echo up; sleep 1000
`)
	eventually(t, 2*patience, func() error {
		if r := as("acme", "job", "logs", id); !strings.Contains(r.out, "up\n") {
			return fmt.Errorf("%s%s", r.out, r.err)
		}
		return nil
	})
	if r := as("acme", "job", "list"); r.status != 0 || strings.Count(r.out, "\n") != 2 || !strings.Contains(r.out, id) {
		t.Errorf("acme's jobs: %d\n%s%s", r.status, r.out, r.err)
	}
	if r := as("bolt", "job", "list"); r.status != 0 || strings.Contains(r.out, "j-") {
		t.Errorf("bolt's jobs: %d\n%s%s", r.status, r.out, r.err)
	}
	for _, args := range [][]string{
		{"job", "show", id},
		{"job", "logs", id},
		{"job", "cancel", id},
		{"job", "wipe", id},
		{"job", "why", id},
		{"job", "files", id},
		{"job", "download", id, "--to", filepath.Join(t.TempDir(), "x")},
		{"job", "exec", id, "--", "id"},
	} {
		if r := as("bolt", args...); r.status != 2 || !strings.Contains(r.err, "you have no job "+id) {
			t.Errorf("bolt: sluice %s: %d\n%s%s", strings.Join(args, " "), r.status, r.out, r.err)
		}
	}
	for _, args := range [][]string{{"machine", "list"}, {"tenant", "list"}, {"ledger", "balance"}, {"curtail", "list"}, {"vault", "rotate"}, {"job", "wipes"}} {
		if r := as("acme", args...); r.status != 2 || !strings.Contains(r.err, "only the operator") {
			t.Errorf("acme: sluice %s: %d\n%s%s", strings.Join(args, " "), r.status, r.out, r.err)
		}
	}
	if r := as("acme", "tenant", "show"); r.status != 0 || !strings.Contains(r.out, "$500.00") || !strings.Contains(r.out, "checkpoint") {
		t.Errorf("acme of itself: %d\n%s%s", r.status, r.out, r.err)
	}
	show := as("acme", "job", "show", id)
	for _, want := range []string{"acme", "cost so far", "energy", "at the limit", "checkpoint"} {
		if !strings.Contains(show.out, want) {
			t.Errorf("job show says nothing of %s:\n%s", want, show.out)
		}
	}

	// A secret reaches the job, and is nowhere else: in no file, no process list, no answer.
	if r := as("acme", "job", "exec", id, "--", "cat", "told"); r.out != "told\n" {
		t.Errorf("the secret did not reach the job: %q %s", r.out, r.err)
	}
	nowhere(t, dir, plain)
	for _, r := range []string{show.out, as("acme", "job", "show", id, "--json").out, as("acme", "job", "logs", id).out, s.process.out.String(), s.process.err.String()} {
		if strings.Contains(r, plain) {
			t.Errorf("an answer holds the secret:\n%s", r)
		}
	}
	cmds, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, c := range cmds {
		if b, err := os.ReadFile(c); err == nil && bytes.Contains(b, []byte(plain)) {
			t.Errorf("%s shows the secret: %q", c, b)
		}
	}
	must(t, s.on("vault", "rotate")...)

	if r := as("acme", "job", "exec", id, "--", "sh", "-c", `cat latest; exit 5`); r.status != 5 || r.out != "model\n" {
		t.Errorf("exec: %d, %q, %q", r.status, r.out, r.err)
	}
	to := filepath.Join(t.TempDir(), "got")
	if r := as("acme", "job", "download", id, "--to", to); r.status != 0 {
		t.Errorf("download: %d %s", r.status, r.err)
	}
	for _, p := range []string{"work/out/model.bin", "work/latest", "checkpoint/step"} {
		if b, err := os.ReadFile(filepath.Join(to, p)); len(b) == 0 {
			t.Errorf("%s: %q, %v", p, b, err)
		}
	}
	if r := as("acme", "job", "wipe", id); r.status != 2 || !strings.Contains(r.err, "cancel it first") {
		t.Errorf("wiping a job that runs: %d %s", r.status, r.err)
	}
	if r := as("acme", "job", "cancel", id); r.status != 0 {
		t.Errorf("cancel: %d %s", r.status, r.err)
	}
	eventually(t, patience, func() error {
		if r := as("acme", "job", "wipe", id); r.status != 0 || !strings.Contains(r.out, "by deletion") || !strings.Contains(r.out, "crypto-erase") {
			return fmt.Errorf("%s%s", r.out, r.err)
		}
		return nil
	})
	if _, err := os.Stat(filepath.Join(dir, "jobs", id)); err == nil {
		t.Error("its folder is still there")
	}
	if r := as("acme", "job", "show", id); !strings.Contains(r.out, "wiped") || !strings.Contains(r.out, "acme/laptop") {
		t.Errorf("job show after the wipe:\n%s", r.out)
	}
	if r := as("acme", "job", "logs", id); r.status != 2 || !strings.Contains(r.err, "the output of job "+id+" was wiped") {
		t.Errorf("job logs after the wipe: %d %s", r.status, r.err)
	}
	if out := must(t, s.on("job", "wipes")...); !strings.Contains(out, id) {
		t.Errorf("the record of wipes:\n%s", out)
	}

	list := must(t, s.on("tenant", "tokens", "acme")...)
	fields := strings.Fields(strings.Split(list, "\n")[1])
	must(t, s.on("tenant", "revoke", fields[0])...)
	if r := as("acme", "job", "list"); r.status != 2 || !strings.Contains(r.err, "revoked") {
		t.Errorf("with a revoked token: %d %s", r.status, r.err)
	}
	must(t, s.on("tenant", "disable", "bolt")...)
	if r := as("bolt", "job", "list"); r.status != 2 || !strings.Contains(r.err, "disabled") {
		t.Errorf("as a disabled tenant: %d %s", r.status, r.err)
	}
	if status := s.stop(t, patience); status != 0 {
		t.Errorf("the site ended with status %d", status)
	}
	// The tokens are nowhere in what the site keeps.
	for _, secret := range secrets {
		nowhere(t, dir, secret[len(secret)-30:])
	}
	nowhere(t, dir, plain)
}

// nowhere fails where a text stands in any file of a folder.
func nowhere(t testing.TB, dir, text string) {
	t.Helper()
	n := 0
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
			if b, _ := os.ReadFile(p); bytes.Contains(b, []byte(text)) {
				t.Errorf("%s holds %q", p, text)
			}
		}
		return nil
	})
	if n == 0 {
		t.Error("there are no files")
	}
}
