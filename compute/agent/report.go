package agent

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/fabric"
	"sluice/fabric/tree"
)

const (
	logEvery  = 40 * time.Millisecond // how often output is looked for
	useEvery  = time.Second
	keepEnded = 7 * 24 * time.Hour // what is known of a run whose end the site has taken
	keepFiles = 24 * time.Hour     // the folders of a job none of whose runs is here
)

// pushLog hands the output of a run to the site until all of it is there. The
// site says which byte it wants: after a cut, a restart or a doubt of either side
// they agree by that alone.
func (a *Agent) pushLog(r *run) {
	ctx := a.run
	var f *os.File
	defer func() {
		if f != nil {
			_ = f.Close()
		}
	}()
	buf := make([]byte, 128<<10)
	var at int64
	var wait time.Duration
	for {
		a.mu.Lock()
		over := !r.alive()
		a.mu.Unlock()
		if f == nil {
			f, _ = os.Open(r.Spec.Log)
		}
		n := 0
		if f != nil {
			n, _ = f.ReadAt(buf, at)
		}
		if link := a.link.Load(); n > 0 || over {
			err := sluice.Errorf(sluice.Unavailable, "", "not connected")
			next := at
			if link != nil && link.Connected() {
				next, err = pushPiece(ctx, link, r.Run, at, buf[:n])
			}
			switch {
			case err != nil:
				wait = min(max(2*wait, 100*time.Millisecond), 2*time.Second)
			case over && n == 0 && next == at:
				a.mu.Lock()
				r.logDone, r.logSize = true, at
				a.touch()
				a.mu.Unlock()
				return
			default:
				at, wait = next, 0
				if n == len(buf) || over {
					continue
				}
			}
		}
		a.mu.Lock()
		r.logSize = max(r.logSize, at)
		done := r.Taken && over
		a.mu.Unlock()
		if done {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(wait, logEvery)):
		}
	}
}

func pushPiece(ctx context.Context, link *fabric.Link, run string, at int64, data []byte) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return link.Log(ctx, fabric.LogPiece{Run: run, From: at}, data)
}

// publish hands the spool to the site's stream, in order.
func (a *Agent) publish(ctx context.Context, link *fabric.Link) {
	for {
		var wait time.Duration
		b, err := a.spool.batch(a.epoch)
		switch {
		case err != nil:
			a.cfg.Log.Error("the spool cannot be read", "err", err)
			wait = 10 * time.Second
		case b == nil:
			wait = time.Minute
		case !link.Connected():
			wait = time.Second
		default:
			pctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			err := link.Publish(pctx, *b)
			cancel()
			if err == nil {
				a.spool.ack(b.To)
				continue
			}
			a.cfg.Log.Debug("events wait", "err", err)
			wait = time.Second
		}
		more := a.spool.more
		if wait < time.Minute {
			more = nil // a failure is not hurried by new events
		}
		select {
		case <-ctx.Done():
			return
		case <-more:
		case <-time.After(wait):
		}
	}
}

// sample reads what runs use and what the host measures.
func (a *Agent) sample(ctx context.Context) {
	t := time.NewTicker(useEvery)
	defer t.Stop()
	var last time.Time
	for {
		a.uses(ctx)
		if now := time.Now(); now.Sub(last) >= a.cfg.ReadEvery {
			last = now
			a.readings(ctx, now)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// uses reads the use of each run. An executor that is slow delays only this.
func (a *Agent) uses(ctx context.Context) {
	type live struct {
		r          *run
		x          compute.Executor
		h          compute.Handle
		checkpoint string
	}
	var all []live
	a.mu.Lock()
	for _, r := range a.runs {
		if r.Phase == fabric.Running && r.Handle != "" {
			all = append(all, live{r, a.named(r.Executor), r.Handle, r.Spec.CheckpointDir})
		}
	}
	a.mu.Unlock()
	for _, l := range all {
		if l.x == nil || ctx.Err() != nil {
			continue
		}
		uctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		at := time.Now()
		u, err := l.x.Usage(uctx, l.h)
		cancel()
		saved := tree.Newest(l.checkpoint)
		a.mu.Lock()
		if err == nil && u.Seconds >= l.r.usage.Seconds {
			l.r.usage, l.r.usedAt = u, at
		}
		l.r.settle(saved, time.Now())
		a.mu.Unlock()
	}
}

const (
	quiet   = 2 * time.Second
	longest = 30 * time.Second
)

// settle counts the newest file of the checkpoint folder as a checkpoint. What is
// being written may be half there, so it counts when the folder has been quiet for
// a while; one that the job tells of comes at once. A folder that is never quiet, as
// where a job appends its figures, is taken as it is now and then: else a host that
// is lost would take all of the job's checkpoints with it.
func (r *run) settle(newest, now time.Time) {
	switch {
	case !newest.After(r.saved):
		r.unsaved = time.Time{}
	case now.Sub(newest) > quiet, !r.unsaved.IsZero() && now.Sub(r.unsaved) >= longest:
		r.saved, r.unsaved = newest, time.Time{}
	case r.unsaved.IsZero():
		r.unsaved = now
	}
}

// readings spools what the host measures and what its runs have used.
func (a *Agent) readings(ctx context.Context, now time.Time) {
	var events []fabric.Event
	at := now.UTC()
	for _, s := range a.cfg.Sources {
		rctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		rs, err := s.Readings(rctx)
		cancel()
		if err != nil {
			a.cfg.Log.Debug("a reading failed", "err", err)
		}
		for _, r := range rs {
			if r.At.IsZero() {
				r.At = at
			}
			events = append(events, fabric.Event{At: r.At, Reading: &r})
		}
	}
	a.mu.Lock()
	for _, r := range a.runs {
		if r.Phase == fabric.Running {
			events = append(events, fabric.Event{At: at, Use: &fabric.Use{Run: r.Run, Usage: r.usage}})
		}
	}
	a.mu.Unlock()
	if len(events) == 0 {
		return
	}
	if err := a.spool.add(events...); err != nil {
		a.cfg.Log.Warn("readings are lost", "err", err)
	}
}

// tidy forgets what nobody needs any more.
func (a *Agent) tidy(ctx context.Context) {
	t := time.NewTicker(10 * time.Minute)
	defer t.Stop()
	for {
		a.tidyOnce(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (a *Agent) tidyOnce(now time.Time) {
	type seen struct {
		busy bool
		last time.Time
	}
	jobs := map[string]*seen{}
	var gone []string
	a.mu.Lock()
	for id, r := range a.runs {
		j := jobs[r.Job]
		if j == nil {
			j = &seen{}
			jobs[r.Job] = j
		}
		j.busy = j.busy || r.alive() || !r.Taken
		if r.At.After(j.last) {
			j.last = r.At
		}
		if !r.alive() && r.Taken && now.Sub(r.At) > keepEnded {
			gone = append(gone, id)
			delete(a.runs, id)
		}
	}
	a.mu.Unlock()
	for _, id := range gone {
		_ = os.RemoveAll(runDir(a.cfg.Dir, id))
	}
	names, _ := os.ReadDir(filepath.Join(a.cfg.Dir, "jobs"))
	for _, n := range names {
		j := jobs[n.Name()]
		if j == nil {
			info, err := n.Info()
			if err != nil {
				continue
			}
			j = &seen{last: info.ModTime()}
		}
		if !j.busy && now.Sub(j.last) > keepFiles {
			_ = os.RemoveAll(filepath.Join(a.cfg.Dir, "jobs", n.Name()))
		}
	}
}
