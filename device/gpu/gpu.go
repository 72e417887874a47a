// Package gpu owns the GPUs of a host: what is there, what they draw, what ails
// them, and how much they may draw.
//
// NVIDIA's management library (NVML) belongs to the driver and exists on GPU hosts
// only. It is loaded when it is asked for, by a small program of our own, the probe,
// which is built from device/gpu/nvml and embedded here. Why a program of its own:
//
//   - Sluice stays one static binary that finds the GPUs by itself. Linking NVML
//     needs cgo, and even loading it without cgo binds the whole binary to the C
//     library of the machine, on hosts that have no GPU too.
//   - A call of NVML can hang for ever when a GPU falls off the bus, and a driver's
//     library can crash. The probe is killed then, and the controller, which keeps
//     the site under its limits, goes on.
//
// The probe speaks one JSON object a line on its standard input and output, and
// ends when its input does. Each call has a deadline; one that passes it costs the
// probe, never the caller, and the GPU in question counts as lost until it answers.
//
// Limits keeps what a GPU's power limit was before Sluice changed it, on disk,
// until it is put back.
package gpu

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"sluice"
)

// Milliwatts is NVML's unit of power.
type Milliwatts int64

// Watts rounds to the watt.
func (m Milliwatts) Watts() sluice.Watts { return sluice.Watts(math.Round(float64(m) / 1000)) }

// MilliwattsOf converts whole watts.
func MilliwattsOf(w sluice.Watts) Milliwatts { return Milliwatts(w) * 1000 }

// GPU is one GPU of this machine. Where the driver does not tell a figure it is 0.
type GPU struct {
	Index     int    `json:"index"`
	UUID      string `json:"uuid"`
	Model     string `json:"model"`   // as AI clients ask for it: H100, A100-80GB
	Product   string `json:"product"` // as the driver calls it
	MemoryMiB int64  `json:"memory_mib"`
	PCI       string `json:"pci"` // domain:bus:device.function
	MIG       bool   `json:"mig"` // it is split into instances
	// The power limit may be set from MinLimit to MaxLimit; Limit is what is set,
	// EnforcedLimit what holds, which the board may bound further. All 0 where the
	// GPU has no such limit.
	MinLimit      Milliwatts `json:"min_limit_mw"`
	MaxLimit      Milliwatts `json:"max_limit_mw"`
	DefaultLimit  Milliwatts `json:"default_limit_mw"`
	Limit         Milliwatts `json:"limit_mw"`
	EnforcedLimit Milliwatts `json:"enforced_limit_mw"`
	Fault         *Fault     `json:"fault,omitempty"`
}

// FullLimit is the limit that a power share is a share of: the default, or the
// highest where the driver tells none.
func (g GPU) FullLimit() Milliwatts { return cmp.Or(g.DefaultLimit, g.MaxLimit) }

// Reading is what a GPU does now. HasPower and HasEnergy are false where the GPU
// has no such sensor.
type Reading struct {
	UUID          string     `json:"uuid"`
	At            time.Time  `json:"at"`
	Power         Milliwatts `json:"power_mw"`
	HasPower      bool       `json:"has_power"`
	EnergyMJ      uint64     `json:"energy_mj"` // millijoules since the driver was loaded
	HasEnergy     bool       `json:"has_energy"`
	TempC         int        `json:"temp_c"`
	UtilPct       int        `json:"util_pct"` // of the time that a kernel ran
	MemoryUsedMiB int64      `json:"memory_used_mib"`
	ClockMHz      int        `json:"clock_mhz"` // of the multiprocessors
	EnforcedLimit Milliwatts `json:"enforced_limit_mw"`
	Throttled     []string   `json:"throttled,omitempty"` // why its clock is held down; see Throttle
}

// Process is one that has memory of a GPU.
type Process struct {
	PID       int   `json:"pid"`
	MemoryMiB int64 `json:"memory_mib"` // 0 where the driver does not tell
	Graphics  bool  `json:"graphics"`
}

// Event is what a GPU reported by itself: an Xid error, or its loss.
type Event struct {
	UUID  string    `json:"uuid"` // "" where the driver does not say which GPU
	Xid   int       `json:"xid"`  // 0: not an Xid error
	At    time.Time `json:"at"`
	Fault Fault     `json:"fault"`
}

// Fault is what is wrong with a GPU, for a person.
type Fault struct {
	Text  string `json:"text"`
	Mend  string `json:"mend,omitempty"`
	Drain bool   `json:"drain"` // no job may start there until it is mended
	// Silent: it did not answer in time, so that a call of the driver still hangs.
	Silent bool `json:"silent,omitempty"`
}

// Throttle names the set bits of NVML's clock event reasons.
func Throttle(bits uint64) []string {
	var out []string
	for i, name := range []string{
		"idle", "application clocks", "power cap", "hardware slowdown", "sync boost", "thermal (software)",
		"thermal (hardware)", "power brake", "display clocks", "board limit", "reliability",
	} {
		if bits&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

// Error is NVML's own no. Code is its return code, or CodeSilent.
type Error struct {
	Op   string `json:"op"`
	Code int    `json:"code"`
	Msg  string `json:"msg"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Op, e.Msg) }

// NVML's return codes that mean something to us.
const (
	CodeSilent           = -1 // there was no answer in time
	CodeNotSupported     = 3
	CodeNoPermission     = 4
	CodeNotFound         = 6
	CodeNoDriver         = 9
	CodeNoLibrary        = 12
	CodeNoFunction       = 13
	CodeLost             = 15
	CodeResetRequired    = 16
	CodeBlocked          = 17
	CodeVersionsMismatch = 18
	CodeNoGPU            = 28
	CodeUnknown          = 999
)
