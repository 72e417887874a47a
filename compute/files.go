package compute

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
)

// Folders of a job that its client may read. The other nodes of a gang have working
// folders of their own: work-1, work-2 and so on.
const (
	FilesWork       = "work"
	FilesCheckpoint = "checkpoint"
)

// maxFiles is how many entries of a job's folders are listed or packed at most.
const maxFiles = 200_000

// File is an entry of a job's folders; Path begins with the folder's name.
type File struct {
	Path  string    `json:"path"`
	Bytes int64     `json:"bytes"`
	At    time.Time `json:"at"`             // when it was written, wall time
	Dir   bool      `json:"dir,omitempty"`  // a folder
	Link  string    `json:"link,omitempty"` // what a link inside the folder points to
}

// JobFiles are the folders of a job, opened for reading, also while it writes
// them. Whatever the job has put there, no path and no link leads out of them.
type JobFiles struct {
	job   string
	works []string // working folders, by rank
	roots map[string]*os.Root
}

// Files opens the folders of a job; Close them. Errors: NotFound, also when the
// job has none (any more).
func (s *Service) Files(id string) (*JobFiles, error) {
	s.mu.Lock()
	e, nodes := s.jobs[id], 1
	if e != nil && e.Task != nil {
		nodes = max(1, e.Task.NumNodes)
	}
	s.mu.Unlock()
	if e == nil {
		return nil, notFound(id)
	}
	f := &JobFiles{job: id, roots: map[string]*os.Root{}}
	for rank := range nodes {
		f.works = append(f.works, workOf(rank))
	}
	missing := sluice.Errorf(sluice.NotFound, "a virtual job has none, and those of an ended job are wiped: sluice job show "+id, "job %s has no files here", id)
	base, err := os.OpenRoot(s.jobDir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing
	} else if err != nil {
		return nil, fmt.Errorf("open the folders of job %s: %w", id, err)
	}
	defer base.Close()
	for _, name := range slices.Concat(f.works, []string{FilesCheckpoint}) {
		// A job that is a process of the host can put a link in its folder's place.
		if info, err := base.Lstat(name); err != nil || !info.IsDir() {
			continue
		}
		root, err := base.OpenRoot(name)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("open the folders of job %s: %w", id, err)
		}
		f.roots[name] = root
	}
	if len(f.roots) == 0 {
		return nil, missing
	}
	return f, nil
}

// Fetch brings home what the running nodes of a job have written elsewhere, so that
// Files shows it. A host that does not answer is an error; what came before stands.
func (s *Service) Fetch(ctx context.Context, id string) error {
	type node struct {
		x Fetcher
		h Handle
	}
	var todo []node
	s.mu.Lock()
	e := s.jobs[id]
	if e != nil {
		for i := range e.Nodes {
			if x, ok := s.cfg.Executors[e.Nodes[i].Executor].(Fetcher); ok && e.Nodes[i].Handle != "" && e.Nodes[i].Exit == nil {
				todo = append(todo, node{x, e.Nodes[i].Handle})
			}
		}
	}
	s.mu.Unlock()
	if e == nil {
		return notFound(id)
	}
	for _, n := range todo {
		if err := n.x.Fetch(ctx, n.h); err != nil {
			return err
		}
	}
	return nil
}

// Close lets go of the folders.
func (f *JobFiles) Close() {
	for _, r := range f.roots {
		_ = r.Close()
	}
}

// what returns the roots that a word asks for: work, checkpoint or all.
func (f *JobFiles) what(word string) ([]string, error) {
	var names []string
	switch word {
	case "", "all":
		names = slices.Concat(f.works, []string{FilesCheckpoint})
	case FilesWork:
		names = slices.Clone(f.works)
	case FilesCheckpoint:
		names = []string{FilesCheckpoint}
	default:
		return nil, sluice.Errorf(sluice.Invalid, "work, checkpoint or all", "a job has no folder %q", word)
	}
	return slices.DeleteFunc(names, func(n string) bool { return f.roots[n] == nil }), nil
}

