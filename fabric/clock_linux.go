package fabric

import (
	"time"

	"golang.org/x/sys/unix"
)

// Uptime is the clock of leases: it never jumps and runs on while the machine
// sleeps. It starts anew with the machine.
func Uptime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return time.Since(began)
	}
	return time.Duration(t.Nano())
}
