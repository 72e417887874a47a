package docker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/compute"
)

// The nodes of a gang reach each other and nobody else does; its network goes
// with its last node, and each line of their common log is there once.
func TestGang(t *testing.T) {
	t.Parallel()
	for _, e := range []compute.Egress{compute.EgressOpen, compute.EgressInternet} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			testGang(t, e)
		})
	}
}

func testGang(t *testing.T, egress compute.Egress) {
	p := service(t, "runc")
	x := newExecutor(t, config(p))
	dir := t.TempDir()
	node := func(job string, rank int, script string) compute.RunSpec {
		s := spec(t, dir, script)
		s.JobID, s.RunID, s.Rank, s.Nodes, s.Egress = job, fmt.Sprintf("%s-r1-n%d", job, rank), rank, 2, egress
		s.Dir, s.CheckpointDir = filepath.Join(dir, job, "runs", s.RunID), filepath.Join(dir, job, "checkpoint")
		s.Env[0] = "PATH=/bin:/usr/bin"
		s.Task.Envs = map[string]string{"PATH": "/bin:/usr/bin"}
		hostPrograms(&s)
		s.Log = filepath.Join(dir, job, "log")
		for _, d := range []string{filepath.Dir(s.Dir), s.CheckpointDir} {
			if err := os.MkdirAll(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	const serve = `python3 - <<'X' &
import socket
s = socket.create_server(("127.0.0.1", 29500)); c, _ = s.accept(); c.sendall(b"to whom it may concern"); c.close()
X
i=0; while [ $i -lt 300 ]; do echo "rank 0 line $i"; i=$((i+1)); done; wait; exit 0`
	const ask = `i=0; while [ $i -lt 300 ]; do echo "rank 1 line $i"; i=$((i+1)); done
python3 - <<'X' > got
import socket, sys, time
for i in range(int(sys.argv[1]) if len(sys.argv) > 1 else 600):
    try: print(socket.create_connection(("127.0.0.1", 29500), 5).recv(100).decode()); break
    except OSError: time.sleep(0.1)
X
exit 0`
	a, b := node("j-"+string(egress)+"-gang", 0, serve), node("j-"+string(egress)+"-gang", 1, ask)
	other := node("j-"+string(egress)+"-other", 0, strings.Replace(ask, "python3 -", "python3 - 20", 1))
	ho := startRun(t, x, other)
	ha, hb := startRun(t, x, a), startRun(t, newExecutor(t, config(p)), b)
	for _, h := range []compute.Handle{ho, ha, hb} {
		if e := waitRun(t, x, h); e.Code != 0 || e.Lost {
			t.Errorf("%s: exit %+v", h, e)
		}
	}
	if got := text(b, "got"); got != "to whom it may concern" {
		t.Errorf("rank 1 got %q", got)
	}
	if got := text(other, "got"); got != "" {
		t.Errorf("another job got %q", got)
	}
	log := logOf(a)
	for rank := range 2 {
		for i := range 300 {
			if n := strings.Count(log, fmt.Sprintf("rank %d line %d\n", rank, i)); n != 1 {
				t.Fatalf("line %d of rank %d is there %d times", i, rank, n)
			}
		}
	}
	names, err := p.containers()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.Contains(n, "net-j-"+string(egress)) {
			t.Errorf("left: %s", n)
		}
	}
}
