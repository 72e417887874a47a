package docker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"sluice"
	"sluice/compute"
)

// cdiSpec is what we read of a CDI description: which devices there are, and
// which nodes each brings.
type cdiSpec struct {
	Kind    string `yaml:"kind"`
	Devices []struct {
		Name  string `yaml:"name"`
		Edits struct {
			Nodes []struct {
				Path string `yaml:"path"`
			} `yaml:"deviceNodes"`
		} `yaml:"containerEdits"`
	} `yaml:"devices"`
}

// parseCDI reads a CDI description, in JSON or YAML, and returns the nodes of
// each device by its full name, such as nvidia.com/gpu=0.
func parseCDI(b []byte) (map[string][]string, error) {
	var s cdiSpec
	if err := yaml.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, d := range s.Devices {
		nodes := []string{}
		for _, n := range d.Edits.Nodes {
			if filepath.IsAbs(n.Path) && !strings.ContainsAny(n.Path, "\n\x00") {
				nodes = append(nodes, n.Path)
			}
		}
		out[s.Kind+"="+d.Name] = nodes
	}
	return out, nil
}

// gpus returns the CDI names of the GPUs and the device nodes that have to be in
// the container then. Podman says nothing of a device that it does not find.
func (x *Executor) gpus(indexes []int) (names, nodes []string, err error) {
	if len(indexes) == 0 {
		return nil, nil, nil
	}
	if x.cfg.Holds != nil {
		if indexes, err = x.cfg.Holds.Numbers(indexes); err != nil {
			return nil, nil, err
		}
	}
	known := map[string][]string{}
	for _, dir := range x.cfg.CDIDirs {
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range files {
			if ext := filepath.Ext(f); ext != ".json" && ext != ".yaml" {
				continue
			}
			info, err := os.Stat(f)
			if err != nil || info.Size() > 16<<20 {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil {
				continue
			}
			devices, err := parseCDI(b)
			if err != nil {
				return nil, nil, sluice.Errorf(sluice.Invalid, "make it again: nvidia-ctk cdi generate --output="+f, "read the CDI description %s: %v", f, err)
			}
			for name, n := range devices {
				known[name] = n
			}
		}
	}
	for _, i := range indexes {
		name := fmt.Sprintf("%s=%d", x.cfg.GPUs, i)
		n, ok := known[name]
		if !ok || len(n) == 0 {
			return nil, nil, sluice.Errorf(sluice.Invalid, "make one: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
				"no CDI description in %s has the device %s", strings.Join(x.cfg.CDIDirs, " or "), name)
		}
		names, nodes = append(names, name), append(nodes, n...)
	}
	return names, nodes, nil
}

// verify checks of a started container what engines are known to leave out.
func (e *engine) verify(r run, s state, cfg Config) error {
	if r.Isolation != compute.IsolationSandbox || e.podman {
		return nil // a Podman service has one runtime: see can
	}
	if s.runtime != cfg.SandboxRuntime {
		return sluice.Errorf(sluice.Unavailable, "", "the engine has started it with %q and not in the sandbox %s", s.runtime, cfg.SandboxRuntime)
	}
	return nil
}
