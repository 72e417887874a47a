package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/docker"
	"sluice/compute/idle"
	"sluice/compute/process"
	"sluice/config"
	"sluice/device/gpu"
	"sluice/site"
)

// nvmlEnv names a library to load instead of the driver's own.
const nvmlEnv = "SLUICE_NVML"

// gpuProbe is what tests run instead of the embedded program.
var gpuProbe string

func openGPUs() *gpu.NVML { return gpu.Open(gpu.Options{Library: os.Getenv(nvmlEnv), Probe: gpuProbe}) }

// hostGPUs are the GPUs of this machine as a compute host. Its units are those of one
// model, in the driver's order.
type hostGPUs struct {
	nvml  *gpu.NVML
	holds *gpu.Holds
	units []gpu.GPU
	miner *idle.Controller // nil: idle GPUs stand still
	notes []string         // for the log, once there is one
}

// findGPUs asks the driver what there is. A machine whose driver does not answer
// runs its site without GPUs: mining and limits do not wait for it.
func findGPUs(ctx context.Context) (*hostGPUs, error) {
	h := &hostGPUs{nvml: openGPUs()}
	all, err := h.nvml.Inventory(ctx)
	if err != nil {
		h.nvml.Close()
		return nil, err
	}
	for _, g := range all {
		switch {
		case g.UUID == "":
			h.notes = append(h.notes, fmt.Sprintf("GPU %d cannot be asked: %s", g.Index, faultText(g.Fault)))
		case g.MIG:
			h.notes = append(h.notes, fmt.Sprintf("GPU %d is split into instances (MIG): it takes no jobs", g.Index))
		case len(h.units) > 0 && g.Model != h.units[0].Model:
			h.notes = append(h.notes, fmt.Sprintf("GPU %d is a %s beside %ss: it takes no jobs", g.Index, g.Model, h.units[0].Model))
		default:
			h.units = append(h.units, g)
		}
	}
	if len(h.units) == 0 {
		h.nvml.Close()
		return nil, sluice.Errorf(sluice.Unavailable, strings.Join(h.notes, "; "), "there is no GPU that could take jobs")
	}
	return h, nil
}

func faultText(f *gpu.Fault) string {
	if f == nil {
		return "for no reason that it tells"
	}
	return f.Text
}

// describe makes the machine a host of GPUs.
func (h *hostGPUs) describe(c *compute.Host, slotPower sluice.Watts) {
	c.Units, c.GPUModel, c.UnitW = len(h.units), h.units[0].Model, slotPower
	if slotPower == 0 {
		c.UnitW = h.units[0].FullLimit().Watts()
	}
}

// open finds what an earlier process noted of power limits.
func (h *hostGPUs) open(dir string) error {
	holds, err := gpu.OpenHolds(h.nvml, filepath.Join(dir, "gpus"))
	if err != nil {
		return err
	}
	h.holds = holds
	return nil
}

// driver turns units of the host into indexes of the driver.
func (h *hostGPUs) driver(units []int) ([]int, error) {
	out := make([]int, len(units))
	for i, u := range units {
		if u < 0 || u >= len(h.units) {
			return nil, sluice.Errorf(sluice.Conflict, "", "this host has no GPU %d any more: it has %d", u, len(h.units))
		}
		out[i] = h.units[u].Index
	}
	return out, nil
}

// addGPUs makes the GPUs of this machine part of the host, before it is added. It
// returns nil where there are none, and says so in the log.
func (p *parts) addGPUs(c *config.Config, h config.Host) (*hostGPUs, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	g, err := findGPUs(ctx)
	if err != nil {
		p.prepare = append(p.prepare, func(_ string, log *slog.Logger) error {
			log.Error("the host takes no jobs: its GPUs cannot be used", "host", h.Name, "err", err)
			return nil
		})
		return nil, nil //nolint:nilerr // the site runs without them
	}
	miner, err := newIdleMiner(h.IdleMining, c.Site.Overhead, g)
	if err != nil {
		g.nvml.Close()
		return nil, fmt.Errorf("host %s: %w", h.Name, err)
	}
	p.prepare = append(p.prepare, func(dir string, log *slog.Logger) error {
		for _, n := range g.notes {
			log.Warn(n, "host", h.Name)
		}
		if err := g.open(dir); err != nil {
			return err
		}
		if miner != nil {
			if g.miner, err = miner(dir); err != nil {
				return err
			}
		}
		err := p.executors["process"].(*process.Executor).RecoverGPUs()
		if x, ok := p.executors["docker"].(*docker.Executor); ok {
			ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
			err = errors.Join(err, x.RecoverGPUs(ctx))
			cancel()
		}
		if err != nil {
			log.Error("power limits of GPUs are not restored yet", "err", err)
		}
		return nil
	})
	p.alongside = append(p.alongside, func(ctx context.Context, r *running) {
		log := r.log.With("host", h.Name)
		g.watch(ctx, log, func(why string) {
			if err := r.jobs.Block(h.Name, compute.BlockedByGPU, why); err != nil {
				log.Error("the host could not be kept from jobs", "err", err)
			}
		})
	})
	if miner != nil {
		act := controlled(c.Site)(h.Name)
		p.alongside = append(p.alongside, func(ctx context.Context, r *running) {
			mineIdle(ctx, g, act, r.parts.clock.Now, r.sparePower, r.log)
		})
	}
	before := p.close
	p.close = func() { before(); g.nvml.Close() }
	return g, nil
}

