package process

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice/compute"
)

// cgroup is the folders that hold the processes of one run: one in version 2,
// one for each controller in version 1. With none it does nothing.
type cgroup struct{ dirs []string }

// newCgroup makes the folders and sets the limits, and says what is limited.
func newCgroup(s shimSpec) (*cgroup, string) {
	if s.Cgroups == "" {
		return &cgroup{}, "not limited"
	}
	sum := sha256.Sum256([]byte(s.Log + "\x00" + s.RunID)) // two sites on one machine have the same run names
	name := fmt.Sprintf("%s-%x", s.RunID, sum[:4])
	var done, failed []string
	limit := func(what string, err error) {
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", what, reason(err)))
		} else {
			done = append(done, what)
		}
	}
	cpu := fmt.Sprintf("%g CPUs", s.CPUs)
	if s.CPUs == 1 {
		cpu = "1 CPU"
	}
	mem := fmt.Sprintf("%.3g GiB of memory", float64(s.Memory)/(1<<30))
	if s.Memory < 1<<30 {
		mem = fmt.Sprintf("%.3g MiB of memory", float64(s.Memory)/(1<<20))
	}
	g := &cgroup{}
	if exists(s.Cgroups, "cgroup.controllers") {
		dir, err := g.makeV2(s.Cgroups, name)
		if s.CPUs > 0 {
			limit(cpu, errors.Join(err, write(dir, "cpu.max", fmt.Sprintf("%d 100000", int64(s.CPUs*100_000)))))
		}
		if s.Memory > 0 {
			limit(mem, errors.Join(err, write(dir, "memory.max", strconv.FormatInt(s.Memory, 10))))
			_ = write(dir, "memory.swap.max", "0")  // absent without swap
			_ = write(dir, "memory.oom.group", "1") // all of it dies, not some part
		}
	} else {
		_, _ = g.makeV1(filepath.Join(s.Cgroups, "cpuacct"), name)
		_, _ = g.makeV1(filepath.Join(s.Cgroups, "pids"), name)
		dir, err := g.makeV1(filepath.Join(s.Cgroups, "cpu"), name)
		if s.CPUs > 0 {
			limit(cpu, errors.Join(err, write(dir, "cpu.cfs_period_us", "100000"),
				write(dir, "cpu.cfs_quota_us", strconv.FormatInt(int64(s.CPUs*100_000), 10))))
		}
		dir, err = g.makeV1(filepath.Join(s.Cgroups, "memory"), name)
		if s.Memory > 0 {
			b := strconv.FormatInt(s.Memory, 10)
			limit(mem, errors.Join(err, write(dir, "memory.limit_in_bytes", b)))
			_ = write(dir, "memory.memsw.limit_in_bytes", b) // absent without swap
		}
	}
	text := "not limited"
	if len(done) > 0 {
		text = "limited to " + strings.Join(done, " and ")
	}
	if len(failed) > 0 {
		text += "; cannot limit to " + strings.Join(failed, ", ")
	}
	return g, text
}

func reason(err error) string {
	var p *os.PathError
	if errors.Is(err, os.ErrNotExist) {
		return "the controller is not there"
	}
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// makeV1 makes the folder of one controller.
func (g *cgroup) makeV1(root, name string) (string, error) {
	if !exists(root, "cgroup.procs") {
		return "", fmt.Errorf("no cgroup controller %s here", filepath.Base(root))
	}
	dir := filepath.Join(root, "sluice", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	g.dirs = append(g.dirs, dir)
	return dir, nil
}

// makeV2 makes the folder at the root where we may, else beside our own, where
// a systemd user may. Which controllers are there shows when limits are set.
func (g *cgroup) makeV2(root, name string) (string, error) {
	parents := []string{root}
	if b, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		for line := range strings.Lines(string(b)) {
			if own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && own != "/" {
				parents = append(parents, filepath.Join(root, filepath.Dir(own)))
			}
		}
	}
	var errs []error
	for _, p := range parents {
		base := filepath.Join(p, "sluice")
		dir := filepath.Join(base, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, c := range []string{"+cpu", "+memory", "+pids"} { // one by one: one may be missing
			_ = write(p, "cgroup.subtree_control", c)
			_ = write(base, "cgroup.subtree_control", c)
		}
		g.dirs = append(g.dirs, dir)
		return dir, nil
	}
	return "", errors.Join(errs...)
}

func write(dir, name, value string) error {
	if dir == "" {
		return nil // why there is none was said before
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// add puts a process into all folders.
func (g *cgroup) add(pid int) error {
	var errs []error
	for _, d := range g.dirs {
		errs = append(errs, write(d, "cgroup.procs", strconv.Itoa(pid)))
	}
	return errors.Join(errs...)
}

func (g *cgroup) pids() []int {
	var out []int
	for _, d := range g.dirs {
		b, err := os.ReadFile(filepath.Join(d, "cgroup.procs"))
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			if p, err := strconv.Atoi(f); err == nil && p > 0 {
				out = append(out, p)
			}
		}
	}
	return out
}

// kill kills everything in the group once.
func (g *cgroup) kill() {
	for _, d := range g.dirs {
		_ = write(d, "cgroup.kill", "1") // version 2 only: all at once
	}
	for _, p := range g.pids() {
		_ = unix.Kill(p, unix.SIGKILL)
	}
}

// remove removes the empty folders. The kernel may take a moment to let go of
// the last process.
func (g *cgroup) remove() {
	for _, d := range g.dirs {
		for range 50 {
			if err := unix.Rmdir(d); err == nil || !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// number returns the value of a key in a file of the group, or of the whole file
// for an empty key; 0 where there is none.
func (g *cgroup) number(file, key string) int64 {
	for _, d := range g.dirs {
		b, err := os.ReadFile(filepath.Join(d, file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) == 2 && f[0] == key || len(f) == 1 && key == "" {
				n, _ := strconv.ParseInt(f[len(f)-1], 10, 64)
				return n
			}
		}
	}
	return 0
}

// oomKilled says whether the kernel killed something for want of memory.
func (g *cgroup) oomKilled() bool {
	return g.number("memory.events", "oom_kill")+g.number("memory.oom_control", "oom_kill") > 0
}

// usage returns CPU seconds and peak memory; of the descendants of pid where the
// group does not count.
func (g *cgroup) usage(pid int) compute.Usage {
	u := compute.Usage{
		CPUSec:  float64(g.number("cpuacct.usage", ""))/1e9 + float64(g.number("cpu.stat", "usage_usec"))/1e6,
		MemPeak: g.number("memory.max_usage_in_bytes", "") + g.number("memory.peak", ""),
	}
	if u.CPUSec == 0 && pid != 0 {
		u.CPUSec = cpuOf(pid)
	}
	return u
}
