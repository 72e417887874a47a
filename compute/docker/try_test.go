package docker_test

import (
	"os"
	"path/filepath"
	"testing"

	"sluice"
	"sluice/compute"
)

// An engine is tried before jobs are: what is wrong with it is told, and it passes
// once that is mended.
func TestTry(t *testing.T) {
	t.Parallel()
	service(t, "runc") // or skip
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho 'cgroups in hybrid mode not supported' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := startPodman(broken)
	t.Cleanup(p.close)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(p)
	cfg.SecretDir += "-try"
	x := newExecutor(t, cfg)
	const box = compute.IsolationContainer
	wantKind(t, x.Try(t.Context(), box, compute.EgressNone), sluice.Unavailable, `put runtime = "runc" under [engine]`)
	p.stop()
	wantKind(t, x.Try(t.Context(), box, compute.EgressNone), sluice.Unavailable, "does not answer")
	wantKind(t, x.Answers(t.Context(), box), sluice.Unavailable, "does not answer")
	p.runtime = "runc"
	if err := p.serve(); err != nil {
		t.Fatal(err)
	}
	for _, e := range []compute.Egress{compute.EgressNone, compute.EgressInternet} {
		if err := x.Try(t.Context(), box, e); err != nil {
			t.Errorf("%s: %v", e, err)
		}
	}
	if err := x.Answers(t.Context(), box); err != nil {
		t.Error(err)
	}
	wantKind(t, x.Try(t.Context(), compute.IsolationSandbox, compute.EgressNone), sluice.Invalid, "no sandbox")
	cfg.Image = "localhost/no/such:1"
	wantKind(t, newExecutor(t, cfg).Try(t.Context(), box, compute.EgressNone), sluice.Invalid, "is not on this host")
	if names, err := p.containers(); err != nil || len(names) > 0 {
		t.Errorf("left: %v, %v", names, err)
	}
}
