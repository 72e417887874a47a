//go:build !linux

package agent

import (
	"context"
	"runtime"
)

// HostFacts reads what there is to say of this machine.
func HostFacts(name, version, _ string) Facts {
	return Facts{Name: name, Version: version, OS: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU()}
}

// Host measures the machine, which is known of Linux only.
type Host struct{}

// NewHost measures this machine.
func NewHost(string) *Host { return &Host{} }

// Readings returns none.
func (*Host) Readings(context.Context) ([]Reading, error) { return nil, nil }
