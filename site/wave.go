package site

import (
	"context"
	"time"
)

// waveTime is how long, in wall time, everything else stands aside for the commands of
// an order: firmware that answers at once is done by then, and the rest need not be
// waited for.
const waveTime = time.Second

// wave is the commands that an order has sent out, and their proofs, while nothing
// else should take their time: polls and plans can wait a moment, the grid cannot.
type wave struct {
	until time.Time
	over  chan struct{} // closed when all are done; nil: none is out
}

// beginWave makes others stand aside for the commands that are about to go out. The
// caller holds s.mu.
func (s *Site) beginWave() {
	if s.wave.over == nil {
		s.wave.over = make(chan struct{})
	}
	s.wave.until = time.Now().Add(waveTime)
}

// endWave lets the others go on when nothing is out any more. The caller holds s.mu.
func (s *Site) endWave() {
	if s.wave.over != nil && s.inflight == 0 {
		close(s.wave.over)
		s.wave.over = nil
	}
}

// standAside waits while an order's commands are out, for a moment at most.
func (s *Site) standAside(ctx context.Context) {
	s.mu.Lock()
	w := s.wave
	s.mu.Unlock()
	left := time.Until(w.until)
	if w.over == nil || left <= 0 {
		return
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-w.over:
	case <-t.C:
	case <-ctx.Done():
	}
}
