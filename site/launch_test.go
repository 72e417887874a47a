package site

import (
	"context"
	"testing"

	"sluice"
)

// A command that waits for the disk is not forgotten over others that wait too:
// a machine that is never asked is never read either.
func TestWaitingCommandsAreKept(t *testing.T) {
	act := func(before, expect int64) *miner {
		m := &miner{phase: commanding}
		m.act.before, m.act.expect = sluice.Watts(before), sluice.Watts(expect)
		return m
	}
	down, up, down2 := act(3000, 10), act(10, 3000), act(3000, 10)
	s := &Site{toLaunch: []*miner{down, up, down2}}
	for range 3 {
		s.launch(context.Background(), false)
	}
	left := map[*miner]int{}
	for _, m := range s.toLaunch {
		left[m]++
	}
	if len(s.toLaunch) != 3 || left[down] != 1 || left[up] != 1 || left[down2] != 1 {
		t.Errorf("of three commands %d wait: %v", len(s.toLaunch), left)
	}
}
