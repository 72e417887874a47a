package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/compute"
)

// Files of a run's folder.
const (
	lockFile   = "lock"
	specFile   = "spec.json"   // what to run; holds the environment, hence 0600
	keeperFile = "keeper.json" // written by the keeper before it forks
	stopFile   = "stop.json"   // written by the server before it signals
	exitFile   = "exit.json"   // written by the keeper when nothing of the job is left
	traceFile  = "keeper.log"  // what the keeper itself has to say
	setupFile  = "setup.sh"
	runFile    = "run.sh"
	hookFile   = "hook.sh" // runs before a stop's signal
)

// started is what the keeper says when the job runs.
const started = "started\n"

// shimSpec is the content of specFile.
type shimSpec struct {
	RunID     string   `json:"run_id"`
	Host      string   `json:"host"`
	WorkDir   string   `json:"work_dir"`
	Log       string   `json:"log"`
	LogLimit  int64    `json:"log_limit"`
	Setup     bool     `json:"setup"`
	SetupDone string   `json:"setup_done"`
	Env       []string `json:"env"`
	CPUs      float64  `json:"cpus"`
	Memory    int64    `json:"memory"`
	Cgroups   string   `json:"cgroups"` // where they are mounted; empty: none
	Signal    string   `json:"signal"`  // that asks for the end, such as SIGTERM
	Hook      bool     `json:"hook"`
}

// stopRequest is the content of stopFile.
type stopRequest struct {
	Grace time.Duration `json:"grace_ns"`
}

// keeper is the content of keeperFile: who keeps the run.
type keeper struct {
	Pid       int       `json:"pid"`
	Start     string    `json:"start"` // of the process: with it, the pid is unique
	StartedAt time.Time `json:"started_at"`
	Cgroup    []string  `json:"cgroup,omitempty"` // folders that the job is in
	Job       int       `json:"job,omitempty"`    // leader of the job's process group
	JobStart  string    `json:"job_start,omitempty"`
}

// signal sends a signal to the keeper and to nobody who has its pid by now.
func (k keeper) signal(s syscall.Signal) error {
	p, err := os.FindProcess(k.Pid) // a pidfd on Linux: it cannot come to mean another
	if err != nil {
		return os.ErrProcessDone
	}
	defer func() { _ = p.Release() }()
	if start, err := startOf(k.Pid); err != nil || start != k.Start {
		return os.ErrProcessDone
	}
	if err := p.Signal(s); errors.Is(err, os.ErrProcessDone) || errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	} else if err != nil {
		return fmt.Errorf("signal its keeper %d: %w", k.Pid, err)
	}
	return nil
}

func (k keeper) group() *cgroup { return &cgroup{dirs: k.Cgroup} }

func writeSpec(dir string, spec compute.RunSpec, cfg Config) error {
	s := shimSpec{
		RunID: spec.RunID, Host: spec.Host, WorkDir: spec.WorkDir, Log: spec.Log, LogLimit: cfg.LogLimit,
		SetupDone: spec.SetupDone, Env: spec.Env, CPUs: spec.CPULimit, Memory: spec.MemoryLimit, Cgroups: cfg.CgroupRoot,
	}
	if cfg.NoCgroup {
		s.Cgroups = ""
	}
	var err error
	if s.Signal, err = interruptSignal(spec.Interrupt.Signal); err != nil {
		return err
	}
	s.Hook = spec.Interrupt.Hook != ""
	if s.Log == "" {
		s.Log = filepath.Join(dir, "log")
	}
	if s.SetupDone == "" {
		s.SetupDone = filepath.Join(dir, "setup.done")
	}
	if spec.Task != nil {
		s.Setup = spec.Task.Setup != ""
		for name, text := range map[string]string{setupFile: spec.Task.Setup, runFile: spec.Task.Run, hookFile: spec.Interrupt.Hook} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				return fmt.Errorf("write the script: %w", err)
			}
		}
	}
	return writeJSON(dir, specFile, s)
}

// interruptSignal is the full name of the signal that a task wants: USR1 is SIGUSR1.
func interruptSignal(s string) (string, error) {
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if s == "" {
		return "SIGTERM", nil
	}
	if name == "SIGKILL" || name == "SIGSTOP" || unix.SignalNum(name) == 0 {
		return "", sluice.Errorf(sluice.Invalid, "for example TERM, INT or USR1", "%q is no signal that a job can handle", s)
	}
	return name, nil
}

func openLock(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
}

// isHeld says whether a keeper, or a Start under way, holds the run.
func isHeld(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

func readKeeper(dir string) (k keeper, err error) { return k, readJSON(dir, keeperFile, &k) }

func readExit(dir string) (e compute.Exit, err error) { return e, readJSON(dir, exitFile, &e) }

func readJSON(dir, name string, v any) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 16<<20))
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
