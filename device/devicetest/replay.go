package devicetest

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/device"
)

// Replay answers the commands of the cgminer API with recorded bytes, over a
// real socket, until the test ends. A command joined with plus is answered only
// where it is in the recording as such, otherwise refused, as old firmware does.
func Replay(t *testing.T, replies map[string][]byte) device.Address {
	t.Helper()
	return Serve(t, func(command, _ string) []byte {
		if b, ok := replies[command]; ok {
			return b
		}
		return []byte(`{"STATUS":[{"STATUS":"E","Code":14,"Msg":"Invalid command"}],"id":1}`)
	})
}

// Serve answers each command with what answer returns; nil closes the
// connection without a reply.
func Serve(t *testing.T, answer func(command, parameter string) []byte) device.Address {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				var q struct{ Command, Parameter string }
				if json.NewDecoder(c).Decode(&q) == nil {
					_, _ = c.Write(answer(q.Command, q.Parameter))
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.Atoi(port)
	return device.Address{Host: "127.0.0.1", APIPort: n, WebPort: n}
}

// Recordings returns the *.json files of a folder of recorded payloads by name
// without the extension. See Shared for where they are.
func Recordings(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for name, b := range Shared(t, "devices/payloads/"+folder+"/*.json") {
		out[strings.TrimSuffix(name, ".json")] = b
	}
	return out
}

// Shared returns the files that match the pattern under ../shared from the
// repository's root, by base name. The folder holds recorded data of other
// projects; it may be absent on a user's machine, but not in CI.
func Shared(t *testing.T, pattern string) map[string][]byte {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("no go.mod above the test")
		}
		root = filepath.Dir(root)
	}
	pattern = filepath.Join(filepath.Dir(root), "shared", filepath.FromSlash(pattern))
	files, _ := filepath.Glob(pattern)
	if len(files) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no %s", pattern)
		}
		t.Skipf("no %s", pattern)
	}
	out := map[string][]byte{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(name)] = b
	}
	return out
}
