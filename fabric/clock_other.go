//go:build !linux

package fabric

import "time"

// Uptime is the clock of leases. It starts anew with the process.
func Uptime() time.Duration { return time.Since(began) }
