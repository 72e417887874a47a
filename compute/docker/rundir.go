package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/compute"
)

// Files of a run's folder. What the container sees of it is box, read only, and
// out, which it may write.
const (
	lockFile    = "lock"
	runFile     = "run.json"   // what to know of the run; written before there is a container
	startedFile = "started"    // written before the container is started
	upFile      = "up"         // whoever looks knows that it has been started
	stopFile    = "stop.json"  // written before a stop is asked for
	cutFile     = "cut.json"   // written before we end it ourselves, with the reason
	exitFile    = "exit.json"  // how it ended
	engineLog   = "engine.log" // the engine's record of its output, where it lets us choose
	carriedFile = "carried"    // how much of its output is in a log that others write too
	boxDir      = "box"
	controlDir  = "ctl" // with the socket on which it tells of checkpoints, and nothing else
	outDir      = "out"
)

// run is the content of runFile.
type run struct {
	RunID     string            `json:"run_id"`
	Host      string            `json:"host"`
	Container string            `json:"container"` // its name
	Image     string            `json:"image"`
	Isolation compute.Isolation `json:"isolation"`
	Log       string            `json:"log"`
	Shared    bool              `json:"shared,omitempty"` // its log is that of other nodes too
	Gang      string            `json:"gang,omitempty"`   // container that holds its gang's network
	GangDir   string            `json:"gang_dir,omitempty"`
	Filter    *filter           `json:"filter,omitempty"` // of its network
	Control   string            `json:"control,omitempty"`
	LogStart  int64             `json:"log_start"` // size of the log where its output begins
	LogLimit  int64             `json:"log_limit"`
	SetupDone string            `json:"setup_done"`
	Folders   []string          `json:"folders"` // that DiskLimit counts
	Memory    int64             `json:"memory"`
	CPUs      float64           `json:"cpus"`
	Disk      int64             `json:"disk"`
	Signal    string            `json:"signal"`            // that asks it to end
	Secrets   string            `json:"secrets,omitempty"` // folder in memory
	Boot      string            `json:"boot"`              // of the machine
}

// stopRequest is the content of stopFile.
type stopRequest struct {
	Until    time.Time `json:"until"` // then it is killed
	Signaled bool      `json:"signaled"`
	AtOnce   bool      `json:"at_once,omitempty"` // nothing is asked first
}

// cut is the content of cutFile.
type cut struct {
	Why string `json:"why"`
}

func readRun(dir string) (r run, err error) { return r, readJSON(dir, runFile, &r) }

func readExit(dir string) (e compute.Exit, err error) { return e, readJSON(dir, exitFile, &e) }

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(b)
}

// take gets the lock of a run, or says that somebody who holds it has started
// the run. Who starts it lets go, or leaves the mark.
func take(ctx context.Context, dir string) (lock *os.File, started bool, err error) {
	lock, err = os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, false, err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return lock, false, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			_ = lock.Close()
			return nil, false, fmt.Errorf("lock: %w", err)
		case exists(dir, upFile) || exists(dir, exitFile):
			_ = lock.Close()
			return nil, true, nil
		}
		select {
		case <-ctx.Done():
			_ = lock.Close()
			return nil, false, ctx.Err()
		case <-tick.C:
		}
	}
}

// hold blocks until nobody else acts on the run. Without the folder there is
// nothing to hold, and nil.
func hold(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, unix.EINTR) {
			_ = lock.Close()
			return nil, fmt.Errorf("lock: %w", err)
		}
	}
}

func readJSON(dir, name string, v any) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return nil
}

func writeJSON(dir, name string, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		err = sluice.WriteFile(filepath.Join(dir, name), b)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
