package compute

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// CompleteFile is the file in the checkpoint folder whose date says when the last
// checkpoint was complete. Where a job neither touches it nor tells, the newest
// file there counts.
const CompleteFile = ".complete"

// socketPath is the longest path that a Unix socket's address takes.
const socketPath = 107

// controlPath is where a run on this machine may tell of its checkpoints; "" where
// the data folder's name is too long for a socket.
func (s *Service) controlPath(run string) string {
	p := filepath.Join(s.cfg.Dir, "ctl", run+".sock")
	if len(p) > socketPath {
		return ""
	}
	return p
}

// listen opens the socket of a run. A run that cannot tell is judged by its files,
// so an error is no reason not to run.
func (s *Service) listen(e *entry, run, path string) {
	if path == "" {
		return
	}
	l, err := ListenControl(path, Told{
		Checkpoint: func() { s.ToldCheckpoint(e.Job.ID, run) },
		Ready:      func() { s.toldReady(e, run) },
		Progress:   func(done float64) { s.toldProgress(e, run, done) },
	})
	if err != nil {
		return
	}
	s.mu.Lock()
	if old := s.ears[run]; old != nil {
		go old()
	}
	s.ears[run] = func() { _ = l.Close() }
	s.mu.Unlock()
}

// deafen closes the socket of a run. Callers hold mu.
func (s *Service) deafen(run string) {
	if f := s.ears[run]; f != nil {
		delete(s.ears, run)
		go f()
	}
}

// Told is what a run may tell on its control socket.
type Told struct {
	Checkpoint func() // POST /checkpoint: what it has saved is complete
	Ready      func() // POST /ready: it has loaded its state and goes on with its work
	// POST /progress with a number: work done so far in units of its own, such as
	// steps. How fast it goes at which power is learned of it.
	Progress func(done float64)
}

// ListenControl serves a run's control socket until the server is closed:
//
//	curl --unix-socket "$SLUICE_CONTROL" -X POST http://sluice/checkpoint
//
// Its folder is for the server alone; the socket itself is open to whoever can
// see it, which is the run that has it mounted.
func ListenControl(path string, told Told) (*http.Server, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		_ = l.Close()
		return nil, err
	}
	mux := http.NewServeMux()
	answer := func(f func()) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, 4096)
			f()
			w.WriteHeader(http.StatusNoContent)
		}
	}
	mux.HandleFunc("POST /checkpoint", answer(told.Checkpoint))
	mux.HandleFunc("POST /ready", answer(told.Ready))
	mux.HandleFunc("POST /progress", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64))
		done, perr := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
		if err != nil || perr != nil || math.IsNaN(done) || math.IsInf(done, 0) || done < 0 {
			http.Error(w, "send the work done so far as a number", http.StatusBadRequest)
			return
		}
		if told.Progress != nil {
			told.Progress(done)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
		IdleTimeout: 30 * time.Second, MaxHeaderBytes: 8 << 10,
	}
	srv.SetKeepAlivesEnabled(false)
	go func() {
		_ = srv.Serve(&narrow{Listener: l, room: make(chan struct{}, maxCalls), closed: make(chan struct{})})
	}()
	return srv, nil
}

// maxCalls is how many calls of a run are answered at once: the server's files are
// everybody's. Who opens more waits until his own are over.
const maxCalls = 8

// narrow lets a few connections in at once.
type narrow struct {
	net.Listener
	room   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *narrow) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &narrowConn{c, sync.OnceFunc(func() { <-l.room })}, nil
}

func (l *narrow) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type narrowConn struct {
	net.Conn
	leave func()
}