// walk calls do with every folder, regular file and link that stays inside, in
// the order of their names. What vanishes meanwhile is left out, and so is what is
// neither.
func (f *JobFiles) walk(ctx context.Context, word string, do func(root *os.Root, name string, file File, mode fs.FileMode) error) error {
	names, err := f.what(word)
	if err != nil {
		return err
	}
	n := 0
	for _, top := range names {
		root := f.roots[top]
		err := fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
			if cerr := ctx.Err(); cerr != nil {
				return cerr
			}
			if err != nil || p == "." {
				return nil //nolint:nilerr // it vanished, or the job has closed it to us
			}
			if d.IsDir() && ours(root, p) {
				return fs.SkipDir
			}
			if n++; n > maxFiles {
				return sluice.Errorf(sluice.Conflict, "ask for single files", "job %s has more than %d files", f.job, maxFiles)
			}
			info, err := d.Info()
			if err != nil {
				return nil //nolint:nilerr // it vanished
			}
			file := File{Path: path.Join(top, p), At: info.ModTime().UTC(), Dir: d.IsDir()}
			switch {
			case d.IsDir():
			case info.Mode().IsRegular():
				file.Bytes = info.Size()
			case info.Mode()&fs.ModeSymlink != 0:
				to, err := root.Readlink(p)
				if err != nil || !LinkStays(p, to) {
					return nil //nolint:nilerr // it leads out: nothing of the job's
				}
				file.Link = to
			default:
				return nil
			}
			return do(root, p, file, info.Mode())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ours says whether a folder holds only what Sluice has put there to run the job: the
// script and the commands of a batch. What was mounted is the job's.
func ours(root *os.Root, p string) bool {
	if p == ".sluice" {
		_, err := root.Lstat(".sluice/mounts")
		return err != nil
	}
	return strings.HasPrefix(p, ".sluice/batch-")
}

// LinkStays says whether a link at the path p of a folder, whose parents are no
// links themselves, leads to a place in the folder. Steps up count at the target's
// begin only: after a name, which may be a link too, they could lead anywhere.
func LinkStays(p, to string) bool {
	rest := to
	for strings.HasPrefix(rest, "../") {
		rest = strings.TrimPrefix(rest, "../")
	}
	return to != "" && !path.IsAbs(to) && (rest == ".." || !slices.Contains(strings.Split(rest, "/"), "..")) &&
		filepath.IsLocal(path.Join(path.Dir(p), to))
}

// List returns up to limit entries, and whether there are more.
func (f *JobFiles) List(ctx context.Context, word string, limit int) (out []File, more bool, err error) {
	out = []File{}
	err = f.walk(ctx, word, func(_ *os.Root, _ string, file File, _ fs.FileMode) error {
		if len(out) == limit {
			more = true
			return fs.SkipAll
		}
		out = append(out, file)
		return nil
	})
	return out, more, err
}

// Open opens one regular file by its path, which begins with a folder of the job's,
// such as work/; links are followed where they stay inside. Error: NotFound.
func (f *JobFiles) Open(name string) (*os.File, File, error) {
	top, rest, _ := strings.Cut(path.Clean(name), "/")
	missing := sluice.Errorf(sluice.NotFound, "sluice job files "+f.job+" lists them", "job %s has no file %q", f.job, name)
	root := f.roots[top]
	if root == nil || rest == "" || !filepath.IsLocal(rest) {
		return nil, File{}, missing
	}
	// Without O_NONBLOCK a pipe would wait for its writer.
	file, err := root.OpenFile(rest, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, File{}, missing
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = file.Close()
		return nil, File{}, missing
	}
	return file, File{Path: path.Join(top, rest), Bytes: info.Size(), At: info.ModTime().UTC()}, nil
}

// Tar writes the folders that the word names (work, checkpoint, all) as tar:
// folders, regular files and links that stay inside. Each file is as long as it
// was when its turn came; one that is cut shorter while it is read is an error.
func (f *JobFiles) Tar(ctx context.Context, word string, w io.Writer) error {
	t := tar.NewWriter(w)
	err := f.walk(ctx, word, func(root *os.Root, name string, file File, mode fs.FileMode) error {
		h := &tar.Header{Name: file.Path, Mode: int64(mode.Perm()), ModTime: file.At.Truncate(time.Second), Format: tar.FormatPAX}
		switch {
		case file.Dir:
			h.Typeflag, h.Name = tar.TypeDir, file.Path+"/"
			return t.WriteHeader(h)
		case file.Link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, file.Link
			return t.WriteHeader(h)
		}
		src, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil //nolint:nilerr // it vanished, or the job has closed it to us
		}
		defer src.Close()
		info, err := src.Stat()
		if err != nil || !info.Mode().IsRegular() {
			return nil //nolint:nilerr // it has become something else
		}
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if n, err := io.Copy(t, io.LimitReader(src, h.Size)); err != nil {
			return fmt.Errorf("pack %s of job %s: %w", file.Path, f.job, err)
		} else if n < h.Size {
			return sluice.Errorf(sluice.Conflict, "ask again", "%s of job %s was cut shorter while it was read", file.Path, f.job)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.Close()
}
