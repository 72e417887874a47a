// Command gpuprobe is the part of Sluice that talks to NVIDIA's driver. It is built
// before Sluice, embedded in it, and started where GPUs are asked for; see package
// sluice/device/gpu. Its one argument, if any, is the library to load.
package main

import (
	"os"

	"sluice/device/gpu/nvml"
)

func main() {
	path := ""
	if len(os.Args) > 1 {
		path = os.Args[1]
	}
	if err := nvml.Serve(os.Stdin, os.Stdout, path); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}
