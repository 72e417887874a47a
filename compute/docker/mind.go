package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/compute"
)

// How often what costs more than a look is done.
const (
	sampleEvery = time.Second
	askEvery    = 5 * time.Second // the engine, although the process is there
	diskShare   = 20              // the disk is measured for one part in so many of the time
	patience    = 100             // how often the engine is asked at once about a process that is gone
)

// awaitEnd acts on the run as soon as nobody else does, and returns how it ended.
func (x *Executor) awaitEnd(dir string, w *watch) (compute.Exit, error) {
	lock, err := hold(dir)
	if err != nil {
		return compute.Exit{}, fmt.Errorf("wait for %s: %w", filepath.Base(dir), err)
	}
	if lock != nil {
		defer lock.Close()
	}
	e, err := readExit(dir)
	if err == nil {
		if exists(dir, startedFile) { // we were killed between its record and this
			if r, err := readRun(dir); err == nil {
				x.sweep(dir, r)
			}
		}
		return e, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return compute.Exit{}, fmt.Errorf("wait for %s: %w", filepath.Base(dir), err)
	}
	r, err := readRun(dir)
	if errors.Is(err, os.ErrNotExist) {
		return lost("its folder is gone"), nil
	} else if err != nil {
		return compute.Exit{}, fmt.Errorf("wait for %s: %w", filepath.Base(dir), err)
	}
	m := &minder{x: x, dir: dir, run: r, watch: w}
	exit := m.mind()
	m.finish(exit)
	return exit, nil
}

func lost(why string) compute.Exit {
	return compute.Exit{Code: -1, Lost: true, At: time.Now().UTC(), Why: why}
}

// minder acts on one run until it has ended.
type minder struct {
	x     *Executor
	dir   string
	run   run
	watch *watch

	engine  *engine
	state   state
	log     *carrier
	used    compute.Usage
	sampled time.Time
	asked   time.Time
	diskAt  time.Time // when the disk is measured next
	setUp   bool      // setup is known to have run
	loose   bool      // it has the filter that it waited for
	tried   time.Time // since when that cannot be had
	gone    int       // how often the engine did not know yet
}

// mind goes on until the container has ended, and returns how. An engine that
// does not answer is waited for: what it runs may well go on.
func (m *minder) mind() compute.Exit {
	ctx := context.Background()
	tick := time.NewTicker(m.x.cfg.Tick)
	defer tick.Stop()
	wait, next := 100*time.Millisecond, time.Time{}
	for {
		if now := time.Now(); !now.Before(next) {
			if m.ask(ctx) == nil {
				break
			}
			next, wait = now.Add(wait), min(2*wait, 5*time.Second)
		}
		m.carry() // what the job says is there without the engine
		<-tick.C
	}
	if m.state.running {
		_ = os.WriteFile(filepath.Join(m.dir, upFile), nil, 0o600)
	}
	m.resumeStop()
	for m.state.running || m.state.ending {
		m.release(ctx)
		m.carry()
		m.noteSetup()
		now := time.Now()
		if now.Sub(m.sampled) >= sampleEvery {
			m.measure(ctx, now)
		}
		if gone := !m.alive(); gone && m.gone < patience || now.Sub(m.asked) >= askEvery {
			_ = m.ask(ctx) // asked again where it does not answer
			if gone {
				m.gone++ // the engine has yet to see it, or runs where we see no processes
			}
		}
		if m.state.running || m.state.ending {
			<-tick.C
		}
	}
	return m.ended()
}

func (m *minder) ask(ctx context.Context) error {
	var err error
	if m.engine == nil {
		if m.engine, err = m.x.engine(ctx, m.run.Isolation); err != nil {
			return err
		}
	}
	s, err := m.engine.state(ctx, m.run.Container)
	if err == nil {
		if s.logPath == "" {
			s.logPath = m.state.logPath // of a container that is gone
		}
		m.state, m.asked = s, time.Now()
	}
	return err
}

// alive says whether the container's first process is there; true where this
// machine does not show it.
func (m *minder) alive() bool {
	if m.state.ending {
		return false // the engine is asked again
	}
	return m.state.pid == 0 || !errors.Is(unix.Kill(m.state.pid, 0), unix.ESRCH)
}

