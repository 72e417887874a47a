// Package e2e_test drives the real binary from outside: real processes, real
// sockets on loopback, real data folders. It knows of Sluice what a user knows:
// the commands, the API and sluice.yaml.
package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sluice/device/gpu/gputest"
)

// binary is the program under test, built once for the run.
var binary string

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "job" {
		// This program is also the AI job that the sites of these tests run.
		if err := job(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := buildAndRun(m)
	gputest.Clean()
	os.Exit(code)
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// A machine without Go brings the program along.
	if binary = os.Getenv("SLUICE_E2E_BINARY"); binary != "" {
		return m.Run()
	}
	binary = filepath.Join(dir, "sluice")
	build := exec.Command("go", "build", "-o", binary, "sluice/cmd/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building sluice:", err)
		return 1
	}
	return m.Run()
}
