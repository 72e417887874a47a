package telemetry

import (
	"reflect"
	"testing"
	"time"
)

// What hosts measure is kept at the time when they measured it, also what comes late and
// out of its order; what has another name or unit than is known is left out.
func TestRecordHosts(t *testing.T) {
	d := testDB(t)
	rec := NewRecorder(d, nil)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	put := func(host string, at time.Time, watts float64) HostReading {
		return HostReading{Host: host, Name: "gpu_power", Unit: "W", GPU: "0", UUID: "GPU-1", At: at, Value: watts}
	}
	now := []HostReading{
		put("b", at, 600), {Host: "b", Name: "cpu_busy", Unit: "1", At: at, Value: 0.5},
		{Host: "b", Name: "cpu_busy", Unit: "%", At: at, Value: 50}, {Host: "b", Name: "sluice_load_watts", Unit: "W", At: at, Value: 1},
	}
	if err := rec.RecordHosts(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	// Host a was cut off for three hours and tells now, the newest first.
	late := []HostReading{put("a", at.Add(-time.Minute), 3), put("a", at.Add(-3*time.Hour), 1), put("a", at.Add(-time.Hour), 2)}
	if err := rec.RecordHosts(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]map[string][]point{
		"sluice_gpu_power_watts": {
			series(`gpu="0", host="a", site="valley", uuid="GPU-1"`, "sluice_gpu_power_watts"): {
				{at.Add(-3 * time.Hour).UnixMilli(), 1}, {at.Add(-time.Hour).UnixMilli(), 2}, {at.Add(-time.Minute).UnixMilli(), 3},
			},
			series(`gpu="0", host="b", site="valley", uuid="GPU-1"`, "sluice_gpu_power_watts"): {{at.UnixMilli(), 600}},
		},
		"sluice_host_cpu_busy_ratio": {series(`host="b", site="valley"`, "sluice_host_cpu_busy_ratio"): {{at.UnixMilli(), 0.5}}},
		"sluice_load_watts":          {},
	} {
		if got := read(t, d, name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if d.Dropped() != 0 {
		t.Errorf("%d were dropped", d.Dropped())
	}
}

func series(labels, name string) string { return `{__name__="` + name + `", ` + labels + `}` }
