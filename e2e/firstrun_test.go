package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What goes wrong at the first run is one clear line and exit status 2, and
// nothing has happened.
func TestFirstRunErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	const head = "nodes:\n  - {name: grid, limit: 1MW}\n"
	good := write("good.yaml", "site: {name: mine}\n"+head)
	bad := write("bad.yaml", "site: {name: mine, mode: contorl}\n"+head)
	broken := write("broken.yaml", "site: {name: mine\n")
	plain := write("file", "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	data := filepath.Join(dir, "data")

	for name, c := range map[string]struct {
		args []string
		say  []string
	}{
		"port in use":         {[]string{"--demo", "--data", data, "--listen", taken}, []string{taken, "in use", "--listen"}},
		"port in use, real":   {[]string{"--config", good, "--data", data, "--listen", taken}, []string{taken, "in use"}},
		"no folder":           {[]string{"--demo", "--listen", "127.0.0.1:0", "--data", filepath.Join(plain, "data")}, []string{plain}},
		"no folder, real":     {[]string{"--config", good, "--listen", "127.0.0.1:0", "--data", filepath.Join(plain, "data")}, []string{plain}},
		"folder is a file":    {[]string{"--demo", "--listen", "127.0.0.1:0", "--data", plain}, []string{plain}},
		"bad config":          {[]string{"--config", bad, "--data", data}, []string{bad + ":1:", "contorl", "control"}},
		"broken config":       {[]string{"--config", broken, "--data", data}, []string{broken + ":"}},
		"no config":           {[]string{"--config", filepath.Join(dir, "none.yaml")}, []string{"none.yaml"}},
		"neither":             {nil, []string{"--demo", "--config"}},
		"both":                {[]string{"--demo", "--config", good}, []string{"--demo", "--config"}},
		"speed":               {[]string{"--demo", "--speed", "0"}, []string{"--speed"}},
		"start outside":       {[]string{"--demo", "--data", data, "--listen", "127.0.0.1:0", "--start", "2020-01-01T00:00:00Z"}, []string{"--start", "2023-08"}},
		"start is none":       {[]string{"--demo", "--data", data, "--listen", "127.0.0.1:0", "--start", "soon"}, []string{"--start", "soon"}},
		"start of a real one": {[]string{"--config", good, "--start", "2023-08-20T00:00:00Z"}, []string{"--start"}},
		"open to all":         {[]string{"--demo", "--data", data, "--listen", "0.0.0.0:0"}, []string{"--token-file"}},
		"no address":          {[]string{"--demo", "--data", data, "--listen", "8420"}, []string{"8420", "host:port"}},
		"unknown flag":        {[]string{"--dmeo"}, []string{"--dmeo"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, append([]string{"up"}, c.args...)...)
			if r.status != 2 || strings.Count(r.err, "\n") != 1 || r.out != "" {
				t.Errorf("status %d, stdout %q, stderr\n%s", r.status, r.out, r.err)
			}
			for _, s := range c.say {
				if !strings.Contains(r.err, s) {
					t.Errorf("%q is not in %q", s, r.err)
				}
			}
		})
	}
}

// A demo never mixes with a real site, nor two processes in one folder.
func TestFoldersDoNotMix(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(config, []byte("site: {name: mine}\nnodes:\n  - {name: grid, limit: 1MW}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	demo, real := filepath.Join(dir, "demo"), filepath.Join(dir, "real")
	asDemo := func(data string) []string { return demoArgs(data) }
	asReal := func(data string) []string {
		return []string{"--config", config, "--data", data, "--listen", "127.0.0.1:0"}
	}
	refused := func(why string, args []string, say string) {
		t.Helper()
		r := run(t, append([]string{"up"}, args...)...)
		if r.status != 2 || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, say) {
			t.Errorf("%s: status %d\n%s", why, r.status, r.err)
		}
	}
	s := up(t, asDemo(demo)...)
	if !strings.Contains(s.out.String(), "DEMO") {
		t.Errorf("the banner does not say that it is a demo:\n%s", s.out.String())
	}
	if st, err := s.site(); err != nil || !st.Demo {
		t.Errorf("the API does not say that it is a demo: %+v, %v", st, err)
	}
	refused("a second one in the folder", asDemo(demo), "in use")
	if status := s.stop(t, patience); status != 0 {
		t.Errorf("Ctrl-C: status %d", status)
	}
	refused("a demo's folder as a real site", asReal(demo), "demo")

	s = up(t, asReal(real)...)
	if st, err := s.site(); err != nil || st.Demo || strings.Contains(s.out.String(), "DEMO") {
		t.Errorf("a real site passes for a demo: %+v, %v\n%s", st, err, s.out.String())
	}
	if status := s.stop(t, patience); status != 0 {
		t.Errorf("Ctrl-C: status %d", status)
	}
	refused("a real site's folder as a demo", asDemo(real), "real site")
}
