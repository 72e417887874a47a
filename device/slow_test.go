package device_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/device"
)

// lazy answers after its delay.
type lazy struct {
	delay atomic.Int64 // ns
	power atomic.Int64
	asked atomic.Int32
	fails atomic.Bool
}

func (l *lazy) Read(ctx context.Context) (sluice.Reading, error) {
	l.asked.Add(1)
	select {
	case <-time.After(time.Duration(l.delay.Load())):
	case <-ctx.Done():
		return sluice.Reading{}, ctx.Err()
	}
	if l.fails.Load() {
		return sluice.Reading{}, errors.New("broken")
	}
	return sluice.Reading{Power: sluice.Watts(l.power.Load()), HasPower: true}, nil
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lazy{}
		l.delay.Store(int64(4 * time.Second))
		l.power.Store(100)
		m := device.Slow(l, 5*time.Second, 30*time.Second, 10*time.Second, time.Now)
		read := func() (sluice.Watts, error) {
			t.Helper()
			began := time.Now()
			r, err := m.Read(t.Context())
			if time.Since(began) != 0 {
				t.Errorf("it took %v", time.Since(began))
			}
			return r.Power, err
		}
		if _, err := read(); sluice.KindOf(err) != sluice.Unavailable {
			t.Errorf("before the first answer: %v", err)
		}
		for range 30 { // many ask at once: the meter is asked once
			_, _ = read()
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if w, err := read(); w != 100 || err != nil || l.asked.Load() != 1 {
			t.Errorf("%v, %v, asked %d times", w, err, l.asked.Load())
		}
		l.power.Store(200)
		time.Sleep(time.Second)
		_, _ = read()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if w, err := read(); w != 200 || err != nil || l.asked.Load() != 2 {
			t.Errorf("%v, %v, asked %d times", w, err, l.asked.Load())
		}
		l.fails.Store(true)
		for range 30 {
			time.Sleep(time.Second)
			_, _ = read()
		}
		if w, err := read(); w != 200 || err != nil {
			t.Errorf("at 30 s: %v, %v", w, err)
		}
		time.Sleep(time.Second)
		if _, err := read(); err == nil || err.Error() != "there is no fresh reading: broken" {
			t.Errorf("after its time: %v", err)
		}
		l.delay.Store(int64(time.Hour)) // a device that hangs is given up, and asked again
		n := l.asked.Load()
		for range 40 {
			time.Sleep(time.Second)
			_, _ = read()
		}
		if got := l.asked.Load() - n; got < 3 || got > 5 {
			t.Errorf("asked %d times in 40 s", got)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
	})
}
