package site_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/site"
)

// unheard is a machine whose first answers to commands are lost, or say that
// somebody else is at it.
type unheard struct {
	device.Miner
	w    *world
	lost int
	err  error
	at   []time.Time // of its commands
}

func (d *unheard) Set(ctx context.Context, mode string, prior device.Prior) (sluice.Outcome, error) {
	d.at = append(d.at, d.w.clock())
	if d.lost > 0 {
		d.lost--
		return sluice.Unknown, d.err
	}
	return d.Miner.Set(ctx, mode, prior)
}

// A command that is not answered is sent again after ever longer pauses, long
// before its proof is due, and the machine is no fault when it answers at last.
func TestUnansweredCommandsAreSentAgain(t *testing.T) {
	for name, err := range map[string]error{
		"no answer":    errors.New("connection reset"),
		"other person": sluice.Errorf(sluice.Conflict, "", "another session is active"),
	} {
		d := &unheard{lost: 3, err: err}
		w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, wrap: func(i int, m device.Miner) device.Miner {
			if i == 15 {
				d.Miner = m
				return d
			}
			return m
		}})
		d.w = w
		w.run(6*time.Minute, 15*time.Second)
		_, cerr := w.site.Curtail(context.Background(), site.CurtailmentOrder{Limit: 3 * sluice.Kilowatt, For: time.Hour})
		w.must(cerr)
		w.run(70*time.Second, time.Second)
		if len(d.at) != 4 {
			t.Fatalf("%s: %d commands", name, len(d.at))
		}
		for i := 2; i < len(d.at); i++ {
			if a, b := d.at[i-1].Sub(d.at[i-2]), d.at[i].Sub(d.at[i-1]); b < a*3/2 {
				t.Errorf("%s: pauses of %s, then %s", name, a, b)
			}
		}
		m, merr := w.site.Machine(w.fleet.Spec(15).Name)
		w.must(merr)
		if m.State != site.StateSleeping || hasAlarm(w, "command-ignored") || hasAlarm(w, "command-refused") {
			t.Errorf("%s: %+v, alarms %v", name, m, w.site.Status().Alarms)
		}
	}
}
