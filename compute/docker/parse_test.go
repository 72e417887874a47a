package docker

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// record writes output as an engine does: in pieces, in either form.
func record(rt *rapid.T, output []byte, k8s bool) []byte {
	var b bytes.Buffer
	for len(output) > 0 {
		n := rapid.IntRange(1, len(output)).Draw(rt, "piece")
		if i := bytes.IndexByte(output[:n], '\n'); i >= 0 {
			n = i + 1
		}
		text := output[:n]
		output = output[n:]
		if k8s {
			flag := "P"
			if bytes.HasSuffix(text, []byte{'\n'}) {
				flag, text = "F", text[:n-1]
			}
			b.WriteString("2026-01-02T03:04:05.678901234+00:00 stdout " + flag + " " + string(text) + "\n")
		} else {
			line, err := json.Marshal(map[string]string{"log": string(text), "stream": "stdout", "time": "2026-01-02T03:04:05.678901234Z"})
			if err != nil {
				rt.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
	}
	return b.Bytes()
}

// Whatever the output, wherever the engine cut it, whenever the one that carried
// it was killed: the log has each byte once.
func TestCarrier(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		k8s := rapid.Bool().Draw(rt, "k8s")
		letters := `[a-c \x{e9}\r\n]`
		if !k8s {
			letters = `[a-c \r\n"]` // JSON holds no half of a letter: Docker itself loses those
		}
		output := []byte(rapid.StringMatching(`(`+letters+`|\n\n){0,200}`).Draw(rt, "output"))
		engine := record(rt, output, k8s)
		src, dst := filepath.Join(dir, "engine.log"), filepath.Join(dir, "log")
		before := "before\n"
		if err := os.WriteFile(dst, []byte(before), 0o600); err != nil {
			rt.Fatal(err)
		}
		r := run{Log: dst, LogStart: int64(len(before)), LogLimit: 1 << 20}
		written := 0
		for written < len(engine) {
			written += rapid.IntRange(1, len(engine)-written).Draw(rt, "written")
			if err := os.WriteFile(src, engine[:written], 0o600); err != nil {
				rt.Fatal(err)
			}
			// Each carrier is a new one, as after a kill.
			c, err := openCarrier(dir, r, src)
			if err != nil {
				rt.Fatal(err)
			}
			for more := true; more; {
				if more, err = c.pump(); err != nil {
					rt.Fatal(err)
				}
			}
			if cut := rapid.IntRange(0, 3).Draw(rt, "cut"); cut > 0 { // the last write was not complete
				info, err := os.Stat(dst)
				if err != nil {
					rt.Fatal(err)
				}
				if err := os.Truncate(dst, max(int64(len(before)), info.Size()-int64(cut))); err != nil {
					rt.Fatal(err)
				}
			}
			c.close()
		}
		c, err := openCarrier(dir, r, src)
		if os.IsNotExist(err) {
			return // no output at all
		} else if err != nil {
			rt.Fatal(err)
		}
		defer c.close()
		if _, err := c.pump(); err != nil {
			rt.Fatal(err)
		}
		got, err := os.ReadFile(dst)
		if err != nil {
			rt.Fatal(err)
		}
		if len(output) > 0 && string(got) != before+string(output) {
			rt.Fatalf("log %q, want %q", got, before+string(output))
		}
		_ = os.Remove(src)
	})
}

func FuzzPiece(f *testing.F) {
	f.Add([]byte("2026-11-29T19:12:07.674192270+00:00 stdout F hello"))
	f.Add([]byte("2026-11-29T19:12:07.674192270+00:00 stdout P "))
	f.Add([]byte(`{"log":"hello\n","stream":"stdout","time":"2026-11-29T19:12:07.674192270Z"}`))
	f.Add([]byte(`{"log":`))
	f.Fuzz(func(t *testing.T, line []byte) {
		got := piece(line)
		if len(got) > 6*len(line)+1 { // JSON's escapes shrink, bad UTF-8 grows
			t.Fatalf("%d bytes of %d", len(got), len(line))
		}
	})
}

