package sluice

import (
	"context"
	"sync/atomic"
	"time"
)

// Clock maps wall time to site time. A real site's clock has speed 1 and no
// offset; the demo's runs faster, over history. Only the edges (the ticker of
// `sluice up`, virtual devices) hold a Clock: everything else takes the time as
// an argument.
type Clock struct {
	wall0, site0 time.Time
	speed        float64
	wall         func() time.Time // of a real site: the clock to follow
	ahead        atomic.Int64     // ns by which that has gone ahead of what has passed
}

// WallClock returns the clock of a real site. It follows the wall's clock forward:
// what has passed by the processor's count stands still while a computer sleeps, and
// knows nothing of a clock that is set after the start. It never goes back: it runs
// on by that count until the wall's clock has caught up.
func WallClock() *Clock {
	c := NewClock(time.Now().Round(0), 1)
	c.wall = time.Now
	return c
}

// NewClock returns a clock that shows start now and runs speed times as fast as
// the wall. A speed of 0 or less is taken as 1.
func NewClock(start time.Time, speed float64) *Clock {
	if speed <= 0 {
		speed = 1
	}
	return &Clock{wall0: time.Now(), site0: start.UTC(), speed: speed}
}

// Now returns the site time.
func (c *Clock) Now() time.Time {
	at := c.site0.Add(time.Duration(float64(time.Since(c.wall0)) * c.speed)).UTC()
	if c.wall == nil {
		return at
	}
	ahead := int64(c.wall().Round(0).Sub(at))
	for {
		old := c.ahead.Load()
		if ahead <= old {
			return at.Add(time.Duration(old))
		}
		if c.ahead.CompareAndSwap(old, ahead) {
			return at.Add(time.Duration(ahead))
		}
	}
}

// Speed returns virtual seconds per second.
func (c *Clock) Speed() float64 { return c.speed }

// Wall converts a duration of site time to wall time.
func (c *Clock) Wall(site time.Duration) time.Duration {
	return time.Duration(float64(site) / c.speed)
}

// Site converts a duration of wall time to site time.
func (c *Clock) Site(wall time.Duration) time.Duration {
	return time.Duration(float64(wall) * c.speed)
}

// Sleep waits for d of site time, or until ctx ends and returns its error.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(c.Wall(d))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
