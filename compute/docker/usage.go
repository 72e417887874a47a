package docker

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"sluice/compute"
)

func numCPU() int { return runtime.NumCPU() }

// counters is what the kernel has counted of a container.
type counters struct {
	compute.Usage
	oomKills int64
}

// sample reads the counters of a container that runs on this machine. They are
// read of the kernel, not of the engine, which takes a hundred times as long.
func (s state) sample() compute.Usage {
	if s.pid == 0 {
		return compute.Usage{}
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", s.pid))
	if err != nil {
		return compute.Usage{}
	}
	var text strings.Builder
	for _, f := range counterFiles(string(b)) {
		if b, err := os.ReadFile(f); err == nil {
			fmt.Fprintf(&text, "# %s\n%s\n", f, b)
		}
	}
	return parseCounters(text.String()).Usage
}

// counterFiles returns where the counters of the cgroups of /proc/PID/cgroup are.
func counterFiles(text string) []string {
	const root = "/sys/fs/cgroup"
	var out []string
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 || path.Clean(f[2]) == "/" || strings.HasPrefix(f[2], "/..") {
			continue // not a group of its own, or not below what we see
		}
		for c := range strings.SplitSeq(f[1], ",") {
			switch c {
			case "":
				dir := filepath.Join(root, f[2])
				out = append(out, filepath.Join(dir, "cpu.stat"), filepath.Join(dir, "memory.current"), filepath.Join(dir, "memory.peak"))
			case "cpuacct":
				out = append(out, filepath.Join(root, c, f[2], "cpuacct.usage"))
			case "memory":
				out = append(out, filepath.Join(root, c, f[2], "memory.max_usage_in_bytes"))
			}
		}
	}
	return out
}

// parseCounters reads files of a cgroup, each after a line "# NAME". What is no
// number counts as none.
func parseCounters(text string) counters {
	var out counters
	file := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "# "); ok {
			file = path.Base(name)
			continue
		}
		key, value, ok := strings.Cut(line, " ")
		if !ok {
			key, value = "", line
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			continue
		}
		switch {
		case file == "cpuacct.usage" && key == "":
			out.CPUSec = max(out.CPUSec, float64(n)/1e9)
		case file == "cpu.stat" && key == "usage_usec":
			out.CPUSec = max(out.CPUSec, float64(n)/1e6)
		case (file == "memory.max_usage_in_bytes" || file == "memory.peak" || file == "memory.current") && key == "":
			out.MemPeak = max(out.MemPeak, n)
		case (file == "memory.oom_control" || file == "memory.events") && key == "oom_kill":
			out.oomKills = max(out.oomKills, n)
		}
	}
	return out
}
