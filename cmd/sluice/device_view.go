package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"sluice/device"
)

// printScan prints a line for each device.
func printScan(w io.Writer, all []device.Report) {
	if len(all) == 0 {
		return
	}
	g := newGrid(w, "ADDRESS", "MODEL", "FIRMWARE", "TH/s", "POWER", "MODE", "CHIP °C", "POOL")
	for _, r := range all {
		g.row(r.Address, modelOf(r), strings.TrimSpace(r.Firmware+" "+r.FirmwareVersion),
			known(r.HashrateTHs, "%.1f"), known(r.PowerW, "%.0f W"), r.Mode, known(r.ChipTempC, "%.0f"), poolOf(r))
	}
	_ = g.flush()
}

// printReport prints all that a device told; what it did not tell has no line.
func printReport(w io.Writer, r device.Report) {
	fmt.Fprintf(w, "%s  %s\n\n", plain(r.Address), plain(modelOf(r)))
	g := newGrid(w)
	line := func(name, value string) {
		if value != "" {
			g.row("  "+name, value)
		}
	}
	line("firmware", strings.TrimSpace(r.Firmware+" "+r.FirmwareVersion))
	line("driver", r.Driver)
	line("algorithm", r.Algorithm)
	line("mac", r.MAC)
	hash := known(r.HashrateTHs, "%.2f TH/s")
	if r.ExpectedTHs != nil {
		hash = strings.TrimSpace(hash + known(r.ExpectedTHs, " of %.2f TH/s expected"))
	}
	line("hashrate", hash)
	power := known(r.PowerW, "%.0f W")
	if power != "" && r.PowerSource != "" {
		power += " (" + r.PowerSource + ")"
	}
	line("power", power)
	line("power limit", known(r.PowerLimitW, "%.0f W"))
	if r.PowerW != nil && r.HashrateTHs != nil && *r.HashrateTHs > 0 {
		line("efficiency", fmt.Sprintf("%.1f J/TH", *r.PowerW / *r.HashrateTHs))
	}
	line("mode", r.Mode)
	line("chips", known(r.ChipTempC, "%.1f °C at most"))
	line("boards at", numbers(r.BoardTempsC, " °C"))
	line("fans", numbers(r.FansRPM, " rpm"))
	if r.UptimeS != nil {
		line("up for", (time.Duration(*r.UptimeS) * time.Second).String())
	}
	for _, b := range r.Boards {
		line(fmt.Sprintf("board %d", b.Index), boardOf(b))
	}
	for i, p := range r.Pools {
		s := p.URL
		if p.User != "" {
			s += "  " + p.User
		}
		if p.Active != nil && *p.Active {
			s += "  active"
		}
		if p.Fee {
			s += "  (the firmware's fee)"
		}
		line(fmt.Sprintf("pool %d", i), s)
	}
	for _, e := range r.Errors {
		line("error", e)
	}
	line("can", capabilitiesOf(r.Capabilities))
	_ = g.flush()
	if len(r.Profiles) == 0 {
		return
	}
	fmt.Fprintln(w)
	g = newGrid(w, "  PROFILE", "POWER", "TH/s", "J/TH")
	for _, p := range r.Profiles {
		jth := ""
		if p.PowerW != nil && p.HashrateTHs != nil && *p.HashrateTHs > 0 {
			jth = fmt.Sprintf("%.1f", *p.PowerW / *p.HashrateTHs)
		}
		g.row("  "+p.Name, known(p.PowerW, "%.0f W"), known(p.HashrateTHs, "%.1f"), jth)
	}
	_ = g.flush()
}

func modelOf(r device.Report) string {
	s := strings.TrimSpace(r.Vendor + " " + r.Model)
	if s == "" {
		return "a miner of an unknown model"
	}
	return s
}

// poolOf is the pool that the owner's work goes to.
func poolOf(r device.Report) string {
	for _, p := range r.Pools {
		if p.Active != nil && *p.Active && !p.Fee {
			return p.URL
		}
	}
	return ""
}

func boardOf(b device.Board) string {
	var parts []string
	if b.Active != nil && !*b.Active {
		parts = append(parts, "off")
	}
	add := func(s string) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	add(known(b.HashrateTHs, "%.2f TH/s"))
	add(known(b.PowerW, "%.0f W"))
	if b.Chips != nil {
		add(strconv.Itoa(*b.Chips) + " chips")
	}
	add(known(b.ChipTempC, "chips %.1f °C"))
	add(known(b.BoardTempC, "board %.1f °C"))
	add(b.Serial)
	return strings.Join(parts, ", ")
}

func capabilitiesOf(c device.Capabilities) string {
	var out []string
	for _, x := range []struct {
		can  bool
		name string
	}{{c.Sleep, "sleep"}, {c.Profiles, "profiles"}, {c.PowerLimit, "power limit"}, {c.Throttle, "throttle"}, {c.Pools, "pools"}, {c.Reboot, "reboot"}, {c.Locate, "locate"}} {
		if x.can {
			out = append(out, x.name)
		}
	}
	if len(out) == 0 {
		return "only be read"
	}
	return strings.Join(out, ", ")
}

func known(v *float64, format string) string {
	if v == nil || math.IsNaN(*v) {
		return ""
	}
	return fmt.Sprintf(format, *v)
}

func numbers(vs []float64, unit string) string {
	if len(vs) == 0 {
		return ""
	}
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strings.Join(out, ", ") + unit
}
