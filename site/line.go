package site

import (
	"sync"
	"time"
)

// How long a call to a device counts as quick, and how many that are not may go on
// beside those that are: an open file each.
const (
	longWait  = time.Second
	slowCalls = 4000
)

// lines bound the calls to devices. A machine that takes its time gives its place to
// the next after a second: else a few in a hundred that never answer would soon hold
// all places, and the order to the rest would wait for their deadlines.
type lines struct{ quick, slow chan struct{} }

func newLines(quick int) lines {
	return lines{make(chan struct{}, quick), make(chan struct{}, slowCalls)}
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
