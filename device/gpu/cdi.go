package gpu

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"sluice"
)

// cdiKind is what NVIDIA calls its GPUs in the container device interface.
const cdiKind = "nvidia.com/gpu"

// CDIDirs are where specifications of devices stand, the more important last.
var CDIDirs = []string{"/etc/cdi", "/var/run/cdi"}

// maxSpec bounds a specification.
const maxSpec = 4 << 20

var (
	cdiKindLine = regexp.MustCompile(`(?m)["']?kind["']?\s*:\s*["']?([A-Za-z0-9._/-]+)`)
	cdiName     = regexp.MustCompile(`["']?name["']?\s*:\s*["']?([A-Za-z0-9._:-]+)`)
)

// CDI returns the name by which a container engine knows the GPU, such as
// nvidia.com/gpu=GPU-3f6a…: by its UUID, or by its index where the specifications of
// this machine name it so only. Engines are known to start a container without a
// device that they do not find, so that one is refused here.
func (g GPU) CDI(dirs []string) (string, error) {
	if g.UUID == "" {
		return "", sluice.Errorf(sluice.Conflict, "", "GPU %d does not tell its UUID", g.Index)
	}
	names := map[string]bool{}
	for _, dir := range dirs {
		for _, ext := range []string{"*.yaml", "*.yml", "*.json"} {
			files, _ := filepath.Glob(filepath.Join(dir, ext))
			for _, f := range files {
				for _, n := range cdiNames(readSpec(f)) {
					names[n] = true
				}
			}
		}
	}
	for _, n := range []string{g.UUID, strconv.Itoa(g.Index)} {
		if names[n] {
			return cdiKind + "=" + n, nil
		}
	}
	return "", sluice.Errorf(sluice.Conflict, "`nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` writes it",
		"no specification in %s names GPU %d: a container would start without it", strings.Join(dirs, " or "), g.Index)
}

func readSpec(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, maxSpec))
	return b
}

// cdiNames lists the devices of a specification of NVIDIA's GPUs. It reads no more
// than the names: JSON and YAML write them alike.
func cdiNames(b []byte) []string {
	m := cdiKindLine.FindSubmatch(b)
	if m == nil || string(m[1]) != cdiKind {
		return nil
	}
	var out []string
	for _, m := range cdiName.FindAllSubmatch(b, -1) {
		out = append(out, string(m[1]))
	}
	return out
}
