package gpu_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/device/devicetest"
	"sluice/device/gpu"
	"sluice/device/gpu/gputest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	gputest.Clean()
	os.Exit(code)
}

func TestInventoryAndReadings(t *testing.T) {
	busy := gputest.H100(1)
	busy.Power, busy.Util, busy.UsedMiB, busy.Energy = 640_000, 98, 70_000, 5_000_000_000_000
	d := gputest.New(t, gputest.H100(0), busy)
	d.Set([]gputest.Fake{gputest.H100(0), busy}, gputest.Process{GPU: 1, PID: 4711, MiB: 69_000})
	n := d.Open()
	gpus, err := n.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(gpus) != 2 {
		t.Fatalf("%d GPUs", len(gpus))
	}
	g := gpus[1]
	want := gpu.GPU{
		Index: 1, UUID: busy.UUID, Model: "H100", Product: "NVIDIA H100 80GB HBM3", MemoryMiB: 81559, PCI: "00000000:11:00.0",
		MinLimit: 200_000, MaxLimit: 700_000, DefaultLimit: 700_000, Limit: 700_000, EnforcedLimit: 700_000,
	}
	if g != want {
		t.Errorf("got  %+v\nwant %+v", g, want)
	}
	r, err := n.Read(t.Context(), busy.UUID)
	if err != nil {
		t.Fatal(err)
	}
	if !r.HasPower || r.Power.Watts() != 640 || r.EnergyMJ != 5_000_000_000_000 || r.UtilPct != 98 || r.TempC != 31 || r.MemoryUsedMiB != 70_000 || r.ClockMHz != 1980 || len(r.Throttled) != 0 {
		t.Errorf("reading %+v", r)
	}
	procs, err := n.Processes(t.Context(), busy.UUID)
	if err != nil || !slices.Equal(procs, []gpu.Process{{PID: 4711, MemoryMiB: 69_000}}) {
		t.Errorf("processes %+v, %v", procs, err)
	}
	if idle, err := n.Processes(t.Context(), gpus[0].UUID); err != nil || len(idle) != 0 {
		t.Errorf("processes of an idle GPU: %v %v", idle, err)
	}
	if h := n.Driver(); h.Driver != "550.0.fake" || h.Library != d.Library {
		t.Errorf("driver %+v", h)
	}
}

func TestPowerLimit(t *testing.T) {
	busy := gputest.H100(0)
	busy.Power, busy.Util = 650_000, 99
	d := gputest.New(t, busy)
	n := d.Open()
	got, err := n.SetLimit(t.Context(), busy.UUID, 420_000)
	if err != nil || got != 420_000 || d.Limit(0) != 420_000 {
		t.Fatalf("limit %d, %v; the driver has %d", got, err, d.Limit(0))
	}
	r, err := n.Read(t.Context(), busy.UUID)
	if err != nil || r.Power != 420_000 || r.EnforcedLimit != 420_000 || !slices.Equal(r.Throttled, []string{"power cap"}) {
		t.Fatalf("%+v, %v", r, err)
	}
	d.Refuse([]gputest.Fake{busy})
	var no *gpu.Error
	if _, err := n.SetLimit(t.Context(), busy.UUID, 500_000); !errors.As(err, &no) || no.Code != gpu.CodeNoPermission || !strings.Contains(err.Error(), "Insufficient Permissions") {
		t.Errorf("a refused limit: %v", err)
	}
}