// carry carries the output to the log.
func (m *minder) carry() {
	if m.log == nil {
		record := filepath.Join(m.dir, engineLog)
		if !exists(m.dir, engineLog) {
			record = m.state.logPath
		}
		c, err := openCarrier(m.dir, m.run, record)
		if err != nil {
			return // not there yet, or a disk that is full: the job goes on
		}
		m.log = c
	}
	for range 8 {
		if more, err := m.log.pump(); err != nil || !more {
			return
		}
	}
}

// release gives the run the filter that its first process may still wait for,
// because who started it was killed. An engine that does not answer is asked again.
func (m *minder) release(ctx context.Context) {
	if m.loose {
		return
	}
	if m.loose = m.run.Filter == nil || exists(filepath.Join(m.dir, outDir), "up"); m.loose {
		released(m.dir, m.run)
		return
	}
	err := m.x.release(ctx, m.engine, m.dir, m.run)
	switch {
	case err == nil:
		m.tried = time.Time{}
	case m.tried.IsZero() && sluice.KindOf(err) == sluice.Unavailable:
		m.tried = time.Now()
	case sluice.KindOf(err) != sluice.Unavailable || time.Since(m.tried) > startTimeout:
		m.cut(ctx, err.Error())
	}
}

// noteSetup makes it durable that setup has run.
func (m *minder) noteSetup() {
	if m.setUp || !exists(filepath.Join(m.dir, outDir), "setup.done") {
		return
	}
	m.setUp = os.WriteFile(m.run.SetupDone, nil, 0o600) == nil
}

// measure takes what the kernel counts, and what the folders hold.
func (m *minder) measure(ctx context.Context, now time.Time) {
	m.sampled = now
	linkControl(m.dir, m.run)
	m.add(m.state.sample())
	if !now.Before(m.diskAt) {
		n, err := diskUsed(ctx, m.run.Folders)
		took := time.Since(now)
		m.diskAt = now.Add(max(2*time.Second, diskShare*took))
		if err == nil {
			m.used.DiskBytes = n
			if m.run.Disk > 0 && n > m.run.Disk {
				m.cut(ctx, fmt.Sprintf("over its disk limit: its folders hold %s of %s", gb(n), gb(m.run.Disk)))
			}
		}
	}
	m.watch.mu.Lock()
	m.watch.used = m.used
	m.watch.mu.Unlock()
}

func (m *minder) add(u compute.Usage) {
	m.used.CPUSec, m.used.MemPeak = max(m.used.CPUSec, u.CPUSec), max(m.used.MemPeak, u.MemPeak)
}

// cut ends the run for a reason of its own.
func (m *minder) cut(ctx context.Context, why string) {
	if !exists(m.dir, cutFile) && writeJSON(m.dir, cutFile, cut{why}) != nil {
		m.x.cutAnyway(m.dir, why)
	}
	_ = m.engine.kill(ctx, m.run.Container, "KILL") // again at the next measurement
}

