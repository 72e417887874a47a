package idle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"sluice"
)

// marker names, in the environment of the miner and of all that it starts, the
// folder of who started it, so that they are found again after a crash of Sluice.
const marker = "SLUICE_IDLE_MINER"

// maxLog bounds what is kept of a miner's output.
const maxLog = 4 << 20

// process is the miner as our child.
type process struct {
	argv []string
	dir  string

	mu   sync.Mutex
	done chan struct{} // closed when the child has ended; nil: none was started
	pid  int
}

// running says whether the child lives.
func (p *process) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// start runs the command with the GPUs of these names alone. It gets nothing of our
// environment but the path.
func (p *process) start(gpus string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return fmt.Errorf("start the miner: %w", err)
	}
	log, err := os.Create(filepath.Join(p.dir, "miner.log"))
	if err != nil {
		return fmt.Errorf("start the miner: %w", err)
	}
	cmd := exec.Command(p.argv[0], p.argv[1:]...) //nolint:noctx // stop ends it, with all that it started
	cmd.Dir = p.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "LANG=C.UTF-8", marker + "=" + p.dir,
		"CUDA_VISIBLE_DEVICES=" + gpus, "NVIDIA_VISIBLE_DEVICES=" + gpus, "CUDA_DEVICE_ORDER=PCI_BUS_ID",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Through a pipe: a miner whose Sluice has died ends when it says something.
	out, in, err := os.Pipe()
	if err != nil {
		_ = log.Close()
		return fmt.Errorf("start the miner: %w", err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	err = cmd.Start()
	_ = in.Close()
	if err != nil {
		_, _ = out.Close(), log.Close()
		return sluice.Errorf(sluice.Invalid, "look at idle_mining.command", "start the miner %s: %v", p.argv[0], err)
	}
	go func() {
		defer log.Close()
		defer out.Close()
		buf := make([]byte, 32<<10)
		size := 0
		for {
			n, err := out.Read(buf)
			if size+n > maxLog { // begin anew
				size = 0
				_ = log.Truncate(0)
				_, _ = log.Seek(0, io.SeekStart)
			}
			m, _ := log.Write(buf[:n])
			size += m
			if err != nil {
				return
			}
		}
	}()
	done := make(chan struct{})
	p.done, p.pid = done, cmd.Process.Pid
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	return nil
}

// stop asks the miner to end, and ends it and all that it started after the grace.
// It returns when none of them is left.
func (p *process) stop(ctx context.Context, grace time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done != nil {
		select {
		case <-p.done:
		default:
			_ = syscall.Kill(-p.pid, syscall.SIGTERM)
			late := time.NewTimer(grace)
			select {
			case <-p.done:
			case <-late.C:
			case <-ctx.Done(): // then at once
			}
			late.Stop()
		}
	}
	// What is left carries the marker; the child too, when it does not obey.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	bound := time.NewTimer(10 * time.Second) // also when ctx has ended: it must not stay
	defer bound.Stop()
	for {
		left := kill(p.dir)
		if left == 0 {
			p.done = nil
			return nil
		}
		select {
		case <-tick.C:
		case <-bound.C:
			return sluice.Errorf(sluice.Internal, "it may hang in the driver: see `dmesg`", "%d processes of the miner do not die", left)
		}
	}
}

// kill sends a kill to every process that carries the marker of the folder and
// returns how many there were.
func kill(dir string) int {
	want := []byte(marker + "=" + dir)
	names, _ := filepath.Glob("/proc/[0-9]*")
	n := 0
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		// Found first, looked at then: it cannot come to mean another meanwhile.
		q, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		if b, err := os.ReadFile(name + "/environ"); err == nil && carries(b, want) && !zombie(name) {
			n++
			if err := q.Kill(); errors.Is(err, os.ErrProcessDone) {
				n--
			}
		}
		_ = q.Release()
	}
	return n
}

func carries(environ, want []byte) bool {
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		if bytes.Equal(v, want) {
			return true
		}
	}
	return false
}

func zombie(proc string) bool {
	b, err := os.ReadFile(proc + "/stat")
	i := bytes.LastIndexByte(b, ')')
	return err != nil || i < 0 || len(b) < i+3 || b[i+2] == 'Z' || b[i+2] == 'X'
}
