package compute

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"sluice"
)

// Ways in which data are wiped.
const (
	// CryptoErase destroys the key: what was sealed under it is noise wherever
	// copies of it are, in backups too.
	CryptoErase = "crypto-erase of the job's key"
	// Deletion takes the names away. Blocks of a disk, snapshots of a file system
	// and copies made by others may keep the bytes until they are written over.
	Deletion = "deletion"
	// Kept is not wiped yet: what an array came with goes with the last of its jobs.
	Kept = "kept until the last job of the array is wiped"
)

// sharedFiles are what an array came with, which is stored once for all its jobs.
const sharedFiles = "files that its array came with"

// Wipe is the record of the wiping of an ended job's data. It is stored before
// anything is wiped and again when all is.
type Wipe struct {
	Job     string     `json:"job"`
	Tenant  string     `json:"tenant"`
	By      string     `json:"by"`
	Why     string     `json:"why"`
	AskedAt time.Time  `json:"asked_at"`
	DoneAt  *time.Time `json:"done_at,omitempty"` // absent: not yet, it is tried again
	Parts   []Wiped    `json:"parts"`
	Failed  string     `json:"failed,omitempty"` // what the last try failed with
}

// Wiped is one part of a job's data and how it is wiped.
type Wiped struct {
	What  string `json:"what"`
	How   string `json:"how"` // CryptoErase, Deletion or Kept
	Files int    `json:"files,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
}

// WipeStore keeps the records, one for a job. Package store implements it.
type WipeStore interface {
	PutWipe(ctx context.Context, w Wipe) error
	Wipe(ctx context.Context, job string) (Wipe, bool, error)
	Wipes(ctx context.Context, limit int) ([]Wipe, error) // the newest first
	OpenWipes(ctx context.Context) ([]Wipe, error)        // those without DoneAt
}

// Eraser wipes what a job has left somewhere else: on an executor, on another
// host. Both methods may be called again for the same job, and what is gone
// already is no error.
type Eraser interface {
	// Left says what there is, before it is wiped. Nil: nothing.
	Left(ctx context.Context, j Job) ([]Wiped, error)
	Erase(ctx context.Context, job string) error
}

// WiperConfig is what a Wiper is made of.
type WiperConfig struct {
	Dir       string // data folder; the jobs' folders are in Dir/jobs
	Store     WipeStore
	Vault     Vault         // optional
	Also      []Eraser      // optional
	Retention time.Duration // ended jobs keep their data so long; 0: until somebody asks
	Now       func() time.Time
}

// Wiper wipes what ended jobs have left. A job that has not ended for good keeps
// everything: its checkpoint is what it goes on from.
type Wiper struct {
	cfg WiperConfig

	one  sync.Mutex // one wipe at a time
	mu   sync.Mutex
	done map[string]bool
}

// NewWiper returns a Wiper that goes on with what was begun and not finished:
// a process that was killed in the middle of a wipe leaves it to the next.
func NewWiper(ctx context.Context, cfg WiperConfig) (*Wiper, error) {
	w := &Wiper{cfg: cfg, done: map[string]bool{}}
	all, err := cfg.Store.Wipes(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("reading what was wiped: %w", err)
	}
	for _, r := range all {
		if r.DoneAt != nil {
			w.done[r.Job] = true
		}
	}
	return w, nil
}

// Resume finishes what was begun. What fails stays begun, and is tried again by
// the next Resume.
func (w *Wiper) Resume(ctx context.Context) error {
	w.one.Lock()
	defer w.one.Unlock()
	open, err := w.cfg.Store.OpenWipes(ctx)
	if err != nil {
		return fmt.Errorf("reading what is to be wiped: %w", err)
	}
	var errs []error
	for _, r := range open {
		_, err := w.finish(ctx, r)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Wipe wipes the data of a job now and returns the record; of one that was wiped
// already, the record of that. Errors: Conflict when it has not ended.
func (w *Wiper) Wipe(ctx context.Context, j Job, by, why string) (Wipe, error) {
	if !j.State.Ended() {
		return Wipe{}, sluice.Errorf(sluice.Conflict, "cancel it first: sluice job cancel "+j.ID,
			"job %s is %s and would go on from what would be wiped", j.ID, j.State)
	}
	w.one.Lock()
	defer w.one.Unlock()
	r, known, err := w.cfg.Store.Wipe(ctx, j.ID)
	if err != nil {
		return Wipe{}, err
	}
	if known && r.DoneAt != nil {
		return r, nil
	}
	if !known {
		r = Wipe{Job: j.ID, Tenant: j.Tenant, By: by, Why: why, AskedAt: w.cfg.Now().UTC()}
		if r.Parts, err = w.left(ctx, j); err != nil {
			return Wipe{}, fmt.Errorf("wipe job %s: %w", j.ID, err)
		}
		if err := w.cfg.Store.PutWipe(ctx, r); err != nil {
			return Wipe{}, fmt.Errorf("wipe job %s: %w", j.ID, err)
		}
	}
	return w.finish(ctx, r)
}

// left lists what a job has left, without any folder that is not there.
func (w *Wiper) left(ctx context.Context, j Job) ([]Wiped, error) {
	parts := []Wiped{}
	if w.cfg.Vault != nil && j.Task != nil && len(j.Task.SecretNames) > 0 {
		parts = append(parts, Wiped{What: "secrets", How: CryptoErase})
	}
	for _, p := range w.folders(j.ID) {
		if _, err := os.Lstat(p.path); err != nil {
			continue
		}
		if p.How == Deletion {
			if err := p.count(ctx); err != nil {
				return nil, err
			}
		}
		parts = append(parts, p.Wiped)
	}
	for _, e := range w.cfg.Also {
		more, err := e.Left(ctx, j)
		if err != nil {
			return nil, err
		}
		parts = append(parts, more...)
	}
	return parts, nil
}

// finish does what the record says and marks it as done. Every step may be done
// twice.
func (w *Wiper) finish(ctx context.Context, r Wipe) (Wipe, error) {
	err := w.erase(ctx, r.Job)
	if err != nil {
		r.Failed = err.Error()
	} else {
		now := w.cfg.Now().UTC()
		r.DoneAt, r.Failed = &now, ""
		if _, _, _, found := shareOf(w.cfg.Dir, r.Job); !found {
			// Between the record and this the other jobs of the array were wiped.
			for i := range r.Parts {
				if r.Parts[i].How == Kept {
					r.Parts[i].How = Deletion
				}
			}
		}
	}
	if serr := w.cfg.Store.PutWipe(ctx, r); serr != nil {
		err = errors.Join(err, serr)
	}
	if err != nil {
		return r, fmt.Errorf("wipe job %s: %w", r.Job, err)
	}
	w.mu.Lock()
	w.done[r.Job] = true
	w.mu.Unlock()
	return r, nil
}

func (w *Wiper) erase(ctx context.Context, job string) error {
	if jobNumber(job) == 0 { // a name that leads elsewhere is never deleted
		return sluice.Errorf(sluice.Internal, "", "%q is no job", job)
	}
	if w.cfg.Vault != nil {
		if err := w.cfg.Vault.Erase(ctx, job); err != nil {
			return err
		}
	}
	for _, e := range w.cfg.Also {
		if err := e.Erase(ctx, job); err != nil {
			return err
		}
	}
	// The job's own folder goes last: as long as it is there, the array's are.
	for _, p := range slices.Backward(w.folders(job)) {
		if p.How != Deletion {
			continue
		}
		if err := remove(p.path); err != nil {
			return err
		}
	}
	return nil
}

// Sweep wipes the jobs that ended longer ago than the retention, and returns how
// many. It goes on after a failure and returns all of them joined.
func (w *Wiper) Sweep(ctx context.Context, now time.Time, jobs []Job) (n int, err error) {
	if w.cfg.Retention <= 0 {
		return 0, nil
	}
	var errs []error
	for _, j := range jobs {
		if j.Virtual || !j.State.Ended() || j.EndedAt == nil || now.Sub(*j.EndedAt) < w.cfg.Retention || ctx.Err() != nil {
			continue
		}
		w.mu.Lock()
		done := w.done[j.ID]
		w.mu.Unlock()
		if done {
			continue
		}
		if _, err := w.Wipe(ctx, j, "sluice", fmt.Sprintf("its data were kept for %s after its end", w.cfg.Retention)); err != nil {
			errs = append(errs, err)
			continue
		}
		n++
	}
	return n, errors.Join(errs...)
}

// Of returns the record of a job, and whether there is one.
func (w *Wiper) Of(ctx context.Context, job string) (Wipe, bool, error) {
	return w.cfg.Store.Wipe(ctx, job)
}

// List returns the newest records, the newest first.
func (w *Wiper) List(ctx context.Context, limit int) ([]Wipe, error) {
	return w.cfg.Store.Wipes(ctx, limit)
}

// Due is when a job's data will be wiped by itself; zero: never, or not known yet.
func (w *Wiper) Due(j Job) time.Time {
	if w.cfg.Retention <= 0 || j.Virtual || j.EndedAt == nil || !j.State.Ended() {
		return time.Time{}
	}
	return j.EndedAt.Add(w.cfg.Retention)
}
