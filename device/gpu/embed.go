package gpu

import (
	"embed"
	"runtime"
)

// The pattern matches bin.txt too, which is always there, so that a clean checkout
// compiles before the probe was ever built.
//
//go:embed all:bin*
var files embed.FS

// embedded returns the probe for this machine, nil when this binary was built
// without it.
func embedded() []byte {
	b, err := files.ReadFile("bin/gpuprobe-" + runtime.GOOS + "-" + runtime.GOARCH)
	if err != nil {
		return nil
	}
	return b
}

// Built says whether this binary has its GPU probe.
func Built() bool { return embedded() != nil }
