package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const rssUnit = 1024 // ru_maxrss is in KiB here

func newSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// jobSession: a session of its own, and death with its keeper.
func jobSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// adopt makes us the parent of every orphan below us: a job cannot leave us by
// forking twice.
func adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// startOf returns what, with its pid, names a process for ever: the boot and
// the clock tick of its start.
func startOf(pid int) (string, error) {
	f, err := statFields(pid)
	if err != nil {
		return "", err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(boot)) + "/" + f[19], nil // field 22 of proc(5), starttime
}

// statFields returns the fields of /proc/PID/stat from the third on (state).
func statFields(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	// The name, in parentheses, may hold anything.
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 20 {
		return nil, errors.New("unexpected form of /proc/PID/stat")
	}
	return f, nil
}

func pids() []int {
	names, _ := filepath.Glob("/proc/[0-9]*")
	out := make([]int, 0, len(names))
	for _, n := range names {
		if p, err := strconv.Atoi(filepath.Base(n)); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// descendants returns all processes below pid that are not zombies.
func descendants(pid int) []int {
	children := map[int][]int{}
	dead := map[int]bool{}
	for _, p := range pids() {
		if f, err := statFields(p); err == nil {
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], p)
			dead[p] = f[0] == "Z" || f[0] == "X"
		}
	}
	var out []int
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		for _, c := range children[todo[0]] {
			todo = append(todo, c)
			if !dead[c] {
				out = append(out, c)
			}
		}
	}
	return out
}

// marker is in the environment of every process of a run, so that they are
// found when their keeper is dead and nothing else leads to them.
func marker(dir string) string { return "SLUICE_RUN_DIR=" + dir }

// environOf returns the environment that a process was started with; nil without
// an error where the system does not show it.
func environOf(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00"), nil
}

// left returns the processes of a run whose keeper is dead.
func left(dir string, k keeper) []int {
	seen := map[int]bool{}
	for _, p := range k.group().pids() {
		seen[p] = true
	}
	want := []byte(marker(dir))
	for _, p := range pids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p))
		if err != nil {
			continue
		}
		for v := range bytes.SplitSeq(b, []byte{0}) {
			if bytes.Equal(v, want) {
				seen[p] = true
			}
		}
	}
	var out []int
	for p := range seen {
		if f, err := statFields(p); err == nil && f[0] != "Z" && f[0] != "X" {
			out = append(out, p)
		}
	}
	return out
}

// killLeft kills what is left of a run until nothing is.
func killLeft(dir string, k keeper) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		k.group().kill()
		ps := left(dir, k)
		if len(ps) == 0 {
			k.group().remove()
			return nil
		}
		for _, p := range ps {
			_ = unix.Kill(p, unix.SIGKILL)
		}
		<-tick.C
	}
	return fmt.Errorf("processes %v do not die", left(dir, k))
}

// cpuOf sums the CPU time of a process' descendants, with what they waited for.
func cpuOf(pid int) float64 {
	const ticks = 100 // USER_HZ is 100 on every Linux that Go runs on
	sum := 0.0
	for _, p := range descendants(pid) {
		if f, err := statFields(p); err == nil {
			for _, v := range f[11:15] { // utime, stime, cutime, cstime
				n, _ := strconv.ParseFloat(v, 64)
				sum += n / ticks
			}
		}
	}
	return sum
}
