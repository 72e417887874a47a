package sluice

import (
	"context"
	"time"
)

// Clock maps wall time to site time. A real site's clock has speed 1 and no
// offset; the demo's runs faster, over history. Only the edges (the ticker of
// `sluice up`, virtual devices) hold a Clock: everything else takes the time as
// an argument.
type Clock struct {
	wall0, site0 time.Time
	speed        float64
}

// WallClock returns the clock of a real site.
func WallClock() *Clock { return NewClock(time.Now(), 1) }

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
	return c.site0.Add(time.Duration(float64(time.Since(c.wall0)) * c.speed)).UTC()
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