// watch calls block when a GPU breaks: new jobs are kept off the whole host. It stays so
// until the next start: only a person knows that it was mended.
func (h *hostGPUs) watch(ctx context.Context, log *slog.Logger, block func(why string)) {
	drain := func(uuid string, f gpu.Fault) {
		i := slices.IndexFunc(h.units, func(u gpu.GPU) bool { return u.UUID == uuid })
		name := "a GPU"
		if i >= 0 {
			name = fmt.Sprintf("GPU %d", h.units[i].Index)
		}
		if !f.Drain {
			log.Warn(name+": "+f.Text, "mend", f.Mend)
			return
		}
		log.Error(name+": "+f.Text, "mend", f.Mend)
		block(name + ": " + f.Text + "; " + f.Mend)
	}
	go func() {
		err := h.nvml.Watch(ctx, func(e gpu.Event) { drain(e.UUID, e.Fault) })
		if err != nil && ctx.Err() == nil {
			log.Warn("errors of GPUs are not reported by this driver; they are looked at once a minute", "err", err)
		}
	}()
	known := map[string]bool{}
	look := func() {
		all, err := h.nvml.Inventory(ctx)
		if err != nil {
			if ctx.Err() == nil && !known[""] {
				known[""] = true
				drain("", gpu.Fault{Text: "the driver does not answer: " + err.Error(), Mend: "see `nvidia-smi` and `dmesg | grep NVRM`", Drain: true})
			}
			return
		}
		for _, x := range all {
			if x.Fault != nil && !known[x.UUID+x.Fault.Text] {
				known[x.UUID+x.Fault.Text] = true
				drain(x.UUID, *x.Fault)
			}
		}
	}
	look()
	every(ctx, time.Minute, look)
}

// freeUnits are the GPUs that no run holds, by the driver's index.
func (h *hostGPUs) freeUnits() []int {
	held := h.holds.Held()
	var out []int
	for _, u := range h.units {
		if !slices.Contains(held, u.UUID) {
			out = append(out, u.Index)
		}
	}
	return out
}

// The GPUs as the miner's controller sees them.
func (h *hostGPUs) uuid(index int) (string, error) {
	i := slices.IndexFunc(h.units, func(g gpu.GPU) bool { return g.Index == index })
	if i < 0 {
		return "", sluice.Errorf(sluice.NotFound, "", "no GPU %d", index)
	}
	return h.units[i].UUID, nil
}

// Name is the GPU's UUID.
func (h *hostGPUs) Name(_ context.Context, index int) (string, error) { return h.uuid(index) }

// Power is what it draws now.
func (h *hostGPUs) Power(ctx context.Context, index int) (sluice.Watts, error) {
	uuid, err := h.uuid(index)
	if err != nil {
		return 0, err
	}
	r, err := h.nvml.Read(ctx, uuid)
	if err == nil && !r.HasPower {
		err = errors.New("it has no power sensor")
	}
	return r.Power.Watts(), err
}

// Busy lists who computes on it.
func (h *hostGPUs) Busy(ctx context.Context, index int) ([]int, error) {
	uuid, err := h.uuid(index)
	if err != nil {
		return nil, err
	}
	procs, err := h.nvml.Processes(ctx, uuid)
	var out []int
	for _, p := range procs {
		if !p.Graphics {
			out = append(out, p.PID)
		}
	}
	return out, err
}

// roomToMine says whether the site has power that nobody else should have: no order
// to curtail is in force on any node, and no node is at its limit.
func roomToMine(st *site.Status) bool {
	for _, c := range st.Curtailments {
		if c.State == "active" {
			return false
		}
	}
	for _, n := range st.Nodes {
		if n.LimitKW > 0 && n.LoadKW >= n.LimitKW {
			return false
		}
	}
	return true
}
