//go:build !linux

package process

import (
	"fmt"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"sluice/compute"
)

// On macOS a run is its keeper and its process group: there are no cgroups, no
// adoption of orphans and no look into environments, so a process that leaves
// its group outlives the run.

const rssUnit = 1 // ru_maxrss is in bytes here

func newSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
func jobSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
func adopt() error                     { return nil }
func marker(dir string) string         { return "SLUICE_RUN_DIR=" + dir }

func environOf(int) ([]string, error) { return nil, nil }

func startOf(pid int) (string, error) {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return "", fmt.Errorf("start of process %d: %w", pid, err)
	}
	t := p.Proc.P_starttime
	return strconv.FormatInt(int64(t.Sec), 10) + "." + strconv.Itoa(int(t.Usec)), nil
}

// descendants returns the children and theirs.
func descendants(pid int) []int {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, p := range all {
		children[int(p.Eproc.Ppid)] = append(children[int(p.Eproc.Ppid)], int(p.Proc.P_pid))
	}
	var out []int
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		out = append(out, children[todo[0]]...)
		todo = append(todo, children[todo[0]]...)
	}
	return out
}

// killLeft kills the job's process group while its leader lives.
func killLeft(_ string, k keeper) error {
	if start, err := startOf(k.Job); k.Job > 0 && err == nil && start == k.JobStart {
		_ = unix.Kill(-k.Job, unix.SIGKILL)
	}
	return nil
}

type cgroup struct{ dirs []string }

func newCgroup(shimSpec) (*cgroup, string) {
	return &cgroup{}, "not limited: this system has no cgroups"
}
func (g *cgroup) add(int) error           { return nil }
func (g *cgroup) kill()                   {}
func (g *cgroup) remove()                 {}
func (g *cgroup) oomKilled() bool         { return false }
func (g *cgroup) usage(int) compute.Usage { return compute.Usage{} }
