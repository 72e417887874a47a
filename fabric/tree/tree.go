// Package tree brings folders from one machine to another, by what has changed:
// listing, reading and writing of one root, in bounded pieces, each harmless when
// it is repeated. Who drives it decides the direction.
//
// Nothing leaves the root: paths are checked, and every access goes through
// os.Root, so that no link that a job leaves leads out of it. Only folders, plain
// files and links that stay inside exist here; everything else is left out.
package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
)

// Bounds of one listing, one tree.
const (
	MaxFiles   = 100_000
	pageBytes  = 256 << 10
	maxPath    = 4096
	partPrefix = ".sluice-part-" // of files that are being written; never listed
)

// Kind of an entry.
type Kind string

// Kinds.
const (
	Dir  Kind = "d"
	File Kind = "f"
	Link Kind = "l"
)

// Entry is one file, folder or link. A file is unchanged when size, time and
// permissions are.
type Entry struct {
	Path   string `json:"p"` // slash-separated, below the root
	Kind   Kind   `json:"k"`
	Mode   uint32 `json:"m,omitempty"` // permission bits
	Size   int64  `json:"s,omitempty"`
	Time   int64  `json:"t,omitempty"` // of the last change, Unix ns
	Target string `json:"l,omitempty"`
}

// Same says whether nothing has to be brought.
func (e Entry) Same(o Entry) bool {
	switch {
	case e.Kind != o.Kind:
		return false
	case e.Kind == File:
		return e.Size == o.Size && e.Time == o.Time && e.Mode == o.Mode
	case e.Kind == Link:
		return e.Target == o.Target
	}
	return e.Mode == o.Mode
}

// Check refuses an entry that has no place in a tree.
func (e Entry) Check() error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	switch {
	case e.Kind == File && e.Size >= 0 && e.Target == "":
	case e.Kind == Dir && e.Target == "":
	case e.Kind == Link && inside(e.Path, e.Target):
	default:
		return sluice.Errorf(sluice.Invalid, "", "the entry %q makes no sense", e.Path)
	}
	return nil
}

func checkPath(p string) error {
	if len(p) > maxPath || !fs.ValidPath(p) || p == "." || strings.ContainsRune(p, 0) || strings.Contains("/"+p, "/"+partPrefix) {
		return sluice.Errorf(sluice.Invalid, "", "the path %.100q does not stay in its folder", p)
	}
	return nil
}

// inside says whether a link at p leads to somewhere below the root.
func inside(p, target string) bool {
	if target == "" || len(target) > maxPath || path.IsAbs(target) || strings.ContainsRune(target, 0) {
		return false
	}
	to := path.Join(path.Dir(p), target)
	return to != ".." && !strings.HasPrefix(to, "../")
}

