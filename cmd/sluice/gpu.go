package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/compute/idle"
	"sluice/config"
	"sluice/device/gpu"
	"sluice/site"
)

func gpuCmd() *cobra.Command {
	return apiGroup("gpu", "See this machine's GPUs, and whether mining on idle ones would pay", gpuListCmd(), gpuIdleCmd())
}

// gpuList is what `gpu list --json` prints.
type gpuList struct {
	Driver  string    `json:"driver"`
	NVML    string    `json:"nvml"`
	Library string    `json:"library"`
	GPUs    []gpuView `json:"gpus"`
}

// gpuView is one GPU. Powers are in watts; a figure that it does not tell is null.
type gpuView struct {
	Index          int           `json:"index"`
	UUID           string        `json:"uuid"`
	Model          string        `json:"model"`
	Product        string        `json:"product"`
	PCI            string        `json:"pci"`
	MemoryMiB      int64         `json:"memory_mib"`
	MemoryUsedMiB  int64         `json:"memory_used_mib"`
	MIG            bool          `json:"mig"`
	MinLimitW      float64       `json:"min_limit_w"`
	MaxLimitW      float64       `json:"max_limit_w"`
	DefaultLimitW  float64       `json:"default_limit_w"`
	EnforcedLimitW float64       `json:"enforced_limit_w"`
	PowerW         *float64      `json:"power_w"`
	EnergyWh       *float64      `json:"energy_wh"` // since the driver was loaded
	TempC          int           `json:"temp_c"`
	UtilPct        int           `json:"util_pct"`
	ClockMHz       int           `json:"clock_mhz"`
	Throttled      []string      `json:"throttled"`
	Processes      []gpu.Process `json:"processes"`
	Fault          *gpu.Fault    `json:"fault,omitempty"`
}

func gpuListCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List this machine's GPUs with their readings", Args: exactly(),
		Long: `List this machine's GPUs with their readings, as NVIDIA's driver tells them. The
driver's library is found by itself; SLUICE_NVML names another one.`,
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		l, err := readGPUs(c.Context())
		if err != nil {
			return err
		}
		if asJSON {
			raw, err := json.Marshal(l)
			if err != nil {
				return err
			}
			return printJSON(c.OutOrStdout(), raw)
		}
		return writeGPUs(c.OutOrStdout(), l)
	}
	return c
}

// readGPUs asks the driver for everything.
func readGPUs(ctx context.Context) (*gpuList, error) {
	n := openGPUs()
	defer n.Close()
	all, err := n.Inventory(ctx)
	if err != nil {
		return nil, noGPUs(err)
	}
	h := n.Driver()
	l := &gpuList{Driver: h.Driver, NVML: h.NVML, Library: h.Library, GPUs: []gpuView{}}
	for _, g := range all {
		v := gpuView{
			Index: g.Index, UUID: g.UUID, Model: g.Model, Product: g.Product, PCI: g.PCI, MemoryMiB: g.MemoryMiB, MIG: g.MIG,
			MinLimitW: inW(g.MinLimit), MaxLimitW: inW(g.MaxLimit), DefaultLimitW: inW(g.DefaultLimit), EnforcedLimitW: inW(g.EnforcedLimit),
			Throttled: []string{}, Processes: []gpu.Process{}, Fault: g.Fault,
		}
		if g.Fault == nil {
			r, err := n.Read(ctx, g.UUID)
			if v.Fault = gpu.FaultOf(err); err != nil && v.Fault == nil {
				v.Fault = &gpu.Fault{Text: err.Error()}
			}
			v.add(r)
			if p, err := n.Processes(ctx, g.UUID); err == nil && p != nil {
				v.Processes = p
			}
		}
		l.GPUs = append(l.GPUs, v)
	}
	return l, nil
}

func (v *gpuView) add(r gpu.Reading) {
	v.MemoryUsedMiB, v.TempC, v.UtilPct, v.ClockMHz = r.MemoryUsedMiB, r.TempC, r.UtilPct, r.ClockMHz
	if r.HasPower {
		w := inW(r.Power)
		v.PowerW = &w
	}
	if r.HasEnergy {
		wh := float64(r.EnergyMJ) / 3.6e6
		v.EnergyWh = &wh
	}
	if len(r.Throttled) > 0 {
		v.Throttled = r.Throttled
	}
}

func inW(m gpu.Milliwatts) float64 { return float64(m) / 1000 }

// noGPUs says what is missing on a machine without.
func noGPUs(err error) error {
	if gpu.IsNone(err) {
		return &sluice.Error{
			Kind: sluice.NotFound, Msg: "this machine has no NVIDIA GPU, or no driver for it",
			Hint: "install the driver; in a container, give it the GPUs and the capability utility; " + nvmlEnv + " names a library elsewhere", Cause: err,
		}
	}
	return err
}

func writeGPUs(w io.Writer, l *gpuList) error {
	if l.Driver != "" {
		fmt.Fprintf(w, "driver %s · NVML %s · %s\n", plain(l.Driver), plain(l.NVML), plain(l.Library))
	}
	g := newGrid(w, "GPU", "MODEL", "MEMORY", "POWER", "LIMIT", "FROM-TO", "TEMP", "USE", "PROCESSES", "UUID")
	for _, v := range l.GPUs {
		power := "-"
		if v.PowerW != nil {
			power = figure(*v.PowerW, 0) + " W"
		}
		g.row(fmt.Sprint(v.Index), orDash(v.Model), fmt.Sprintf("%d/%d MiB", v.MemoryUsedMiB, v.MemoryMiB), power,
			figure(v.EnforcedLimitW, 0)+" W", fmt.Sprintf("%.0f-%.0f W", v.MinLimitW, v.MaxLimitW), fmt.Sprintf("%d °C", v.TempC),
			fmt.Sprintf("%d %%", v.UtilPct), fmt.Sprint(len(v.Processes)), orDash(v.UUID))
	}
	if err := g.flush(); err != nil {
		return err
	}
	for _, v := range l.GPUs {
		if len(v.Throttled) > 0 && !slices.Equal(v.Throttled, []string{"idle"}) {
			fmt.Fprintf(w, "GPU %d is held down: %s\n", v.Index, strings.Join(v.Throttled, ", "))
		}
		if v.Fault != nil {
			fmt.Fprintf(w, "GPU %d: %s", v.Index, plain(v.Fault.Text))
			if v.Fault.Mend != "" {
				fmt.Fprintf(w, " (%s)", v.Fault.Mend)
			}
			fmt.Fprintln(w)
		}
	}
	return nil
}

// idleList is what `gpu idle --json` prints.
type idleList struct {
	PriceUSDPerMWh float64       `json:"price_usd_per_mwh"`
	PriceFrom      string        `json:"price_from"`
	Value          idle.Value    `json:"value"`
	Miner          *idle.Status  `json:"miner"` // null: it does not answer
	Verdicts       []idleVerdict `json:"gpus"`
}

type idleVerdict struct {
	idle.Verdict
	UUID     string `json:"uuid"`
	Busy     bool   `json:"busy"`     // somebody computes on it
	Measured bool   `json:"measured"` // its idle power is; what it does when it mines is the configuration's
}

func gpuIdleCmd() *cobra.Command {
	var file string
	var price float64
	var asJSON bool
	c, at := talks(&cobra.Command{
		Use: "idle --config FILE", Short: "Say what mining on each GPU would earn and cost, and why it does or does not pay", Args: exactly(),
		Long: `Say of each GPU of this machine what mining on it would earn and what its power would
cost, and why it does or does not pay. Nothing is started or stopped. The price of
power is that of the running site, or --price.`,
		Example: "  sluice gpu idle --config sluice.yaml --price 68",
	})
	c.Flags().StringVar(&file, "config", "", "the site's configuration `FILE` (sluice.yaml)")
	c.Flags().Float64Var(&price, "price", 0, "price of power in `USD` per MWh")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := need(c, "config"); err != nil {
			return err
		}
		cfg, err := loadConfig(file)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(cfg.Hosts, func(h config.Host) bool { return h.Driver == "local" && h.IdleMining.Driver != "" })
		if i < 0 {
			return sluice.Errorf(sluice.Invalid, "docs/gpus.md says how", "%s: no host has idle_mining", file)
		}
		out := &idleList{PriceUSDPerMWh: price, PriceFrom: "--price"}
		if !c.Flags().Changed("price") {
			if out.PriceUSDPerMWh, err = sitePrice(c.Context(), at); err != nil {
				return err
			}
			out.PriceFrom = "the running site"
		}
		if err := out.judge(c.Context(), cfg, cfg.Hosts[i].IdleMining, time.Now()); err != nil {
			return err
		}
		if asJSON {
			raw, err := json.Marshal(out)
			if err != nil {
				return err
			}
			return printJSON(c.OutOrStdout(), raw)
		}
		return writeIdle(c.OutOrStdout(), out)
	}
	return c
}

func sitePrice(ctx context.Context, at *remote) (float64, error) {
	cl, err := at.open()
	if err != nil {
		return 0, err
	}
	st, _, err := askFor[site.Status](ctx, cl, http.MethodGet, "/site", nil)
	if err != nil {
		return 0, &sluice.Error{Kind: sluice.Unavailable, Msg: "the price of power is not known", Hint: "give it with --price", Cause: err}
	}
	return st.PriceUSDPerMWh, nil
}

// judge says of each GPU of this machine whether it should mine.
func (l *idleList) judge(ctx context.Context, c *config.Config, m config.IdleMining, now time.Time) error {
	cfg, err := idleConfig(m, c.Site.Overhead)
	if err != nil {
		return err
	}
	if l.Value, err = cfg.Value(now); err != nil {
		return err
	}
	if st, err := cfg.Miner.Status(ctx); err == nil {
		l.Miner = &st
	}
	n := openGPUs()
	defer n.Close()
	all, err := n.Inventory(ctx)
	if err != nil {
		return noGPUs(err)
	}
	p := sluice.EnergyPriceOf(l.PriceUSDPerMWh)
	l.Verdicts = []idleVerdict{}
	for _, g := range all {
		v := idleVerdict{UUID: g.UUID}
		if procs, err := n.Processes(ctx, g.UUID); err == nil {
			v.Busy = slices.ContainsFunc(procs, func(p gpu.Process) bool { return !p.Graphics })
		}
		rig := cfg.Rig
		if r, err := n.Read(ctx, g.UUID); err == nil && r.HasPower && !v.Busy {
			rig.Idle, v.Measured = r.Power.Watts(), true
		}
		v.Verdict = idle.Judge(g.Index, rig, l.Value, &p, cfg.Terms, false, time.Time{}, now)
		if g.Fault != nil {
			v.Verdict = idle.Verdict{GPU: g.Index, Why: g.Fault.Text}
		}
		l.Verdicts = append(l.Verdicts, v)
	}
	return nil
}

func writeIdle(w io.Writer, l *idleList) error {
	miner := "the miner does not answer"
	if l.Miner != nil {
		miner = l.Miner.Software + ", " + figure(l.Miner.MHs, 2) + " MH/s"
		if l.Miner.Paused {
			miner += ", paused"
		}
	}
	fmt.Fprintf(w, "%s: %g USD per MH/s and day as of %s · power %s $/MWh from %s · %s\n", plain(l.Value.Algorithm), l.Value.USDPerDay,
		stamp(l.Value.AsOf), figure(l.PriceUSDPerMWh, 2), l.PriceFrom, plain(miner))
	for _, v := range l.Verdicts {
		note := ""
		if v.Busy {
			note = " (it is busy)"
		}
		fmt.Fprintf(w, "GPU %d: %s%s\n", v.GPU, plain(v.Why), note)
	}
	return nil
}
