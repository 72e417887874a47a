package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// HostFacts reads what there is to say of this machine. dir is the agent's data
// folder, whose disk counts.
func HostFacts(name, version, dir string) Facts {
	f := Facts{Name: name, Version: version, OS: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	f.MemoryBytes, _ = memory()
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) == nil {
		f.DiskBytes = int64(s.Bavail) * s.Bsize //nolint:gosec // bytes of a disk
	}
	return f
}

// Host measures the machine: CPU, memory, disk and, where the processor tells it,
// the power of its packages.
type Host struct {
	dir  string
	proc string
	rapl string

	mu    sync.Mutex
	busy  float64 // CPU seconds
	total float64
	joule map[string]float64 // by RAPL zone
	at    time.Time
}

// NewHost measures this machine, and the disk of the folder.
func NewHost(dir string) *Host { return &Host{dir: dir, proc: "/proc", rapl: "/sys/class/powercap"} }

// Readings returns what is known; rates need a second call.
func (h *Host) Readings(context.Context) ([]Reading, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	var out []Reading
	add := func(name, unit string, v float64) {
		out = append(out, Reading{Name: name, Unit: unit, Value: v, At: now.UTC()})
	}
	busy, total, err := cpuTimes(filepath.Join(h.proc, "stat"))
	if err == nil {
		if d := total - h.total; h.total > 0 && d > 0 {
			add("cpu_busy", "1", (busy-h.busy)/d)
		}
		h.busy, h.total = busy, total
	}
	if all, free := memory(); all > 0 {
		add("memory_total", "bytes", float64(all))
		add("memory_used", "bytes", float64(all-free))
	}
	var s unix.Statfs_t
	if unix.Statfs(h.dir, &s) == nil {
		add("disk_free", "bytes", float64(s.Bavail)*float64(s.Bsize))
	}
	joule := h.joules()
	var watts float64
	for zone, j := range joule {
		if before, ok := h.joule[zone]; ok && j >= before { // else the counter has begun anew
			watts += (j - before) / max(now.Sub(h.at).Seconds(), 1e-3)
		}
	}
	if watts > 0 {
		add("cpu_power", "W", watts)
	}
	h.joule, h.at = joule, now
	return out, err
}

// joules reads the energy counters of the processor's packages.
func (h *Host) joules() map[string]float64 {
	out := map[string]float64{}
	zones, _ := filepath.Glob(filepath.Join(h.rapl, "intel-rapl:*"))
	for _, z := range zones {
		if strings.Count(filepath.Base(z), ":") != 1 {
			continue // a part of a package
		}
		b, err := os.ReadFile(filepath.Join(z, "energy_uj"))
		if err != nil {
			continue
		}
		if v, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64); err == nil {
			out[z] = v / 1e6
		}
	}
	return out
}

// cpuTimes reads the ticks in which the machine's CPUs were busy, and all.
func cpuTimes(file string) (busy, total float64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0, fmt.Errorf("read the CPU's use: %w", err)
	}
	defer f.Close()
	r := bufio.NewScanner(f)
	if !r.Scan() {
		return 0, 0, errors.New("read the CPU's use: nothing there")
	}
	return parseCPU(r.Text())
}

func parseCPU(line string) (busy, total float64, err error) {
	fields := strings.Fields(line)
	if len(fields) < 5 || fields[0] != "cpu" {
		return 0, 0, errors.New("read the CPU's use: not understood")
	}
	for i, s := range fields[1:min(len(fields), 9)] { // guests are counted in user already
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read the CPU's use: %w", err)
		}
		total += v
		if i != 3 && i != 4 { // idle, and waiting for a disk
			busy += v
		}
	}
	return busy, total, nil
}

// memory returns the machine's memory and what of it is free, in bytes.
func memory() (all, free int64) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for r := bufio.NewScanner(f); r.Scan(); {
		var kb int64
		if _, err := fmt.Sscanf(r.Text(), "MemTotal: %d kB", &kb); err == nil {
			all = kb << 10
		}
		if _, err := fmt.Sscanf(r.Text(), "MemAvailable: %d kB", &kb); err == nil {
			free = kb << 10
		}
	}
	return all, free
}
