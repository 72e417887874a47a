package sluice

import (
	"testing"
	"time"
)

// A real site's clock follows the wall's where that was set forward, or went on
// while the computer slept, and never goes back.
func TestWallClockFollowsTheWall(t *testing.T) {
	c := WallClock()
	var shift time.Duration
	c.wall = func() time.Time { return time.Now().Add(shift) }
	first := c.Now()
	if d := time.Since(first); d < -time.Second || d > 10*time.Second {
		t.Fatalf("it is %v off the wall's clock", d)
	}
	shift = time.Hour
	set := c.Now()
	if d := set.Sub(first); d < time.Hour || d > time.Hour+10*time.Second {
		t.Errorf("the wall was set an hour forward, the site's clock went %v", d)
	}
	shift = 0
	if back := c.Now(); back.Before(set) || back.Sub(set) > 10*time.Second {
		t.Errorf("the wall was set back, the site's clock went from %s to %s", set, back)
	}
}
