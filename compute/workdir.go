package compute

import (
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

	"sluice"
)

// MaxWorkdir is the most that a job's working folder may hold at submission.
const (
	MaxWorkdir      = 1 << 30 // bytes
	maxWorkdirFiles = 100_000
)

// furnish makes the folders of new jobs, with what came along, and seals their
// secrets. Where it fails nothing of them is left.
func (s *Service) furnish(ctx context.Context, r SubmitRequest, virtual bool, ids []string) error {
	if len(r.Task.Secrets) > 0 && s.cfg.Vault == nil {
		return sluice.Errorf(sluice.Invalid, "start the site with a data folder that it may write to", "this site keeps no secrets")
	}
	if virtual {
		return nil
	}
	if err := s.makeVolumes(r.Tenant, r.Task); err != nil {
		return err
	}
	from := r.WorkdirPath
	if r.shares(len(ids)) {
		if err := s.makeShare(r, ids); err != nil {
			s.unfurnish(ctx, virtual, ids)
			return err
		}
		from = "" // each job gets its copy when it starts
	}
	for _, id := range ids {
		err := s.prepare(id, from, !r.shares(len(ids)))
		if err == nil && len(r.Task.Secrets) > 0 {
			err = s.cfg.Vault.Seal(ctx, id, r.Task.Secrets)
		}
		if err != nil {
			s.unfurnish(ctx, virtual, ids)
			return err
		}
	}
	if r.WorkdirPath != "" {
		unix.Sync() // one flush for all files: the copy survives a power cut as the record does
	}
	return nil
}

func (s *Service) unfurnish(ctx context.Context, virtual bool, ids []string) {
	if virtual {
		return
	}
	s.dropShare(ids)
	for _, id := range ids {
		_ = os.RemoveAll(s.jobDir(id))
		if s.cfg.Vault != nil {
			_ = s.cfg.Vault.Erase(ctx, id)
		}
	}
}

// prepare makes the job's own folder and copies the client's into it, so that a job
// never writes to its client's files. Where work is false the working folder is made
// when the job starts.
func (s *Service) prepare(id, from string, work bool) error {
	dir := s.jobDir(id)
	for _, d := range []string{"work", "checkpoint", "runs"} {
		if d == "work" && !work {
			continue
		}
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return fmt.Errorf("make the job's folder: %w", err)
		}
	}
	if from != "" {
		return copyTree(from, filepath.Join(dir, "work"), s.cfg.Dir, MaxWorkdir)
	}
	return nil
}

// workOf is the name of a node's working folder.
func workOf(rank int) string {
	if rank == 0 {
		return "work"
	}
	return "work-" + strconv.Itoa(rank)
}

// prepareNodes makes the working folders that are not there yet, of all nodes, before
// the first of them begins to write to its own: those of an array's job with what the
// array came with, those of other nodes with what the first has.
func (s *Service) prepareNodes(r Record) error {
	if r.Job.Virtual {
		return nil
	}
	from, first := filepath.Join(s.jobDir(r.Job.ID), workOf(0)), 1
	if r.Job.Array != "" {
		if share, _, _, found := shareOf(s.cfg.Dir, r.Job.ID); found {
			from, first = share, 0
		}
	}
	for rank := first; rank < len(r.Nodes); rank++ {
		if err := s.prepareNode(r.Job.ID, from, workOf(rank)); err != nil {
			return err
		}
	}
	return nil
}

// prepareNode makes the working folder of a node with a copy of what is in from: on one
// host the nodes are not to write to each other's files.
func (s *Service) prepareNode(id, from, work string) error {
	to := filepath.Join(s.jobDir(id), work)
	if _, err := os.Stat(to); err == nil {
		return nil // it has run before
	}
	if !s.turn() {
		return s.ctx.Err()
	}
	defer func() { <-s.copying }()
	tmp := filepath.Join(s.jobDir(id), ".new-"+work)
	_ = os.RemoveAll(tmp) // of a process that was killed
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return fmt.Errorf("make the folder of a node: %w", err)
	}
	if err := copyTree(from, tmp, s.cfg.Dir, MaxWorkdir); err != nil {
		_ = os.RemoveAll(tmp)
		return err
	}
	if err := os.Rename(tmp, to); err != nil {
		_ = os.RemoveAll(tmp)
		return fmt.Errorf("make the folder of a node: %w", err)
	}
	return nil
}

// copyTree copies the folder: directories, regular files and symbolic links that
// stay inside. Sockets, devices and pipes are left out, and so are links to
// elsewhere, which the job's folder could not resolve. A folder skip inside is
// left out: a data folder is not copied into itself.
func copyTree(from, to, skip string, limit int64) error {
	root, err := os.OpenRoot(from)
	if err != nil {
		return sluice.Errorf(sluice.Invalid, "workdir is a folder next to the task file", "open workdir %s: %v", from, err)
	}
	defer root.Close()
	out, err := os.OpenRoot(to)
	if err != nil {
		return fmt.Errorf("copy workdir: %w", err)
	}
	defer out.Close()
	own, _ := os.Stat(skip)
	files, left := 0, limit
	return fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("copy workdir: %w", err)
		}
		if p == "." {
			return nil
		}
		if files++; files > maxWorkdirFiles {
			return sluice.Errorf(sluice.Invalid, "point workdir at a smaller folder", "workdir %s has more than %d files", from, maxWorkdirFiles)
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		} else if err != nil {
			return fmt.Errorf("copy workdir: %w", err)
		}
		switch {
		case d.IsDir() && own != nil && os.SameFile(info, own):
			return fs.SkipDir
		case d.IsDir():
			err = out.Mkdir(p, info.Mode().Perm()|0o700)
		case d.Type()&fs.ModeSymlink != 0:
			err = copyLink(root, out, p)
		case d.Type().IsRegular():
			var n int64
			if n, err = copyFile(root, out, p, info.Mode().Perm(), left); err == nil {
				left -= n
			}
		}
		if err != nil && sluice.KindOf(err) == sluice.Internal {
			return fmt.Errorf("copy workdir: %w", err)
		}
		return err
	})
}

func copyLink(root, out *os.Root, p string) error {
	target, err := root.Readlink(p)
	if err != nil {
		return err
	}
	inside := filepath.Join(filepath.Dir(p), target)
	if filepath.IsAbs(target) || inside == ".." || strings.HasPrefix(inside, "../") {
		return nil
	}
	return out.Symlink(target, p)
}

func copyFile(root, out *os.Root, p string, perm fs.FileMode, left int64) (int64, error) {
	src, err := root.OpenFile(p, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	dst, err := out.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm|0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(dst, io.LimitReader(src, left+1))
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	if err == nil && n > left {
		err = sluice.Errorf(sluice.Invalid, "point workdir at a smaller folder, and fetch large data in setup", "workdir is larger than %d MiB", MaxWorkdir>>20)
	}
	return n, err
}
