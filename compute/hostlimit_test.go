package compute_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/device/limit"
	"sluice/device/redfish"
)

// limited is a world whose machine has a management controller at a real socket.
func limited(t *testing.T, own float64) (*world, *devicetest.BMC, func() *limit.Keeper) {
	t.Helper()
	bmc := devicetest.StartBMC(t, 140, own) // idle 60 W, 20 W for each of four slots
	w := newWorld(t, thisMachine)
	var keeper *limit.Keeper
	open := func() *limit.Keeper {
		dev, err := redfish.New(redfish.Options{Address: bmc.Address, Plain: true, Session: true})
		if err != nil {
			t.Fatal(err)
		}
		keeper = limit.Open(limit.Options{
			Dir: filepath.Join(w.dir, "limits"), Hosts: map[string]device.PowerLimiter{"this": dev}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Power: func(string) (sluice.Watts, bool) { return 0, false },
		})
		w.limits = keeper
		w.restart()
		return keeper
	}
	return w, bmc, open
}

// slowable is work of all slots of a machine that may be slowed down.
func slowable() compute.SubmitRequest {
	r := script("sleep 1000")
	r.Units = 4
	r.Task.Resources.PowerCapOK, r.Task.Resources.MinPowerShare = true, 0.5
	return r
}

// A job without GPUs that could be limited is slowed by its host's controller: the
// limit stands over a crash of Sluice, keeps other jobs off, ends with the job, and what
// was there before is there again.
func TestLimitByTheController(t *testing.T) {
	for _, own := range []float64{0, 130} {
		w, bmc, open := limited(t, own)
		open()
		j := w.submit(slowable())
		w.start(j.ID)
		w.reach(j.ID, compute.Running)
		if !w.svc.CanCap(j.ID) {
			t.Fatal("it cannot be limited")
		}
		_, err := w.svc.Cap(t.Context(), j.ID, 0.4)
		wantKind(t, err, sluice.Conflict) // less than it accepts
		if got, err := w.svc.Cap(t.Context(), j.ID, 0.6); err != nil || got != 0.6 {
			t.Fatalf("%v, %v", got, err)
		}
		if u := w.svc.HostUse()["this"]; bmc.Limit() != 108 || u.PowerW != 108 || u.LimitW != 108 {
			t.Fatalf("limited to %v: %+v", bmc.Limit(), u)
		}
		k := open() // after a crash
		w.reach(j.ID, compute.Running)
		k.Keep(t.Context(), w.svc.HostLimit, nil)
		if got := w.job(j.ID); bmc.Limit() != 108 || got.PowerShare != 0.6 {
			t.Fatalf("after a crash %v, %+v", bmc.Limit(), got)
		}
		if got, err := w.svc.Cap(t.Context(), j.ID, 0.8); err != nil || got != 0.8 || bmc.Limit() != 124 {
			t.Fatalf("%v, %v: %v", got, err, bmc.Limit())
		}
		if own > 0 {
			// The operator's own limit is never raised; without a limit it stands again.
			if got, err := w.svc.Cap(t.Context(), j.ID, 0.95); err != nil || got > 0.876 || bmc.Limit() != own {
				t.Fatalf("%v, %v: %v", got, err, bmc.Limit())
			}
		}
		if got, err := w.svc.Cap(t.Context(), j.ID, 1); err != nil || got != 1 || bmc.Limit() != own || w.job(j.ID).PowerShare != 0 {
			t.Fatalf("%v, %v: %v", got, err, bmc.Limit())
		}
		if got, err := w.svc.Cap(t.Context(), j.ID, 0.5); err != nil || got != 0.5 {
			t.Fatalf("%v, %v", got, err)
		}
		if _, err := w.svc.Cancel(t.Context(), w.Now(), j.ID); err != nil {
			t.Fatal(err)
		}
		w.reach(j.ID, compute.Cancelled)
		next := w.submit(slowable())
		if err := w.svc.Start(t.Context(), w.Now(), next.ID, ""); err == nil || !strings.Contains(err.Error(), "controller limits its power") {
			t.Errorf("a job begins on a limited host: %v", err)
		}
		k.Keep(t.Context(), w.svc.HostLimit, nil)
		if bmc.Limit() != own {
			t.Errorf("%v stays", bmc.Limit())
		}
		w.start(next.ID)
	}
}

// A host with another job on it is not limited: that would slow work that nobody asked.
func TestNoLimitForTwo(t *testing.T) {
	w, bmc, open := limited(t, 0)
	open()
	r := slowable()
	r.Units = 2
	j := w.submit(r)
	w.start(j.ID)
	w.reach(j.ID, compute.Running)
	other := w.submit(script("sleep 1000"))
	w.start(other.ID)
	if w.svc.CanCap(j.ID) {
		t.Error("it can be limited")
	}
	_, err := w.svc.Cap(t.Context(), j.ID, 0.6)
	wantKind(t, err, sluice.Conflict)
	if n := len(bmc.Sets()); n != 0 {
		t.Errorf("%d times set", n)
	}
}

// Where the controller does not do it, the job counts as not limited, at once or once
// its host is seen to draw on.
func TestLimitFails(t *testing.T) {
	w, bmc, open := limited(t, 0)
	k := open()
	j := w.submit(slowable())
	w.start(j.ID)
	w.reach(j.ID, compute.Running)
	for name, f := range map[string]func(*devicetest.BMC){
		"silent":  func(b *devicetest.BMC) { b.Silent = true },
		"ignores": func(b *devicetest.BMC) { b.Ignores = true },
		"refuses": func(b *devicetest.BMC) { b.Refuses = true },
		"loses":   func(b *devicetest.BMC) { b.Loses = true },
	} {
		bmc.Do(f)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := w.svc.Cap(ctx, j.ID, 0.6)
		cancel()
		if err == nil || w.job(j.ID).PowerShare != 0 || w.svc.HostLimit("this") != 0 {
			t.Errorf("%s: %v, %+v", name, err, w.job(j.ID))
		}
		bmc.Do(func(b *devicetest.BMC) { b.Silent, b.Ignores, b.Refuses, b.Loses = false, false, false, false })
		k.Keep(t.Context(), w.svc.HostLimit, nil)
		if bmc.Limit() != 0 {
			t.Errorf("%s: %v stays", name, bmc.Limit())
		}
	}
	if _, err := w.svc.Cap(t.Context(), j.ID, 0.6); err != nil {
		t.Fatal(err)
	}
	if err := w.svc.HostLimitIgnored(t.Context(), "this"); err != nil {
		t.Fatal(err)
	}
	if got := w.job(j.ID); got.PowerShare != 0 || got.PowerW != 80 || w.svc.HostLimit("this") != 0 {
		t.Errorf("%+v", got)
	}
}
