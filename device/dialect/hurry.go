package dialect

import (
	"context"
	"time"

	"sluice"
	"sluice/device"
)

// hurryTime is how long a device may take to tell and to change what makes it faster:
// what is not done by then is not worth waiting for.
const hurryTime = time.Second

// Hurry puts the device to sleep after setting how fast that goes, where the dialect
// has a command for it and the prior has what is to be put back. What of it fails
// leaves a sleep as any other.
func (d *Driver) Hurry(ctx context.Context, p device.Prior) (sluice.Outcome, error) {
	if d.hook != nil || d.d.Commands["hurry"] == nil {
		return d.Set(ctx, sluice.ModeSleep, p)
	}
	was, err := d.before(p)
	if err != nil {
		return sluice.Refused, err
	}
	return d.write(ctx, func(ctx context.Context) error {
		if len(was.Hurry) > 0 {
			d.makeFast(ctx)
		}
		err := d.sleep(ctx)
		if refused(err) {
			// It mines on, as its owner has it set.
			_ = d.apply(ctx, device.Target{Lane: device.LaneWake}, was)
		}
		return err
	})
}

// makeFast sends the command that makes a sleep fast, where it is of use.
func (d *Driver) makeFast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, hurryTime)
	defer cancel()
	c := d.d.Commands["hurry"]
	root, err := d.ask(ctx, append(c.needs(), d.d.stateNeeds()...), 1, nil)
	if e := (env{root: root}); err == nil && c.If.holds(e) && !anyHolds(d.d.Report.Sleeping, e) {
		_ = d.run(ctx, c, root, nil) // the proof of the sleep shows what came of it
	}
}
