package sluice_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// mayImport holds, for each package of this module, what else of the module its
// code (tests aside) may import. A path that ends in /… stands for all below it.
// ARCHITECTURE.md says why.
var mayImport = map[string][]string{
	".":         {},
	"dispatch":  {"."},
	"ledger":    {"."},
	"device":    {"."},
	"feed":      {"."},
	"compute":   {".", "compute/elastic", "compute/placement"},
	"config":    {".", "feed"},
	"site":      {".", "compute", "compute/elastic", "device", "dispatch", "feed", "ledger"},
	"history":   {".", "feed"},
	"forecast":  {".", "forecast/boost"},
	"report":    {"."},
	"pivot":     {".", "dispatch", "history", "report"},
	"backtest":  {".", "compute", "device", "dispatch", "feed", "forecast", "history", "ledger", "report", "sim/hosts", "site"},
	"store":     {".", "compute", "fabric", "compute/tenant", "ledger", "site"},
	"server":    {".", "compute", "compute/tenant", "ledger", "site"},
	"telemetry": {".", "site"},
	"ui":        {},
	"sim":       {".", "device"},
	"e2e":       {}, // drives the binary from outside

	// Drivers, feeds and executors know their contract and nothing of each other;
	// device/cgminer is the wire that two dialects share, device/mapfile reads the
	// files that describe meters and PDUs, broker is the connection that MQTT's
	// readings and orders share.
	"broker":   {".", "device"},
	"device/…": {".", "broker", "device", "device/cgminer", "device/mapfile"},
	// Dialects are data; hooks.go lists the drivers in Go that some of them need.
	"device/dialect": {".", "device", "device/antminer", "device/cgminer", "device/luxos", "device/whatsminer"},
	// The GPUs of a host. nvml is the inside of the probe, a program of its own.
	"device/gpu":         {"."},
	"device/gpu/nvml":    {"device/gpu"},
	"device/gpu/gputest": {"device/gpu"},
	"cmd/gpuprobe":       {"device/gpu/nvml"},
	"feed/…":             {".", "broker", "feed"},
	"forecast/…":         {}, // a learner of numbers: it knows nothing of prices
	"compute/…":          {".", "compute"},
	"compute/agent":      {".", "compute", "fabric", "fabric/tree"},
	"compute/remote":     {".", "compute", "fabric", "fabric/tree"},
	"fabric":             {".", "compute", "fabric/tree"},
	"fabric/tree":        {"."},
	"compute/elastic":    {"."}, // it is pure: samples and jobs in, caps out
	"compute/idle":       {"."},
	"compute/placement":  {"."}, // what is free and what is asked: it knows nothing of jobs
	"sim/hosts":          {".", "compute", "compute/elastic"},
	"sim/replay":         {".", "feed"},
	"examples/…":         {},
	"cmd/sluice":         {"…"}, // the only place that names concrete ones
}

// outside holds which packages may import from outside the module and the
// standard library.
var outside = map[string][]string{
	"broker":            {"github.com/eclipse/paho.mqtt.golang"},
	"cmd/sluice":        {"github.com/spf13/cobra", "github.com/goccy/go-yaml", "github.com/mattn/go-isatty", "github.com/google/uuid", "github.com/prometheus/client_golang"},
	"compute":           {"golang.org/x/sys"},
	"compute/jobfile":   {"github.com/goccy/go-yaml"},
	"compute/docker":    {"github.com/moby/moby", "github.com/containerd/errdefs", "github.com/goccy/go-yaml", "github.com/google/nftables", "golang.org/x/sys"},
	"compute/process":   {"golang.org/x/sys"},
	"config":            {"github.com/goccy/go-yaml"},
	"compute/agent":     {"golang.org/x/sys"},
	"compute/remote":    {"golang.org/x/sys"},
	"fabric":            {"github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go", "golang.org/x/crypto/bcrypt", "golang.org/x/sys", "golang.org/x/time"},
	"fabric/tree":       {"golang.org/x/sys"},
	"device/devicetest": {"github.com/GehirnInc/crypt"},
	"device/dialect":    {"github.com/goccy/go-yaml"},
	"device/gpu":        {"golang.org/x/sys"},
	"device/gpu/nvml":   {"github.com/ebitengine/purego"},
	"device/scan":       {"golang.org/x/time"},
	"device/modbus":     {"github.com/simonvetter/modbus"},
	"device/snmp":       {"github.com/gosnmp/gosnmp"},
	"device/mapfile":    {"github.com/goccy/go-yaml"},
	"device/whatsminer": {"github.com/GehirnInc/crypt"},
	"sim":               {"github.com/GehirnInc/crypt", "github.com/simonvetter/modbus", "golang.org/x/sys"},
	"server":            {"github.com/danielgtaylor/huma/v2", "github.com/prometheus/client_golang"},
	"store":             {"modernc.org/sqlite", "github.com/pressly/goose/v3"},
	"telemetry": {
		"github.com/prometheus/prometheus", "github.com/prometheus/client_golang", "github.com/prometheus/client_model",
		"github.com/prometheus/common", "github.com/json-iterator/go", "golang.org/x/sys",
	},
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Standard", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		checkImports(t, inside(p.ImportPath), p.Imports)
	}
	if seen < 20 {
		t.Fatalf("go list shows %d packages: the test sees too little", seen)
	}
}

func checkImports(t *testing.T, pkg string, imports []string) {
	t.Helper()
	rule, ok := mayImport[pkg]
	for dir := pkg; !ok && strings.Contains(dir, "/"); {
		dir = path.Dir(dir)
		rule, ok = mayImport[dir+"/…"]
	}
	if !ok {
		t.Errorf("%s has no rule: add it to mayImport, and to ARCHITECTURE.md where it is a new idea", pkg)
	}
	for _, imp := range imports {
		switch {
		case imp == "sluice" || strings.HasPrefix(imp, "sluice/"):
			if !slices.Contains(rule, "…") && !slices.Contains(rule, inside(imp)) {
				t.Errorf("%s imports %s: it may import %v only", pkg, imp, rule)
			}
		case strings.Contains(strings.SplitN(imp, "/", 2)[0], "."):
			if !slices.ContainsFunc(outside[pkg], func(p string) bool { return imp == p || strings.HasPrefix(imp, p+"/") }) {
				t.Errorf("%s imports %s: a new dependency has to be agreed, in the table of imports_test.go", pkg, imp)
			}
		}
	}
}

// inside is the path within the module.
func inside(p string) string {
	if p == "sluice" {
		return "."
	}
	return strings.TrimPrefix(p, "sluice/")
}
