package agent

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/fabric"
)

// fence ends the runs whose lease is over.
func (a *Agent) fence(ctx context.Context) {
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		h, now := a.lease.get(), a.cfg.Uptime()
		type due struct {
			run    string
			notice time.Duration
		}
		var over []due
		a.mu.Lock()
		for _, r := range a.runs {
			if r.alive() && r.stop == nil && h.Expired(now, r.Lease) {
				over = append(over, due{r.Run, r.Notice})
			}
		}
		a.mu.Unlock()
		for _, d := range over {
			a.cfg.Log.Warn("the site was not heard of for longer than the lease: the run is stopped", "run", d.run)
			a.stop(d.run, d.notice, true)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// guard sees to it that a guard is there: a process that outlives this one.
func (a *Agent) guard(ctx context.Context) {
	if len(a.cfg.Guard) == 0 {
		return
	}
	t := time.NewTicker(2 * time.Second)
	defer t.Stop()
	for {
		if f, free, err := lockFile(filepath.Join(a.cfg.Dir, guardLock)); err == nil && free {
			_ = f.Close()
			if err := startGuard(a.cfg.Guard, a.cfg.Dir); err != nil {
				a.cfg.Log.Error("no guard: should this agent die, runs outlive their lease", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

const guardLock = "guard.lock"

func startGuard(argv []string, dir string) error {
	log, err := os.OpenFile(filepath.Join(dir, "guard.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], append(append([]string{}, argv[1:]...), dir)...) //nolint:noctx // it outlives us
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GOMAXPROCS=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // so that it leaves no zombie
	return nil
}

// Guard ends the runs of a data folder whose lease is over, whether an agent is
// there or not. It returns when another guard is there, when ctx ends, or when
// neither an agent nor a run is left. It writes nothing but its lock.
func Guard(ctx context.Context, dir string, executors []Executor) error {
	lock, ok, err := lockFile(filepath.Join(dir, guardLock))
	if err != nil || !ok {
		return err
	}
	defer lock.Close()
	boot := bootID()
	ending := map[string]bool{}
	var over sync.Map // runs that it has ended: their records say so only when an agent is back
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for idle := 0; idle < 10; {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		recs, err := loadRecords(dir)
		if err != nil {
			continue // being written, or damaged: the agent says so
		}
		h, now := readLease(filepath.Join(dir, "lease.json"), boot), fabric.Uptime()
		alive := 0
		for _, r := range recs {
			if _, ended := over.Load(r.Run); ended || !r.alive() {
				continue
			}
			alive++
			x := executorOf(executors, r.Executor)
			if x == nil || ending[r.Run] || !h.Expired(now, r.Lease+guardDelay) {
				continue
			}
			ending[r.Run] = true
			go func() {
				for endRecord(ctx, x, r) != nil && ctx.Err() == nil {
					time.Sleep(time.Second)
				}
				over.Store(r.Run, true)
			}()
		}
		idle++
		f, free, err := lockFile(filepath.Join(dir, "agent.lock"))
		if f != nil {
			_ = f.Close()
		}
		if alive > 0 || err == nil && !free {
			idle = 0
		}
	}
	return nil
}

// guardDelay lets an agent that is there do it itself. It is part of what the
// site's horizon allows for slowness.
const guardDelay = 2 * time.Second

func executorOf(all []Executor, name string) compute.Executor {
	for _, x := range all {
		if x.Name == name {
			return x.Run
		}
	}
	return nil
}

func endRecord(ctx context.Context, x compute.Executor, r record) error {
	notice := r.Notice
	if r.Handle == "" {
		h, err := x.Start(ctx, r.Spec) // finds it, see endUnsure
		if k := sluice.KindOf(err); err != nil && (k == sluice.Conflict || k == sluice.Invalid) {
			return nil // it has never begun, and cannot here: the guard holds no GPUs
		}
		if err != nil {
			return err
		}
		r.Handle, notice = h, 0
	}
	return x.Stop(ctx, r.Handle, notice)
}
