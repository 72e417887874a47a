package placement

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawDemand(t *rapid.T, name string) Demand {
	d := Demand{
		CPUMilli: int64(rapid.IntRange(0, 16).Draw(t, name+" cpu")) * 1000, MemMiB: int64(rapid.IntRange(0, 8).Draw(t, name+" memory")) * 4096,
		DiskMiB: int64(rapid.IntRange(0, 3).Draw(t, name+" disk")) * 100_000,
		GPUs:    rapid.SampledFrom([]int{0, 1, 1, 1, 2, 4}).Draw(t, name+" gpus"),
		Models:  rapid.SampledFrom([]string{"", "", "A", "B", "A|B"}).Draw(t, name+" models"),
	}
	switch d.GPUs {
	case 0:
		d.Models = ""
	case 1:
		d.GPUMilli = rapid.SampledFrom([]int{1, 100, 250, 333, 500, 700, Whole}).Draw(t, name+" share")
	default:
		d.GPUMilli = Whole
	}
	return d
}

func drawHosts(t *rapid.T) []Host {
	var out []Host
	for range rapid.IntRange(0, 6).Draw(t, "hosts") {
		out = append(out, Host{
			Model: rapid.SampledFrom([]string{"A", "B", ""}).Draw(t, "model"), CPUMilli: int64(rapid.IntRange(0, 40).Draw(t, "cpus")) * 1000,
			MemMiB: int64(rapid.IntRange(0, 30).Draw(t, "memory")) * 4096, DiskMiB: int64(rapid.IntRange(0, 9).Draw(t, "disk")) * 100_000, GPUs: slices.Repeat([]int{Whole}, rapid.IntRange(0, 8).Draw(t, "gpus")),
		})
	}
	return out
}

// Whatever comes and goes: nothing is given away twice, who fits is placed, what was
// taken comes back whole, and what is remembered of hosts is what they are.
func TestNothingIsGivenTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts, by := drawHosts(t), rapid.SampledFrom(Policies()).Draw(t, "policy")
		var usual []Typical
		for range rapid.IntRange(0, 5).Draw(t, "typical") {
			usual = append(usual, Typical{drawDemand(t, "typical"), rapid.Float64Range(0, 10).Draw(t, "weight")})
		}
		c, r := New(hosts, usual, by), rand.New(rand.NewPCG(1, 2))
		type held struct {
			d  Demand
			at Place
		}
		var all []held
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if len(all) > 0 && rapid.IntRange(0, 3).Draw(t, "leaves") == 0 {
				i := rapid.IntRange(0, len(all)-1).Draw(t, "who")
				c.Give(all[i].d, all[i].at)
				all = slices.Delete(all, i, i+1)
				continue
			}
			d := drawDemand(t, "demand")
			could := slices.ContainsFunc(c.hosts, func(h Host) bool { return h.fits(d) })
			at, ok := c.Find(d, r)
			if ok != could {
				t.Fatalf("%+v: placed %v, could be %v", d, ok, could)
			}
			if !ok {
				continue
			}
			if h := c.Host(at.Host); len(at.GPUs) != d.GPUs || d.GPUs > 0 && !d.models(h.Model) {
				t.Fatalf("%+v at %+v of %+v", d, at, h)
			}
			c.Take(d, at)
			all = append(all, held{d, at})
		}
		want := make([]Host, len(hosts))
		for i, h := range hosts {
			h.GPUs = slices.Clone(h.GPUs)
			want[i] = h
		}
		for _, x := range all {
			h := &want[x.at.Host]
			h.CPUMilli -= x.d.CPUMilli
			h.MemMiB -= x.d.MemMiB
			h.DiskMiB -= x.d.DiskMiB
			for _, g := range x.at.GPUs {
				h.GPUs[g] -= x.d.GPUMilli
			}
		}
		free := 0
		for i, h := range want {
			got := c.Host(i)
			if got.CPUMilli != h.CPUMilli || got.MemMiB != h.MemMiB || got.DiskMiB != h.DiskMiB || !slices.Equal(got.GPUs, h.GPUs) || h.CPUMilli < 0 || h.MemMiB < 0 || h.DiskMiB < 0 || slices.ContainsFunc(h.GPUs, func(f int) bool { return f < 0 || f > Whole }) {
				t.Fatalf("host %d has %+v free, by what is held %+v", i, got, h)
			}
			if f := c.fragments(&got); math.Abs(f-c.now[i]) > 1e-9 {
				t.Fatalf("host %d: %v fragments are remembered, there are %v", i, c.now[i], f)
			}
			for _, f := range h.GPUs {
				free += f
			}
		}
		if c.Free() != free {
			t.Fatalf("%d free, by what is held %d", c.Free(), free)
		}
	})
}

// A share goes to a GPU that is in use already where the whole one is of more use.
func TestSharesGoTogether(t *testing.T) {
	usual := []Typical{{Demand{GPUs: 1, GPUMilli: Whole}, 1}, {Demand{GPUs: 1, GPUMilli: 500}, 1}}
	for _, by := range []Policy{Sluice, FGD, BestFit} {
		c := New([]Host{{GPUs: []int{Whole, Whole}}, {GPUs: []int{Whole, 500}}}, usual, by)
		if at, ok := c.Find(Demand{GPUs: 1, GPUMilli: 500}, nil); !ok || at.Host != 1 || !slices.Equal(at.GPUs, []int{1}) {
			t.Errorf("%s: %+v", by, at)
		}
	}
}

// A demand without GPUs does not take the processors that free GPUs need, though its
// host has fewer left then.
func TestProcessorsStayWithGPUs(t *testing.T) {
	usual := []Typical{{Demand{CPUMilli: 8000, GPUs: 1, GPUMilli: Whole}, 1}}
	c := New([]Host{{CPUMilli: 16_000, GPUs: []int{Whole, Whole}}, {CPUMilli: 90_000, GPUs: []int{0, 0}}}, usual, Sluice)
	if at, ok := c.Find(Demand{CPUMilli: 4000}, nil); !ok || at.Host != 1 {
		t.Errorf("%+v", at)
	}
}

func TestWhatCannotBeIsRefused(t *testing.T) {
	c := New([]Host{{CPUMilli: 1000, MemMiB: 1000, GPUs: []int{Whole, Whole}}}, nil, Sluice)
	for _, d := range []Demand{{GPUs: 2, GPUMilli: 500}, {GPUs: 1}, {GPUs: 1, GPUMilli: 1001}, {GPUs: -1}, {CPUMilli: -1}, {GPUs: 3, GPUMilli: Whole}, {CPUMilli: 2000}, {DiskMiB: 1}, {DiskMiB: -1}} {
		if at, ok := c.Find(d, nil); ok {
			t.Errorf("%+v was placed at %+v", d, at)
		}
	}
}
