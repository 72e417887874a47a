package compute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Logs writes the job's output, of all its runs, from the byte offset on; a
// negative offset counts from the end. With follow it goes on until the job has
// ended for good or ctx has. A virtual job has no output, and the log says so.
// Errors: NotFound.
func (s *Service) Logs(ctx context.Context, id string, from int64, follow bool, w io.Writer) error {
	j, err := s.Job(id)
	if err != nil {
		return err
	}
	if j.Virtual {
		_, err := fmt.Fprintf(w, "Job %s runs on virtual hosts: it has no process and prints nothing.\n", id)
		return err
	}
	path := filepath.Join(s.jobDir(id), "log")
	tick := time.NewTicker(logEvery)
	defer tick.Stop()
	var f *os.File
	defer func() {
		if f != nil {
			_ = f.Close()
		}
	}()
	for {
		// The state is read before the file: what an ended job wrote is all there.
		ended, err := s.hasEnded(id)
		if err != nil {
			return err
		}
		if f == nil {
			if f, err = openAt(path, from); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("read the log of job %s: %w", id, err)
			}
		}
		if f != nil {
			if _, err := io.Copy(w, f); err != nil {
				return fmt.Errorf("read the log of job %s: %w", id, err)
			}
			if fl, ok := w.(interface{ Flush() }); ok {
				fl.Flush()
			}
		}
		if !follow || ended {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// logEvery is how often a log that is followed is looked at: well within the 200 ms
// that a reader may be behind.
const logEvery = 50 * time.Millisecond

func (s *Service) hasEnded(id string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.jobs[id]
	if e == nil {
		return false, notFound(id)
	}
	return e.Job.State.Ended(), nil
}

func openAt(path string, from int64) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		if from < 0 {
			from = max(0, info.Size()+from)
		}
		_, err = f.Seek(from, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
