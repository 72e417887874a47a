package docker

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sluice/compute"
)

// plan is the container that a run gets, in no engine's words.
type plan struct {
	name    string
	image   string // its id: what was looked at is what runs
	env     []string
	labels  map[string]string
	argv    []string
	workDir string
	binds   []compute.RunMount
	tmpfs   map[string]int64 // folder to bytes
	shm     int64
	memory  int64
	cpus    float64
	pids    int64
	files   uint64 // open at once
	base    int    // host id of its root; 0: the engine's own map
	network string
	address netip.Addr // on it; not valid: any
	devices []string   // CDI names
	runtime string
	logPath string
	logMax  int64
}

// Where the container has what it is given.
const (
	atBox    = "/run/sluice/box"
	atOut    = "/run/sluice/out"
	atSecret = "/run/sluice/secret"
)

func (x *Executor) plan(e *engine, dir string, r run, spec compute.RunSpec, img image, devices, nodes []string) plan {
	p := plan{
		name: r.Container, image: img.id, labels: map[string]string{"sluice.run": r.RunID, "sluice.job": spec.JobID, "sluice.dir": dir},
		argv: []string{"/bin/sh", atBox + "/init.sh", r.Signal, strings.Join(nodes, "\n"), link(spec)}, workDir: spec.WorkDir,
		memory: r.Memory, cpus: r.CPUs, pids: int64(spec.PidsLimit), files: 65536,
		shm: x.cfg.SharedMemory, tmpfs: map[string]int64{"/tmp": x.cfg.TempSize, "/var/tmp": x.cfg.TempSize, "/run": 16 << 20},
		devices: devices, logPath: filepath.Join(dir, engineLog), logMax: 2*r.LogLimit + 1<<20,
	}
	if p.pids == 0 {
		p.pids = int64(x.cfg.PidsLimit)
	}
	if half := r.Memory / 2; half > 0 {
		p.shm = min(p.shm, half)
		p.tmpfs["/tmp"], p.tmpfs["/var/tmp"] = min(x.cfg.TempSize, half), min(x.cfg.TempSize, half)
	}
	// An engine cannot give more than it has, and without CAP_SYS_RESOURCE that is
	// what this machine's processes get.
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil {
		p.files = min(p.files, lim.Max)
	}
	if e.podman && e.root {
		p.base = x.cfg.UIDBase
	}
	if r.Isolation == compute.IsolationSandbox && !e.podman {
		p.runtime = x.cfg.SandboxRuntime
	}
	p.network = x.network(e, spec)
	if spec.Gang != nil {
		p.address = spec.Gang.Address
	}
	// The image knows where its programs are; the host's search path means nothing
	// in there, unless the task itself has set it.
	hasPath := slices.ContainsFunc(img.env, func(kv string) bool { return strings.HasPrefix(kv, "PATH=") })
	_, own := spec.Task.Envs["PATH"]
	for _, kv := range spec.Env {
		if !strings.HasPrefix(kv, "PATH=") || !hasPath || own {
			p.env = append(p.env, kv)
		}
	}
	p.binds = []compute.RunMount{
		{Source: filepath.Join(dir, boxDir), Target: atBox, ReadOnly: true},
		{Source: filepath.Join(dir, outDir), Target: atOut},
	}
	if r.Secrets != "" {
		p.binds = append(p.binds, compute.RunMount{Source: r.Secrets, Target: atSecret})
	}
	// The job's folders are where they are on the host, so that what names them
	// need not be translated.
	for _, d := range r.Folders {
		p.binds = append(p.binds, compute.RunMount{Source: d, Target: d})
	}
	if r.Control != "" {
		p.binds = append(p.binds, compute.RunMount{Source: filepath.Join(dir, controlDir), Target: filepath.Dir(r.Control), ReadOnly: true})
	}
	for _, m := range spec.Mounts {
		m.Source, m.Target = filepath.Clean(m.Source), target(spec, m.Target)
		p.binds = append(p.binds, m)
	}
	// A parent is mounted before what is in it.
	slices.SortStableFunc(p.binds, func(a, b compute.RunMount) int { return strings.Compare(a.Target, b.Target) })
	if p.workDir == "" {
		p.workDir = "/tmp"
	}
	return p
}

// slirp is Podman's network of programs that no other container reaches.
const slirp = "slirp4netns"

// network is what the engine connects the run to, "" where the operator has to
// name a network first.
func (x *Executor) network(e *engine, spec compute.RunSpec) string {
	switch {
	case !networked(spec):
		return "none"
	case spec.Gang != nil:
		return spec.Gang.Network
	case x.cfg.Network == "" && e.podman:
		return slirp
	}
	return x.cfg.Network
}

// link tells a container's first process what it has to see of a network before it
// goes on.
func link(spec compute.RunSpec) string {
	switch {
	case filtered(spec):
		return "filtered"
	case networked(spec):
		return "open"
	}
	return ""
}

// target is where a mount is in the container: below the working folder, which is
// also the home, unless it says otherwise.
func target(spec compute.RunSpec, t string) string {
	t, home := strings.CutPrefix(t, "~")
	if filepath.IsAbs(t) && !home {
		return filepath.Clean(t)
	}
	return filepath.Join(spec.WorkDir, filepath.Clean("/"+t))
}