func (c *narrowConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// tellEvery is how often what a run tells of its checkpoints is stored at once: more
// often it is only known, and stored with the next change. A run that tells without
// end does not keep others from the disk.
const tellEvery = time.Second

// ToldCheckpoint notes that a run has saved its work now. A run that is not the
// job's present one is ignored.
func (s *Service) ToldCheckpoint(job, run string) {
	now := time.Now()
	s.mu.Lock()
	e := s.jobs[job]
	if e == nil || e.nodeOf(run) < 0 {
		s.mu.Unlock()
		return
	}
	e.tells = true
	s.noteSaved(e, now)
	soon := now.Sub(e.toldAt) < tellEvery
	if soon {
		s.dirty[job] = true
	} else {
		e.toldAt = now
		s.touch(e)
	}
	s.mu.Unlock()
	if !soon {
		_ = s.Sync(s.ctx)
	}
}

// toldReady notes that a run has loaded its state: what it did before is what each
// restart costs.
func (s *Service) toldReady(e *entry, run string) {
	_ = s.change(s.ctx, func() func() {
		if e.nodeOf(run) < 0 || e.runningAt.IsZero() || e.ready {
			return nil
		}
		e.ready = true
		e.learnRestart(time.Since(e.runningAt).Seconds())
		s.touch(e)
		return nil
	})
}

func (e *entry) learnRestart(sec float64) {
	if e.Lessons.RestartSec == 0 {
		e.Lessons.RestartSec = sec
	}
	e.Lessons.RestartSec += (sec - e.Lessons.RestartSec) / 2
}

// noteSaved notes the date of the newest checkpoint, in wall time. The job's own
// stamp is in site time: when it was first seen. Callers hold mu.
func (s *Service) noteSaved(e *entry, at time.Time) {
	if now := time.Now(); at.After(now) {
		at = now // a file may bear any date
	}
	if !at.After(e.saved) {
		return
	}
	if !e.saved.IsZero() && e.saved.After(e.runningAt) && !e.runningAt.IsZero() {
		gap := at.Sub(e.saved).Seconds()
		if e.Lessons.EverySec == 0 {
			e.Lessons.EverySec = gap
		}
		e.Lessons.EverySec += (gap - e.Lessons.EverySec) / 2
	} else if !e.ready && e.Lessons.EverySec > 0 && e.Job.Runs > 1 && at.After(e.runningAt) {
		// The first checkpoint of a run that does not tell when it is ready: what it
		// took beyond the usual time between two is the restart.
		e.learnRestart(max(0, at.Sub(e.runningAt).Seconds()-e.Lessons.EverySec))
	}
	now := s.cfg.Now().UTC()
	if e.saved = at; e.Job.CheckpointAt == nil || e.Job.Runs > 0 {
		e.Job.CheckpointAt = &now
	}
}

// lookEvery is how often the checkpoint folder of a run is looked at.
const lookEvery = 2 * time.Second

// lookForCheckpoint dates the newest checkpoint of a job that does not tell.
func (s *Service) lookForCheckpoint(e *entry, now bool) {
	s.mu.Lock()
	skip := e.Job.Virtual || e.tells || !now && time.Since(e.lookedAt) < lookEvery
	dir := e.checkpointDir(s)
	if !skip {
		e.lookedAt = time.Now()
	}
	s.mu.Unlock()
	if skip {
		return
	}
	at := newest(dir)
	if info, err := os.Stat(filepath.Join(dir, CompleteFile)); err == nil {
		at = info.ModTime()
	}
	s.mu.Lock()
	s.noteSaved(e, at)
	s.mu.Unlock()
}

func (e *entry) checkpointDir(s *Service) string {
	return filepath.Join(s.jobDir(e.Job.ID), "checkpoint")
}

// newest returns when the newest file below dir was written, zero when there
// is none. It looks at no more than 10,000 entries.
func newest(dir string) time.Time {
	var t time.Time
	left := 10_000
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if left--; err != nil || left < 0 {
			return filepath.SkipAll
		}
		if info, err := d.Info(); err == nil && d.Type().IsRegular() && info.ModTime().After(t) {
			t = info.ModTime()
		}
		return nil
	})
	return t
}
