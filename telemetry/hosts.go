package telemetry

import (
	"context"
	"errors"
	"slices"
	"time"
)

// HostReading is one measured value of a host or of one of its GPUs. It may come late:
// what a host measured while it was cut off is told when it is back.
type HostReading struct {
	Host string
	Name string // cpu_busy, gpu_power…, see hostMetrics; others are not recorded
	GPU  string // its index, for what is of a GPU
	UUID string
	At   time.Time
	Unit string // in which the value must be
	// Value is in that unit.
	Value float64
}

// hostMetrics are what is recorded of hosts, by the name that readings have.
var hostMetrics = map[string]struct {
	series, unit string
	Metric
}{
	"cpu_busy":        {"sluice_host_cpu_busy_ratio", "1", Metric{"gauge", "Share of a host's CPU time that was spent at work.", ""}},
	"cpu_power":       {"sluice_host_cpu_power_watts", "W", Metric{"gauge", "Power of a host's processors by their own counters.", ""}},
	"memory_total":    {"sluice_host_memory_bytes", "bytes", Metric{"gauge", "Memory of a host.", ""}},
	"memory_used":     {"sluice_host_memory_used_bytes", "bytes", Metric{"gauge", "Memory of a host that is not available.", ""}},
	"disk_free":       {"sluice_host_disk_free_bytes", "bytes", Metric{"gauge", "Free bytes where a host keeps the folders of jobs.", ""}},
	"gpu_power":       {"sluice_gpu_power_watts", "W", Metric{"gauge", "Power of a GPU.", ""}},
	"gpu_energy":      {"sluice_gpu_energy_joules_total", "J", Metric{"counter", "Energy of a GPU since its driver was loaded.", ""}},
	"gpu_busy":        {"sluice_gpu_busy_ratio", "1", Metric{"gauge", "Share of the time in which a kernel ran on a GPU.", ""}},
	"gpu_temperature": {"sluice_gpu_temperature_celsius", "C", Metric{"gauge", "Temperature of a GPU.", ""}},
	"gpu_memory_used": {"sluice_gpu_memory_used_bytes", "bytes", Metric{"gauge", "Memory of a GPU that is in use.", ""}},
	"gpu_limit":       {"sluice_gpu_power_limit_watts", "W", Metric{"gauge", "Power limit of a GPU that is in force.", ""}},
}

type hostSeries struct{ host, name, gpu, uuid string }

// RecordHosts adds readings of hosts, each at its own time. Those that this package does
// not know are left out: a host names no series. The error is for the log.
func (r *Recorder) RecordHosts(ctx context.Context, readings []HostReading) error {
	slices.SortStableFunc(readings, func(a, b HostReading) int { return a.At.Compare(b.At) })
	var errs []error
	for len(readings) > 0 {
		at := readings[0].At.UnixMilli()
		r.batch = r.batch[:0]
		n := 0
		for ; n < len(readings) && readings[n].At.UnixMilli() == at; n++ {
			x := &readings[n]
			m, ok := hostMetrics[x.Name]
			if !ok || m.unit != x.Unit {
				continue
			}
			key := hostSeries{x.Host, x.Name, x.GPU, x.UUID}
			s := r.hosts[key]
			if s == nil {
				s = r.db.Series(m.series, "host", x.Host, "gpu", x.GPU, "uuid", x.UUID)
				r.hosts[key] = s
			}
			r.batch = append(r.batch, Sample{s, x.Value})
		}
		errs = append(errs, r.db.Append(ctx, readings[0].At, r.batch))
		readings = readings[n:]
	}
	return errors.Join(errs...)
}
