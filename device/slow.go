package device

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice"
)

// Slow makes a meter that answers at once of one that takes its time, such as a
// server's management controller: Read returns the newest reading, and asks for a
// new one in the background where that is older than period. A reading older than
// maxAge is none.
func Slow(m Meter, period, maxAge, timeout time.Duration, now func() time.Time) Meter {
	return &slow{m: m, period: period, maxAge: maxAge, timeout: timeout, now: now, err: errors.New("it has not answered yet")}
}

type slow struct {
	m                       Meter
	period, maxAge, timeout time.Duration
	now                     func() time.Time

	mu     sync.Mutex
	last   sluice.Reading
	at     time.Time // of last; zero: there is none
	tried  time.Time
	asking bool
	err    error // of the newest try
}

// Read returns the newest reading.
func (s *slow) Read(ctx context.Context) (sluice.Reading, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if !s.asking && (s.tried.IsZero() || now.Sub(s.tried) >= s.period) {
		s.asking, s.tried = true, now
		go s.ask(context.WithoutCancel(ctx))
	}
	if s.at.IsZero() || now.Sub(s.at) > s.maxAge {
		return sluice.Reading{}, &sluice.Error{Kind: sluice.Unavailable, Msg: "there is no fresh reading", Cause: s.err}
	}
	return s.last, nil
}

// ask reads the meter once; one at a time, within the timeout.
func (s *slow) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := s.m.Read(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking = false
	if s.err = err; err == nil {
		s.last, s.at = r, s.now()
	}
}