func FuzzCounters(f *testing.F) {
	f.Add("# cpuacct/cpuacct.usage\n123456789\n# memory/memory.oom_control\noom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
	f.Add("# cpu.stat\nusage_usec 1000\n# memory.peak\n4096\n# memory.events\noom_kill 1\n")
	f.Add("# x\n-1\nusage_usec -5")
	f.Fuzz(func(t *testing.T, text string) {
		if c := parseCounters(text); c.CPUSec < 0 || c.MemPeak < 0 || c.oomKills < 0 {
			t.Fatalf("%+v", c)
		}
		for _, file := range counterFiles(text) {
			if !strings.HasPrefix(file, "/sys/fs/cgroup/") || strings.Contains(file, "/../") {
				t.Fatalf("reads %q", file)
			}
		}
	})
}

func TestCounters(t *testing.T) {
	c := parseCounters("# cpuacct/cpuacct.usage\n1500000000\n# memory/memory.max_usage_in_bytes\n4096\n# memory/memory.oom_control\noom_kill_disable 0\noom_kill 2\n")
	if c.CPUSec != 1.5 || c.MemPeak != 4096 || c.oomKills != 2 {
		t.Errorf("version 1: %+v", c)
	}
	c = parseCounters("# cpu.stat\nusage_usec 2500000\nuser_usec 1\n# memory.peak\n8192\n# memory.events\nlow 0\noom 3\noom_kill 1\n")
	if c.CPUSec != 2.5 || c.MemPeak != 8192 || c.oomKills != 1 {
		t.Errorf("version 2: %+v", c)
	}
	got := strings.Join(counterFiles("9:name=systemd:/x\n4:memory:/libpod_parent/libpod-1\n2:cpu,cpuacct:/libpod_parent/libpod-1\n0::/\n"), " ")
	if got != "/sys/fs/cgroup/memory/libpod_parent/libpod-1/memory.max_usage_in_bytes /sys/fs/cgroup/cpuacct/libpod_parent/libpod-1/cpuacct.usage" {
		t.Errorf("version 1: %s", got)
	}
	got = strings.Join(counterFiles("0::/machine.slice/libpod-1\n"), " ")
	if got != "/sys/fs/cgroup/machine.slice/libpod-1/cpu.stat /sys/fs/cgroup/machine.slice/libpod-1/memory.current /sys/fs/cgroup/machine.slice/libpod-1/memory.peak" {
		t.Errorf("version 2: %s", got)
	}
}

func FuzzCDI(f *testing.F) {
	f.Add([]byte(`{"cdiVersion":"0.3.0","kind":"nvidia.com/gpu","devices":[{"name":"0","containerEdits":{"deviceNodes":[{"path":"/dev/nvidia0"}]}}]}`))
	f.Add([]byte("kind: nvidia.com/gpu\ndevices:\n- name: all\n  containerEdits:\n    deviceNodes:\n    - path: relative\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		devices, err := parseCDI(b)
		if err != nil {
			return
		}
		for _, nodes := range devices {
			for _, n := range nodes {
				if !filepath.IsAbs(n) || strings.Contains(n, "\n") {
					t.Fatalf("node %q", n)
				}
			}
		}
	})
}

func FuzzACL(f *testing.F) {
	f.Add(formatACL([]aclEntry{{aclOwner, 7, aclNobody}, {aclGroup, 0, aclNobody}, {aclOther, 0, aclNobody}}))
	f.Add([]byte{2, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseACL(b)
		if err != nil {
			return
		}
		got := addUser(list, 42)
		again, err := parseACL(formatACL(got))
		if err != nil || len(again) != len(got) {
			t.Fatalf("%v: %v, %v", got, again, err)
		}
		n := 0
		for _, e := range got {
			if e.tag == aclUser && e.id == 42 {
				n++
				if e.perm&aclPass == 0 {
					t.Fatalf("%v does not let it through", got)
				}
			}
		}
		if n == 0 {
			t.Fatalf("%v has no entry", got)
		}
	})
}

// A folder of the owner's alone lets one user pass through, and nobody else read.
func TestLetThrough(t *testing.T) {
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also where there is a list already
		if err := letThrough(filepath.Join(closed, "work"), 12345); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skipf("no access control lists here: %v", err)
		}
	}
	info, err := os.Stat(closed)
	if err != nil || info.Mode().Perm() != 0o710 { // the group's bits show the mask
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Nothing that the engine is told has a secret or is weaker than it should be, and
// what Docker is told is no weaker than what Podman is.
func TestPlans(t *testing.T) {
	p := plan{name: "n", image: "i", argv: []string{"/bin/sh"}, binds: nil, tmpfs: map[string]int64{"/tmp": 1}, memory: 100, cpus: 0.5, pids: 7, files: 9, base: 1 << 20, network: "none", devices: []string{"v/c=1"}}
	d, s := p.dockerOptions(), p.podmanSpec()
	h := d.HostConfig
	if !h.ReadonlyRootfs || !s.ReadOnly || strings.Join(h.CapDrop, "") != "ALL" || strings.Join(s.CapDrop, "") != "ALL" ||
		strings.Join(h.SecurityOpt, "") != "no-new-privileges" || !s.NoNewPriv || h.NetworkMode != "none" || s.NetNS.Mode != "none" || h.Privileged {
		t.Errorf("docker %+v\npodman %+v", h, s)
	}
	if h.Memory != 100 || h.MemorySwap != 100 || h.NanoCPUs != 500_000_000 || *h.PidsLimit != 7 || s.Resources.Memory.Limit != 100 || s.Resources.CPU.Quota != 50_000 || s.Resources.Pids.Limit != 7 {
		t.Errorf("docker %+v\npodman %+v", h.Resources, s.Resources)
	}
	if s.IDMappings == nil || s.IDMappings.UIDMap[0].Host != 1<<20 || len(h.DeviceRequests) != 1 || h.DeviceRequests[0].Driver != "cdi" || s.Devices[0].Path != "v/c=1" {
		t.Errorf("docker %+v\npodman %+v", h.DeviceRequests, s)
	}
}
