package devicetest

import (
	"sync/atomic"
	"testing"
	"time"
)

// OwnTime begins to measure the time that this process gets, in steps of 5 ms: while a
// busy machine lets it stand still, none goes by. What a call may take is held against
// it, not against the wall's clock.
func OwnTime(t testing.TB) (took func() time.Duration) {
	const step = 5 * time.Millisecond
	var steps atomic.Int64
	tick := time.NewTicker(step) // drops what nobody was there to take
	end := make(chan struct{})
	go func() {
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				steps.Add(1)
			}
		}
	}()
	t.Cleanup(func() { tick.Stop(); close(end) })
	return func() time.Duration { return time.Duration(steps.Load()) * step }
}
