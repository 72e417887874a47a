package site

import (
	"sync"
	"time"
)

// longWait is how long a call to a device counts as quick.
const longWait = 250 * time.Millisecond

// lines bound the calls to devices. A machine that takes its time gives its place to
// the next after a quarter of a second: else a few in a hundred that never answer
// would soon hold all places, and the order to the rest would wait for their deadlines.
type lines struct{ quick, slow chan struct{} }

// newLines makes room for so many quick calls, and beside them for half of the machines:
// where more take their time it is the network or this computer that is slow, and more
// calls at once would make it slower.
func newLines(quick, machines int) lines {
	return lines{make(chan struct{}, quick), make(chan struct{}, max(256, machines/2))}
}

// line waits for a place and returns what gives it back.
func (s *Site) line() (hangUp func()) {
	l := s.lines
	l.quick <- struct{}{}
	var mu sync.Mutex
	in := l.quick
	t := time.AfterFunc(longWait, func() {
		mu.Lock()
		defer mu.Unlock()
		if in != l.quick {
			return
		}
		select {
		case l.slow <- struct{}{}:
			in = l.slow
			<-l.quick
		default: // too many are slow: it keeps its place
		}
	})
	return func() {
		t.Stop()
		mu.Lock()
		defer mu.Unlock()
		if in != nil {
			<-in
			in = nil
		}
	}
}