// A GPU without sensors is there, and says what it lacks.
func TestBlind(t *testing.T) {
	b := gputest.H100(0)
	b.Mode = "blind"
	d := gputest.New(t, b)
	n := d.Open()
	gpus, err := n.Inventory(t.Context())
	if err != nil || len(gpus) != 1 || gpus[0].Fault != nil || gpus[0].MaxLimit != 0 {
		t.Fatalf("%+v, %v", gpus, err)
	}
	r, err := n.Read(t.Context(), b.UUID)
	if err != nil || r.HasPower || r.HasEnergy {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestLost(t *testing.T) {
	d := gputest.New(t, gputest.H100(0), gputest.H100(1))
	n := d.Open()
	if _, err := n.Inventory(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost := gputest.H100(1)
	lost.Mode = "lost"
	d.Set([]gputest.Fake{gputest.H100(0), lost})
	_, err := n.Read(t.Context(), lost.UUID)
	if f := gpu.FaultOf(err); f == nil || !f.Drain || f.Mend == "" {
		t.Fatalf("a lost GPU reads as %v, fault %+v", err, f)
	}
	gpus, err := n.Inventory(t.Context())
	if err != nil || len(gpus) != 2 || gpus[0].Fault != nil {
		t.Fatalf("%+v, %v", gpus, err)
	}
	if g := gpus[1]; g.UUID != lost.UUID || g.Model != "H100" || g.Fault == nil || !g.Fault.Drain || !strings.Contains(g.Fault.Text, "fallen off the bus") {
		t.Errorf("the lost one: %+v", g)
	}
}

// A call that hangs costs its caller the deadline and nobody else anything.
func TestHang(t *testing.T) {
	hangs := gputest.H100(1)
	d := gputest.New(t, gputest.H100(0), hangs)
	n := d.Open()
	if _, err := n.Inventory(t.Context()); err != nil {
		t.Fatal(err)
	}
	hangs.Mode = "hang"
	d.Set([]gputest.Fake{gputest.H100(0), hangs})
	all := devicetest.OwnTime(t)
	gpus, err := n.Inventory(t.Context())
	if err != nil || len(gpus) != 2 || gpus[0].Fault != nil {
		t.Fatalf("%+v, %v", gpus, err)
	}
	if g := gpus[1]; g.UUID != hangs.UUID || g.Fault == nil || !g.Fault.Drain || !strings.Contains(g.Fault.Text, "does not answer") {
		t.Errorf("the one that hangs: %+v", g)
	}
	// Now it is known: it costs nothing any more, and the other one goes on.
	once := devicetest.OwnTime(t)
	if _, err := n.Read(t.Context(), hangs.UUID); gpu.FaultOf(err) == nil || once() > time.Second {
		t.Errorf("a second question took %s: %v", once(), err)
	}
	if _, err := n.Read(t.Context(), gpus[0].UUID); err != nil {
		t.Errorf("the other GPU: %v", err)
	}
	if d := all(); d > 10*time.Second {
		t.Errorf("all of it took %s", d)
	}
}

// A reading that hangs is bounded too, and the caller's own deadline comes first.
func TestHangingRead(t *testing.T) {
	hangs := gputest.H100(0)
	hangs.Mode = "hang"
	d := gputest.New(t, hangs)
	n := d.Open()
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := n.Read(short, hangs.UUID); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	took := devicetest.OwnTime(t)
	_, err := n.Read(t.Context(), hangs.UUID)
	if f := gpu.FaultOf(err); f == nil || took() > 6*time.Second {
		t.Fatalf("%v after %s", err, took())
	}
}

func TestXid(t *testing.T) {
	d := gputest.New(t, gputest.H100(0), gputest.H100(1))
	n := d.Open()
	seen := make(chan gpu.Event, 4)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Watch(ctx, func(e gpu.Event) { seen <- e }) }()
	d.Xid(1, 79)
	e := <-seen
	if e.UUID != gputest.H100(1).UUID || e.Xid != 79 || !e.Fault.Drain || !strings.Contains(e.Fault.Text, "Xid 79") || e.Fault.Mend == "" {
		t.Errorf("%+v", e)
	}
	d.Xid(0, 13)
	if e := <-seen; e.Xid != 13 || e.Fault.Drain {
		t.Errorf("a program's own fault: %+v", e)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A machine without a driver says so in one line, and a library that is none too.
func TestNoDriver(t *testing.T) {
	d := gputest.New(t, gputest.H100(0))
	n := gpu.Open(gpu.Options{Library: t.TempDir() + "/nowhere.so", Probe: d.Probe})
	defer n.Close()
	if _, err := n.Inventory(t.Context()); !gpu.IsNone(err) {
		t.Errorf("without a library: %v", err)
	}
	other := gpu.Open(gpu.Options{Library: "libc.so.6", Probe: d.Probe})
	defer other.Close()
	if _, err := other.Inventory(t.Context()); err == nil || !strings.Contains(err.Error(), "nvmlInit_v2") {
		t.Errorf("with another library: %v", err)
	}
	if err := os.Remove(d.Library + ".state"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open().Inventory(t.Context()); !gpu.IsNone(err) {
		t.Errorf("without a driver: %v", err)
	}
}

// A probe that was killed is replaced.
func TestProbeDies(t *testing.T) {
	d := gputest.New(t, gputest.H100(0))
	n := d.Open()
	if _, err := n.Inventory(t.Context()); err != nil {
		t.Fatal(err)
	}
	gpu.KillProbe(n)
	if _, err := n.Inventory(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.Close()
	if _, err := n.Inventory(t.Context()); err == nil {
		t.Error("a closed one answers")
	}
}
