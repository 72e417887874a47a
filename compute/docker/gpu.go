package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

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

// takeGPUs gives the run its GPUs. Its devices come by CDI: NVIDIA's older hook, which
// goes by a variable that images set, is told to give none.
func (x *Executor) takeGPUs(ctx context.Context, dir string, spec compute.RunSpec) (compute.RunSpec, error) {
	spec, err := x.gpus.Take(ctx, dir, spec)
	if x.cfg.GPUs != nil {
		spec.Env = append(spec.Env, "NVIDIA_VISIBLE_DEVICES=void")
	}
	return spec, err
}

// Cap limits the power of the run's GPUs.
func (x *Executor) Cap(ctx context.Context, h compute.Handle, share float64) (float64, error) {
	dir, err := dirOf(h)
	if err != nil {
		return 1, err
	}
	return x.gpus.Cap(ctx, compute.Handle(dir), share)
}

// RecoverGPUs takes back the GPUs of runs that are over and restores their power
// limits. Call it once at a start, before runs begin. A run of which the engine says
// nothing yet keeps its GPUs, limited as they are, until somebody waits for it.
func (x *Executor) RecoverGPUs(ctx context.Context) error {
	return x.gpus.Recover(func(dir string) (time.Time, bool) {
		if e, err := readExit(dir); err == nil {
			return e.At, true
		}
		r, err := readRun(dir)
		if errors.Is(err, os.ErrNotExist) || err == nil && !exists(dir, startedFile) {
			return time.Now(), true // it has never been started
		} else if err != nil {
			return time.Time{}, false
		}
		e, err := x.engine(ctx, r.Isolation)
		if err != nil {
			return time.Time{}, false
		}
		s, err := e.state(ctx, r.Container)
		switch {
		case err != nil || s.running || s.created: // the engine may be about to start it
			return time.Time{}, false
		case !s.found || s.finished.Before(s.started):
			return time.Now(), true
		}
		return s.finished, true
	})
}

// cdiNames returns what CDI may call the GPUs of a run, the better first: by UUID,
// which no restart of the driver changes, then by the driver's index.
func (x *Executor) cdiNames(dir string, indexes []int) ([][]string, error) {
	var out [][]string
	if x.cfg.GPUs == nil {
		for _, i := range indexes {
			out = append(out, []string{fmt.Sprintf("%s=%d", x.cfg.GPUKind, i)})
		}
		return out, nil
	}
	held := x.cfg.GPUs.Names(dir)
	if len(held) != len(indexes) {
		return nil, sluice.Errorf(sluice.Internal, "", "it holds %d GPUs of %d", len(held), len(indexes))
	}
	for _, g := range held {
		out = append(out, []string{x.cfg.GPUKind + "=" + g.UUID, fmt.Sprintf("%s=%d", x.cfg.GPUKind, g.Index)})
	}
	return out, nil
}

// devices returns the CDI names of the run's GPUs and the device nodes that have to be
// in the container then. Podman says nothing of a device that it does not find.
func (x *Executor) devices(dir string, indexes []int) (names, nodes []string, err error) {
	if len(indexes) == 0 {
		return nil, nil, nil
	}
	wanted, err := x.cdiNames(dir, indexes)
	if err != nil {
		return nil, nil, err
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
	for _, called := range wanted {
		i := slices.IndexFunc(called, func(name string) bool { return len(known[name]) > 0 })
		if i < 0 {
			return nil, nil, sluice.Errorf(sluice.Invalid, "make one: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
				"no CDI description in %s has the device %s", strings.Join(x.cfg.CDIDirs, " or "), strings.Join(called, " or "))
		}
		names, nodes = append(names, called[i]), append(nodes, known[called[i]]...)
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
