package compute

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What an array came with is stored once, in Dir/arrays, and nobody writes to it. Each
// of its jobs gets a copy of its own when it first starts, so that none sees what
// another writes; when the job has ended, what it has left unchanged of the copy goes.
// So the disk holds it once, once more for each job that runs or was interrupted, and
// what the jobs have made. The last of the array's jobs to be wiped takes it along.

// arraysDir holds a folder for each array whose jobs share files.
const arraysDir = "arrays"

// shareName is the folder's name, which says whose it is: the array's first job and how
// many follow each other from there. So also a wipe that a killed process has left
// knows who may still need it.
func shareName(first, count int) string { return jobID(first) + "-" + strconv.Itoa(count) }

// parseShare is the inverse of shareName; false for what is none.
func parseShare(name string) (first, count int, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return 0, 0, false
	}
	count, err := strconv.Atoi(name[i+1:])
	first = jobNumber(name[:i])
	return first, count, err == nil && count > 0 && first > 0 && shareName(first, count) == name
}

// shareOf finds the folder that a job's array shares; false where it has none.
func shareOf(dir, job string) (share string, first, count int, found bool) {
	n := jobNumber(job)
	all, _ := os.ReadDir(filepath.Join(dir, arraysDir))
	for _, d := range all {
		if first, count, ok := parseShare(d.Name()); ok && first <= n && n < first+count {
			return filepath.Join(dir, arraysDir, d.Name()), first, count, true
		}
	}
	return "", 0, 0, false
}

// shares says whether the jobs of a request share what they come with.
func (r SubmitRequest) shares(jobs int) bool { return r.WorkdirPath != "" && jobs > 1 }

// makeShare stores what an array came with.
func (s *Service) makeShare(r SubmitRequest, ids []string) error {
	to := filepath.Join(s.cfg.Dir, arraysDir, shareName(jobNumber(ids[0]), len(ids)))
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("make the array's folder: %w", err)
	}
	if err := copyTree(r.WorkdirPath, to, s.cfg.Dir, MaxWorkdir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// dropShare takes it away again, if there is one, where the array was not accepted.
func (s *Service) dropShare(ids []string) {
	_ = os.RemoveAll(filepath.Join(s.cfg.Dir, arraysDir, shareName(jobNumber(ids[0]), len(ids))))
}

// slim takes away what ended jobs of arrays have left unchanged of the files that their
// arrays came with, others are left alone. It is done beside everything else; what a
// shutdown or a kill leaves undone, Recover begins again.
func (s *Service) slim(ids ...string) {
	var jobs []Job
	s.mu.Lock()
	for _, id := range ids {
		if e := s.jobs[id]; e != nil && !e.Job.Virtual && e.Job.Array != "" && e.Job.State.Ended() {
			jobs = append(jobs, e.Job)
		}
	}
	s.mu.Unlock()
	if len(jobs) == 0 {
		return
	}
	s.spawn(func() {
		for _, j := range jobs {
			if !s.turn() {
				return
			}
			share, _, _, found := shareOf(s.cfg.Dir, j.ID)
			for rank := 0; found && rank < max(1, j.Nodes); rank++ {
				_ = removeAlike(s.ctx, share, filepath.Join(s.jobDir(j.ID), workOf(rank)))
			}
			<-s.copying
		}
	})
}

// turn waits for the right to copy files at a start, or to take copies away: one at a
// time and in the order in which they ask, so that a whole array that ends at once is
// slim before the next copies are made. False where the service closes.
func (s *Service) turn() bool {
	select {
	case s.copying <- struct{}{}:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// removeAlike removes the regular files below dir that are the same below model, by
// their content, and the folders that are empty then.
func removeAlike(ctx context.Context, model, dir string) error {
	from, err := os.OpenRoot(model)
	if err != nil {
		return err
	}
	defer from.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var folders []string
	err = fs.WalkDir(from.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil || p == ".":
			return err
		case d.IsDir():
			folders = append(folders, p)
		case d.Type().IsRegular() && alike(from, root, p):
			_ = root.Remove(p)
		}
		return nil
	})
	for i := len(folders) - 1; i >= 0 && err == nil; i-- {
		_ = root.Remove(folders[i]) // one with something in it stays
	}
	return err
}

// alike says whether a file is the same in both folders. A link in its place is not.
func alike(a, b *os.Root, p string) bool {
	const flags = os.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK
	x, err := a.OpenFile(p, flags, 0)
	if err != nil {
		return false
	}
	defer x.Close()
	y, err := b.OpenFile(p, flags, 0)
	if err != nil {
		return false
	}
	defer y.Close()
	xi, err1 := x.Stat()
	yi, err2 := y.Stat()
	if err1 != nil || err2 != nil || !yi.Mode().IsRegular() || xi.Size() != yi.Size() || xi.Mode() != yi.Mode() {
		return false
	}
	u, v := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		n, err1 := io.ReadFull(x, u)
		m, err2 := io.ReadFull(y, v)
		if !bytes.Equal(u[:n], v[:m]) {
			return false
		}
		if err1 != nil || err2 != nil {
			return ended(err1) && ended(err2)
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// needsShare says whether another job of the array has not been wiped.
func needsShare(dir, job string, first, count int) bool {
	for n := first + count - 1; n >= first; n-- { // the oldest are wiped first
		if n == jobNumber(job) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, "jobs", jobID(n))); err == nil {
			return true
		}
	}
	return false
}