// ended says how the container ended.
func (m *minder) ended() compute.Exit {
	m.carry()
	m.noteSetup()
	s := m.state
	if !s.found || s.created || m.run.Boot != bootID() && s.finished.Before(s.started) {
		e := lost("its container is gone")
		if s.created {
			e.Why = "its container was never started"
		} else if m.run.Boot != bootID() {
			e.Why = "the machine was started anew"
		}
		switch {
		case exists(m.dir, stopFile):
			e = compute.Exit{Code: 137, Signal: "SIGKILL", Stopped: true, At: e.At, Why: "stopped; " + e.Why}
		case exists(filepath.Join(m.dir, outDir), "stopped"):
			// Whoever removed it has stopped it first, and it had its time.
			e = compute.Exit{Code: 143, Signal: "SIGTERM", Stopped: true, At: e.At, Why: "stopped from outside; " + e.Why}
		}
		return e
	}
	out := filepath.Join(m.dir, outDir)
	e := compute.Exit{Code: s.code, At: s.finished.UTC(), Stopped: exists(m.dir, stopFile) || exists(out, "stopped")}
	if name := unix.SignalName(unix.Signal(s.code - 128)); s.code > 128 && name != "" {
		e.Signal = name
	}
	oom := s.oom
	if text, err := readSmall(out, "usage"); err == nil {
		told := parseCounters(text)
		m.add(m.bounded(told.Usage, s))
		oom = oom || told.oomKills > 0
	}
	m.used.Seconds = max(0, s.finished.Sub(begun(m.dir, s)).Seconds())
	if n, err := diskUsed(context.Background(), m.run.Folders); err == nil {
		m.used.DiskBytes = n
	}
	e.Used = m.used
	var c cut
	switch failed, err := readSmall(out, "setup.failed"); {
	case readJSON(m.dir, cutFile, &c) == nil || m.x.wasCut(m.dir, &c):
		e.Why = c.Why
	case oom && e.Code != 0 && !e.Stopped:
		e.Why = "out of memory: its limit is " + gb(m.run.Memory)
		if m.run.Memory == 0 {
			e.Why = "out of memory: the machine has no more"
		}
	case err == nil && failed != "" && !e.Stopped:
		e.Why = "setup failed"
	case exists(out, "setup.stopped"):
		e.Why = "stopped before it ran"
	}
	return e
}

// begun is when the run took up its units. Podman writes the start down some time
// after it.
func begun(dir string, s state) time.Time {
	if info, err := os.Stat(filepath.Join(dir, startedFile)); err == nil && info.ModTime().Before(s.started) {
		return info.ModTime()
	}
	return s.started
}

// bounded keeps what the job could have written itself within what is possible.
func (m *minder) bounded(u compute.Usage, s state) compute.Usage {
	cpus := m.run.CPUs
	if cpus == 0 {
		cpus = float64(numCPU())
	}
	u.CPUSec = min(u.CPUSec, 1.1*cpus*max(0, s.finished.Sub(begun(m.dir, s)).Seconds())+0.1)
	if m.run.Memory > 0 {
		u.MemPeak = min(u.MemPeak, m.run.Memory)
	} else if m.used.MemPeak > 0 {
		u.MemPeak = min(u.MemPeak, 4*m.used.MemPeak)
	}
	return u
}

// finish makes the end durable, then removes the container. Without the record
// the container stays: it is what tells the next one how the run ended.
func (m *minder) finish(e compute.Exit) {
	if m.log != nil {
		m.log.close()
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		if writeJSON(m.dir, exitFile, e) == nil {
			break
		}
		if _, err := os.Stat(m.dir); errors.Is(err, os.ErrNotExist) {
			break // nobody wants to know
		}
		<-time.After(wait)
	}
	note(m.run, "%s ended: %s", m.run.RunID, describe(e))
	m.x.sweep(m.dir, m.run)
}

// sweep removes what a run leaves beside its record. What the engine does not
// remove now it does when the run is looked at again.
func (x *Executor) sweep(dir string, r run) {
	wipe(r.Secrets)
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	e, err := x.engine(ctx, r.Isolation)
	if err != nil {
		return
	}
	// Under load Podman finds a container's mounts busy for a while.
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		if err = e.remove(ctx, r.Container); err == nil {
			err = e.dropGang(ctx, dir, r)
		}
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if sluice.KindOf(err) == sluice.Unavailable {
			return
		}
	}
	_ = os.Remove(filepath.Join(dir, startedFile))
	_ = os.Remove(filepath.Join(dir, engineLog))
	for _, d := range []string{boxDir, outDir, controlDir} {
		_ = os.RemoveAll(filepath.Join(dir, d))
	}
}

func describe(e compute.Exit) string {
	text := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != "" {
		text = "by " + e.Signal
	}
	if e.Lost {
		text = "lost"
	}
	if e.Stopped {
		text += ", stopped"
	}
	if e.Why != "" {
		text += ", " + e.Why
	}
	return strings.TrimSpace(text)
}

// cutAnyway keeps why a run was cut where its disk does not take it.
func (x *Executor) cutAnyway(dir, why string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cuts[dir] = why
}

func (x *Executor) wasCut(dir string, c *cut) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	why, ok := x.cuts[dir]
	c.Why = why
	delete(x.cuts, dir)
	return ok
}
