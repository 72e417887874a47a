package gpu_test

import (
	"strings"
	"testing"

	"sluice/device/gpu"
)

// The names of the driver on the left, those of SkyPilot's catalogue on the right.
var models = map[string]string{
	"NVIDIA H100 80GB HBM3":          "H100",
	"NVIDIA H100 PCIe":               "H100",
	"NVIDIA H100 NVL":                "H100-NVL",
	"NVIDIA H200":                    "H200",
	"NVIDIA H200 NVL":                "H200",
	"NVIDIA H20":                     "H20",
	"NVIDIA GH200 480GB":             "GH200",
	"NVIDIA B200":                    "B200",
	"NVIDIA A100-SXM4-40GB":          "A100",
	"NVIDIA A100-SXM4-80GB":          "A100-80GB",
	"NVIDIA A100 80GB PCIe":          "A100-80GB",
	"A100-PCIE-40GB":                 "A100",
	"NVIDIA A10G":                    "A10G",
	"NVIDIA A10":                     "A10",
	"NVIDIA A30":                     "A30",
	"NVIDIA L4":                      "L4",
	"NVIDIA L40S":                    "L40S",
	"Tesla V100-SXM2-16GB":           "V100",
	"Tesla V100-SXM2-32GB":           "V100-32GB",
	"Tesla T4":                       "T4",
	"Tesla P100-PCIE-16GB":           "P100",
	"NVIDIA GeForce RTX 4090":        "RTX4090",
	"NVIDIA GeForce RTX 3080 Ti":     "RTX3080-Ti",
	"NVIDIA RTX A6000":               "RTXA6000",
	"NVIDIA RTX 6000 Ada Generation": "RTX6000-Ada",
	"NVIDIA GeForce GTX 1080 Ti":     "GTX1080-Ti",
	"Quadro RTX 8000":                "RTX8000",
	"NVIDIA Something Entirely Else": "Something-Entirely-Else",
	"":                               "GPU",
	"  \x00 ":                        "GPU",
}

func TestModel(t *testing.T) {
	for product, want := range models {
		if got := gpu.Model(product); got != want {
			t.Errorf("%q is %q, not %q", product, got, want)
		}
	}
}

func FuzzModel(f *testing.F) {
	for p := range models {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, product string) {
		m := gpu.Model(product)
		if m == "" || strings.ContainsAny(m, " \t\r\n") || m != strings.TrimSpace(m) {
			t.Errorf("%q is %q", product, m)
		}
		if again := gpu.Model(product); again != m {
			t.Errorf("%q is %q, then %q", product, m, again)
		}
	})
}

func FuzzProbeLine(f *testing.F) {
	f.Add([]byte(`{"hello":{"library":"x","driver":"550"}}`))
	f.Add([]byte(`{"id":1,"gpus":[{"index":0,"uuid":"GPU-1","product":"NVIDIA H200","max_limit_mw":700000}]}`))
	f.Add([]byte(`{"event":{"uuid":"GPU-1","xid":79}}`))
	f.Add([]byte(`{"id":2,"error":{"op":"x","code":15,"msg":"lost"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := gpu.ParseResponse(line)
		if err != nil {
			return
		}
		for _, g := range r.GPUs {
			if g.Model == "" {
				t.Errorf("%+v has no model", g)
			}
		}
		if r.Event != nil && r.Event.Xid != 0 && r.Event.Fault.Text == "" {
			t.Errorf("%+v says nothing", r.Event)
		}
	})
}
