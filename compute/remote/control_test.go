package remote_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/compute/remote"
)

// A run tells of a checkpoint by a call on its local socket: the checkpoint is at
// the site before the site hears of it, and the run gets the site's answer.
func TestTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "h1")
	w.join("h1", w.token("h1"))
	x := w.executor(remote.Config{})
	dir, err := os.MkdirTemp("", "c") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := w.spec("h1", `echo step 7 > $SLUICE_CHECKPOINT_DIR/step
`+pythonPost+` "$CONTROL" > answer; exec sleep 1000`)
	s.Control = filepath.Join(dir, "s")
	s.Env = append(s.Env, "CONTROL="+s.Control)
	l, err := net.Listen("unix", s.Control)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		home, _ := os.ReadFile(filepath.Join(s.CheckpointDir, "step"))
		heard <- r.Method + " " + r.URL.Path + " " + string(b) + " " + string(home)
		rw.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(rw, "noted")
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	h := begin(t, x, s)
	if got := <-heard; got != "POST /checkpoint n=7 step 7\n" {
		t.Fatalf("heard %q", got)
	}
	answer := filepath.Join(w.local(s, "work", s.WorkDir), "answer")
	w.until("the run has the answer", func() bool {
		b, _ := os.ReadFile(answer)
		return strings.TrimSpace(string(b)) == "202 noted"
	})
	if err := x.Stop(t.Context(), h, 0); err != nil {
		t.Fatal(err)
	}
}

const pythonPost = `/usr/bin/python3 -c '
import http.client, socket, sys
c = http.client.HTTPConnection("localhost")
c.sock = socket.socket(socket.AF_UNIX)
c.sock.connect(sys.argv[1])
c.request("POST", "/checkpoint", "n=7")
r = c.getresponse()
print(r.status, r.read().decode())
'`
