package process

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"sluice/compute"
)

// recordRoom is what an exit record takes at most.
const recordRoom = 4096

// writeRecord writes the exit into room that the file has already, and gives it
// its name.
func writeRecord(f *os.File, e compute.Exit, path string) error {
	b, err := json.Marshal(e)
	if err != nil || len(b) > recordRoom {
		e.Why = ""
		if b, err = json.Marshal(e); err != nil {
			return fmt.Errorf("write the exit status: %w", err)
		}
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write the exit status: %w", err)
	}
	if err := f.Truncate(int64(len(b))); err != nil {
		return fmt.Errorf("write the exit status: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write the exit status: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write the exit status: %w", err)
	}
	return nil
}

// childrenUsage returns the CPU seconds and the largest resident size of all
// children that were waited for.
func childrenUsage() (cpuSec float64, maxRSS int64) {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_CHILDREN, &ru) != nil {
		return 0, 0
	}
	sec := float64(ru.Utime.Sec+ru.Stime.Sec) + float64(ru.Utime.Usec+ru.Stime.Usec)/1e6
	return sec, int64(ru.Maxrss) * rssUnit //nolint:unconvert // 32 bits on some machines
}

// boundedLog takes the output of a job through a pipe and appends it to a file
// of limited size. The job never waits for a file that is full.
type boundedLog struct {
	mu    sync.Mutex
	file  *os.File // nil: could not be opened, everything is dropped
	size  int64
	limit int64
	full  bool
	in    *os.File // the job's end
	out   *os.File
	ended chan struct{}
}

func openLog(path string, limit int64) *boundedLog {
	l := &boundedLog{limit: limit, ended: make(chan struct{})}
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
		l.file = f
		if info, err := f.Stat(); err == nil {
			l.size = info.Size()
		}
	}
	out, in, err := os.Pipe()
	if err != nil {
		// Without a pipe there is nothing to run with either.
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	l.in, l.out = in, out
	go func() {
		defer close(l.ended)
		buf := make([]byte, 64<<10)
		for {
			n, err := out.Read(buf)
			l.write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	return l
}

// writer is the end that the job writes to.
func (l *boundedLog) writer() *os.File { return l.in }

func (l *boundedLog) write(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil || l.full || len(b) == 0 {
		return
	}
	if left := l.limit - l.size; int64(len(b)) > left {
		b = b[:max(0, left)]
		l.full = true
	}
	n, _ := l.file.Write(b) // a disk that is full costs output, not the job
	l.size += int64(n)
	if l.full {
		_, _ = fmt.Fprintf(l.file, "\n[sluice] the log has reached its limit of %d bytes; what follows is dropped\n", l.limit)
	}
}

// note adds a line of Sluice's own, also to a log that is full.
func (l *boundedLog) note(format string, args ...any) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		n, _ := fmt.Fprintf(l.file, "[sluice] "+format+"\n", args...)
		l.size += int64(n)
	}
}

// close waits for the last output; call it when the job is gone.
func (l *boundedLog) close() {
	_ = l.in.Close()
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
	}
}
