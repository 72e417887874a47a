package agent

import (
	"context"
	"io"
	"sync"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/fabric"
)

const (
	maxExecs   = 32
	execBuffer = 256 << 10 // of output that nobody has read yet: then the command waits
	execIdle   = 30 * time.Second
)

// execs are the commands that run beside runs.
type execs struct {
	mu  sync.Mutex
	all map[string]*command
}

type command struct {
	cancel context.CancelFunc
	in     *io.PipeWriter
	seen   time.Time // of the last order

	feed sync.Mutex
	fed  int64 // bytes of input that were taken
	eof  bool

	mu    sync.Mutex
	cond  *sync.Cond
	out   []byte // from byte from on
	from  int64
	ended bool
	code  int
	err   error
}

// Write takes output, and waits while nobody reads it.
func (c *command) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for len(b) > 0 {
		for len(c.out) >= execBuffer && !c.ended {
			c.cond.Wait()
		}
		if c.ended {
			return n, io.ErrClosedPipe
		}
		k := min(len(b), execBuffer-len(c.out))
		c.out = append(c.out, b[:k]...)
		b, n = b[k:], n+k
		c.cond.Broadcast()
	}
	return n, nil
}

func (a *Agent) onExec(o fabric.Order, _ []byte) (any, []byte, error) {
	e, err := read[fabric.ExecOrder](o)
	if err != nil {
		return nil, nil, err
	}
	if len(e.ID) != 32 || len(e.Argv) == 0 || len(e.Argv) > 1000 {
		return nil, nil, sluice.Errorf(sluice.Invalid, "", "no command")
	}
	x, h, _, err := a.running(e.Run)
	if err != nil {
		return nil, nil, err
	}
	execer, ok := x.(compute.Execer)
	if !ok {
		return nil, nil, sluice.Errorf(sluice.Invalid, "", "the host cannot run a command beside run %s", e.Run)
	}
	a.execs.mu.Lock()
	defer a.execs.mu.Unlock()
	if a.execs.all == nil {
		a.execs.all = map[string]*command{}
	}
	if a.execs.all[e.ID] != nil {
		return fabric.ExecAnswer{}, nil, nil // asked again
	}
	if len(a.execs.all) >= maxExecs {
		return nil, nil, sluice.Errorf(sluice.Unavailable, "", "%d commands run on the host already", maxExecs)
	}
	ctx, cancel := context.WithCancel(a.run)
	in, w := io.Pipe()
	c := &command{cancel: cancel, in: w, seen: time.Now()}
	c.cond = sync.NewCond(&c.mu)
	a.execs.all[e.ID] = c
	a.tasks.Go(func() {
		code, err := execer.Exec(ctx, h, e.Argv, in, c)
		_ = in.CloseWithError(io.ErrClosedPipe)
		c.mu.Lock()
		c.ended, c.code, c.err = true, code, err
		c.cond.Broadcast()
		c.mu.Unlock()
	})
	a.tasks.Go(func() { a.reap(e.ID, c) })
	return fabric.ExecAnswer{}, nil, nil
}

// reap ends a command of which nobody has asked for a while.
func (a *Agent) reap(id string, c *command) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-a.run.Done():
		case <-t.C:
		}
		a.execs.mu.Lock()
		idle := time.Since(c.seen) > execIdle || a.run.Err() != nil || a.execs.all[id] != c
		if idle {
			delete(a.execs.all, id)
		}
		a.execs.mu.Unlock()
		if idle {
			c.end()
			return
		}
	}
}

func (c *command) end() {
	c.cancel()
	_ = c.in.CloseWithError(io.ErrClosedPipe)
	c.mu.Lock()
	c.ended = true // whoever writes stops waiting
	c.cond.Broadcast()
	c.mu.Unlock()
}

func (a *Agent) command(o fabric.Order) (fabric.ExecOrder, *command, error) {
	e, err := read[fabric.ExecOrder](o)
	if err != nil {
		return e, nil, err
	}
	a.execs.mu.Lock()
	defer a.execs.mu.Unlock()
	c := a.execs.all[e.ID]
	if c == nil {
		return e, nil, sluice.Errorf(sluice.NotFound, "", "the command has ended")
	}
	c.seen = time.Now()
	return e, c, nil
}

func (a *Agent) onExecIn(o fabric.Order, data []byte) (any, []byte, error) {
	e, c, err := a.command(o)
	if err != nil {
		return nil, nil, err
	}
	c.feed.Lock()
	defer c.feed.Unlock()
	if skip := c.fed - e.From; skip >= 0 && !c.eof {
		if skip < int64(len(data)) {
			n, _ := c.in.Write(data[skip:]) // it fails when the command reads no more
			c.fed += int64(n)
			if n < len(data[skip:]) {
				c.fed, c.eof = e.From+int64(len(data)), true
			}
		}
		if e.EOF && !c.eof {
			c.eof = true
			_ = c.in.Close()
		}
	}
	return fabric.ExecAnswer{Next: c.fed}, nil, nil
}

func (a *Agent) onExecOut(o fabric.Order, _ []byte) (any, []byte, error) {
	e, c, err := a.command(o)
	if err != nil {
		return nil, nil, err
	}
	late := time.AfterFunc(time.Second, func() { c.mu.Lock(); c.cond.Broadcast(); c.mu.Unlock() })
	defer late.Stop()
	until := time.Now().Add(time.Second)
	c.mu.Lock()
	defer c.mu.Unlock()
	if done := e.From - c.from; done > 0 && done <= int64(len(c.out)) {
		c.out, c.from = c.out[done:], e.From // the site has that
		c.cond.Broadcast()
	}
	for len(c.out) == 0 && !c.ended && time.Now().Before(until) {
		c.cond.Wait()
	}
	out := append([]byte(nil), c.out...)
	ans := fabric.ExecAnswer{Ended: c.ended && len(out) == 0, Code: c.code}
	if ans.Ended && c.err != nil {
		ans.Kind, ans.Err = int(sluice.KindOf(c.err)), c.err.Error()
	}
	return ans, out, nil
}

func (a *Agent) onExecStop(o fabric.Order, _ []byte) (any, []byte, error) {
	e, c, err := a.command(o)
	if err != nil {
		return struct{}{}, nil, nil //nolint:nilerr // it has ended, as was wanted
	}
	a.execs.mu.Lock()
	delete(a.execs.all, e.ID)
	a.execs.mu.Unlock()
	c.end()
	return struct{}{}, nil, nil
}
