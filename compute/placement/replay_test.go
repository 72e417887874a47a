package placement

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
)

// trace returns the files of the openb trace, which stand beside the repository where
// it is built.
func trace(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", "openb", name)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// The published means over ten seeds (FGD 95.39 and 86.90, best-fit 93.08 and 85.01,
// random 87.47 and 79.44) are reached; one seed here, with what it may be off by.
func TestOpenb(t *testing.T) {
	hosts, err := ReadHosts(trace(t, "openb_node_list_gpu_node.csv.gz"))
	if err != nil || len(hosts) != 1213 {
		t.Fatalf("%d hosts, %v", len(hosts), err)
	}
	for list, want := range map[string]map[Policy]float64{
		"default": {Sluice: 95.45, BestFit: 93.1, Random: 87.5}, "gpushare100": {Sluice: 87.05, BestFit: 85.0, Random: 79.5},
	} {
		pods, err := ReadPods(trace(t, "openb_pod_list_"+list+".csv.gz"))
		if err != nil || len(pods) != 8152 {
			t.Fatalf("%d pods, %v", len(pods), err)
		}
		for by, mean := range want {
			r, err := Replay(t.Context(), hosts, pods, by, 1, nil)
			if err != nil || r.GPUs != 6212 || r.AskedPct < 130 || r.AskedPct > 130.2 {
				t.Fatalf("%+v, %v", r, err)
			}
			if r.GPUAllocatedPct < mean-0.7 || r.GPUAllocatedPct > mean+0.9 {
				t.Errorf("%s by %s: %.2f %% of GPU allocated, want about %.2f", list, by, r.GPUAllocatedPct, mean)
			}
		}
	}
}

func small() (hosts []Host, pods []Demand) {
	for i := range 6 {
		hosts = append(hosts, Host{Name: fmt.Sprint(i), CPUMilli: 32_000, MemMiB: 65_536, GPUs: []int{Whole, Whole, Whole, Whole}})
	}
	for i := range 40 {
		d := Demand{CPUMilli: int64(1000 * (i%5 + 1)), MemMiB: 2048, GPUs: 1, GPUMilli: []int{250, 500, 700, Whole}[i%4]}
		if i%10 == 9 {
			d.GPUs, d.GPUMilli = 2, Whole
		}
		pods = append(pods, d)
	}
	return hosts, pods
}

// The same seed gives the same cluster to the bit; the better policy more of it.
func TestReplay(t *testing.T) {
	hosts, pods := small()
	mean := map[Policy]float64{}
	for _, by := range Policies() {
		for seed := range uint64(20) {
			a, err := Replay(t.Context(), hosts, pods, by, seed, nil)
			b, _ := Replay(t.Context(), hosts, pods, by, seed, nil)
			if err != nil || a != b || a.Placed > a.Pods || a.GPUAllocatedPct > 100 || a.AskedPct < 100*Load {
				t.Fatalf("%+v, %+v, %v", a, b, err)
			}
			mean[by] += a.GPUAllocatedPct / 20
		}
	}
	if mean[Sluice] < mean[Random]+1 {
		t.Errorf("%v", mean)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Replay(ctx, hosts, pods, Sluice, 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
	if r, err := Replay(t.Context(), hosts, []Demand{{CPUMilli: 1}}, Sluice, 1, nil); err != nil || r.Placed != 1 || r.GPUAllocatedPct != 0 {
		t.Errorf("without GPUs: %+v, %v", r, err)
	}
}

func TestListsAreChecked(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("sn,cpu_milli,memory_mib,gpu,model\na,1000,2,2,T4\n"))
	_ = z.Close()
	for name, text := range map[string]string{"plain.csv": "\ufeffmodel,sn,cpu_milli,memory_mib,gpu\nT4,a,1000,2,2\n", "packed.csv.gz": packed.String()} {
		h, err := ReadHosts(write(name, text))
		if err != nil || len(h) != 1 || h[0].Model != "T4" || len(h[0].GPUs) != 2 || h[0].CPUMilli != 1000 {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	d, err := ReadPods(write("pods.csv", "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\np,1,2,1,460,A|B\nq,1,2,0,0,A\nr,1,2,4,1000,\n"))
	if want := []Demand{{1, 2, 0, 1, 460, "A|B", 0}, {1, 2, 0, 0, 0, "", 0}, {1, 2, 0, 4, 1000, "", 0}}; err != nil || fmt.Sprint(d) != fmt.Sprint(want) {
		t.Errorf("%v, %v", d, err)
	}
	head := "cpu_milli,memory_mib,num_gpu,gpu_milli\n"
	for text, says := range map[string]string{
		"": "empty", head: "empty", "cpu_milli,memory_mib,num_gpu\n1,2,3\n": ":1: there is no column gpu_milli",
		head + "1,2,1,1000\n1,x,1,1000\n": ":3: memory_mib: \"x\"", head + "1,2,1,-1\n": "gpu_milli", head + "1,2,1\n": "gpu_milli",
		head + "1,2,1,0\n": "cannot be placed", head + "1,2,65,1000\n": "num_gpu", "\x1f\x8bxx": "whole", head + "\"1,2\n": "bad.csv",
	} {
		if _, err := ReadPods(write("bad.csv", text)); sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	if _, err := ReadHosts(filepath.Join(dir, "none.csv")); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("a file that is not there: %v", err)
	}
}

func FuzzReadPods(f *testing.F) {
	f.Add([]byte("cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n1,2,1,460,A|B\n"))
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte("a\n\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "pods.csv")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		pods, err := ReadPods(path)
		if err != nil {
			return
		}
		for _, d := range pods {
			if !d.valid() {
				t.Fatalf("%+v was read", d)
			}
		}
	})
}