// compare orders paths as a walk meets them: a folder before what is in it.
func compare(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

// List returns the entries that come after a path, in order, as many as one
// message holds; more says that there are others behind them.
func List(root *os.Root, after string) (entries []Entry, more bool, err error) {
	if after != "" {
		if err := checkPath(after); err != nil {
			return nil, false, err
		}
	}
	size := 0
	stop := errors.New("full")
	err = walk(root, ".", after, func(e Entry) error {
		if size += len(e.Path) + len(e.Target) + 80; size > pageBytes {
			more = true
			return stop
		}
		entries = append(entries, e)
		return nil
	})
	if errors.Is(err, stop) {
		err = nil
	}
	return entries, more, err
}

// All lists a whole tree. Error: Invalid where it has more than MaxFiles.
func All(root *os.Root) ([]Entry, error) {
	var out []Entry
	err := walk(root, ".", "", func(e Entry) error {
		if len(out) >= MaxFiles {
			return sluice.Errorf(sluice.Invalid, "", "%s has more than %d files", root.Name(), MaxFiles)
		}
		out = append(out, e)
		return nil
	})
	return out, err
}

// walk calls f for what comes after a path, in order. What vanishes meanwhile is
// left out.
func walk(root *os.Root, dir, after string, f func(Entry) error) error {
	d, err := root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) && dir != "." {
		return nil
	} else if err != nil {
		return fmt.Errorf("list %s: %w", root.Name(), err)
	}
	names, err := d.Readdirnames(-1)
	_ = d.Close()
	if err != nil {
		return fmt.Errorf("list %s: %w", root.Name(), err)
	}
	slices.Sort(names)
	for _, name := range names {
		p := path.Join(dir, name)
		below := strings.HasPrefix(after, p+"/")
		if after != "" && !below && compare(p, after) <= 0 && p != after {
			continue
		}
		if checkPath(p) != nil {
			continue
		}
		info, err := root.Lstat(p)
		if err != nil {
			continue
		}
		e := Entry{Path: p, Mode: uint32(info.Mode().Perm())}
		switch {
		case info.IsDir():
			e.Kind = Dir
		case info.Mode().IsRegular():
			e.Kind, e.Size, e.Time = File, info.Size(), info.ModTime().UnixNano()
		case info.Mode()&fs.ModeSymlink != 0:
			e.Kind, e.Mode = Link, 0
			if e.Target, err = root.Readlink(p); err != nil || !inside(p, e.Target) {
				continue
			}
		default:
			continue
		}
		if !below && p != after {
			if err := f(e); err != nil {
				return err
			}
		}
		if e.Kind == Dir {
			if err := walk(root, p, after, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// Plan is what has to happen to make one tree like another.
type Plan struct {
	Put   []Entry  // folders before what is in them, older files before newer ones
	Drop  []string // the deepest first
	Bytes int64    // of the files to bring
}

// Merge says what of want is new to have, or newer: for a folder to which others
// write too. Nothing is dropped, since what want has not may be somebody else's, but
// for an entry that has become another kind of thing since.
func Merge(want, have []Entry) Plan {
	old := make(map[string]Entry, len(have))
	for _, e := range have {
		old[e.Path] = e
	}
	var mine []Entry
	for _, e := range want {
		o, there := old[e.Path]
		switch {
		case there && e.Kind == Dir && o.Kind == Dir:
		case there && e.Time <= o.Time && !(e.Kind == Link && o.Kind == Link):
			// What stands there is as new.
		default:
			mine = append(mine, e)
		}
	}
	p := Diff(mine, have)
	p.Drop = slices.DeleteFunc(p.Drop, func(path string) bool {
		return !slices.ContainsFunc(mine, func(e Entry) bool { return e.Path == path })
	})
	return p
}

// Diff compares two listings. What is dropped is what have has and want has not,
// or has as something else.
func Diff(want, have []Entry) Plan {
	var p Plan
	old := make(map[string]Entry, len(have))
	for _, e := range have {
		old[e.Path] = e
	}
	keep := make(map[string]bool, len(want))
	for _, e := range want {
		keep[e.Path] = true
		o, there := old[e.Path]
		if there && o.Kind != e.Kind {
			p.Drop = append(p.Drop, e.Path)
		}
		if !there || !o.Same(e) {
			p.Put = append(p.Put, e)
			if e.Kind == File {
				p.Bytes += e.Size
			}
		}
	}
	for _, e := range have {
		if !keep[e.Path] {
			p.Drop = append(p.Drop, e.Path)
		}
	}
	slices.SortFunc(p.Drop, func(a, b string) int { return compare(b, a) })
	// A name that points to the newest file is written after it.
	slices.SortStableFunc(p.Put, func(a, b Entry) int {
		if (a.Kind == Dir) != (b.Kind == Dir) {
			if a.Kind == Dir {
				return -1
			}
			return 1
		}
		if (a.Kind == Link) != (b.Kind == Link) {
			if a.Kind == Link {
				return 1
			}
			return -1
		}
		if a.Kind == File && a.Time != b.Time {
			if a.Time < b.Time {
				return -1
			}
			return 1
		}
		return 0
	})
	return p
}

// Newest returns when the newest file was written, zero where there is none.
func Newest(dir string) time.Time {
	var t int64
	root, err := os.OpenRoot(dir)
	if err != nil {
		return time.Time{}
	}
	defer root.Close()
	n := 0
	_ = walk(root, ".", "", func(e Entry) error {
		if n++; n > 10_000 {
			return fs.SkipAll
		}
		if e.Kind == File {
			t = max(t, e.Time)
		}
		return nil
	})
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(0, t).UTC()
}

const openFlags = os.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK
