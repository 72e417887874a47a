package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"sluice"
)

// Ask is a piece of a file that is wanted.
type Ask struct {
	Path string `json:"p"`
	From int64  `json:"o"`
	Len  int64  `json:"n"`
}

// Got describes what was read: the file as it is now. The data stand beside it.
type Got struct {
	Size int64 `json:"s"`
	Time int64 `json:"t"`
	Len  int64 `json:"n"` // bytes of data
	Gone bool  `json:"g,omitempty"`
}

// Piece is a piece of an entry to write. A folder or link is one piece; a file's
// pieces are written in order, and it takes its name with the last.
type Piece struct {
	Entry
	From int64 `json:"o"`
	Len  int64 `json:"n"`
}

// last says whether the piece completes its entry.
func (p Piece) last() bool { return p.Kind != File || p.From+p.Len == p.Size }

// Check refuses a piece that cannot be.
func (p Piece) Check() error {
	if err := p.Entry.Check(); err != nil {
		return err
	}
	if p.From < 0 || p.Len < 0 || p.Kind == File && (p.Len > p.Size || p.From > p.Size-p.Len) || p.Kind != File && p.Len != 0 {
		return sluice.Errorf(sluice.Invalid, "", "a piece of %q is beyond its end", p.Path)
	}
	return nil
}

// Read reads pieces of files, at most most bytes of data in all: those that do
// not fit come back shorter.
func Read(root *os.Root, asks []Ask, most int64) ([]Got, []byte, error) {
	var out []byte
	got := make([]Got, 0, len(asks))
	for _, a := range asks {
		if err := checkPath(a.Path); err != nil {
			return nil, nil, err
		}
		if a.From < 0 || a.Len < 0 {
			return nil, nil, sluice.Errorf(sluice.Invalid, "", "a piece of %q before its beginning", a.Path)
		}
		g, b, err := read(root, a, most-int64(len(out)))
		if err != nil {
			return nil, nil, err
		}
		got, out = append(got, g), append(out, b...)
	}
	return got, out, nil
}

func read(root *os.Root, a Ask, most int64) (Got, []byte, error) {
	f, err := root.OpenFile(a.Path, openFlags, 0)
	if err != nil {
		return Got{Gone: true}, nil, nil // it went away, or became something else
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return Got{Gone: true}, nil, nil
	}
	b := make([]byte, max(0, min(a.Len, most, info.Size()-a.From)))
	n, err := f.ReadAt(b, a.From)
	if err != nil && !errors.Is(err, io.EOF) {
		return Got{}, nil, fmt.Errorf("read %s: %w", a.Path, err)
	}
	// As it is after the reading: what was written meanwhile is seen.
	if info, err = f.Stat(); err != nil {
		return Got{Gone: true}, nil, nil
	}
	return Got{Size: info.Size(), Time: info.ModTime().UnixNano(), Len: int64(n)}, b[:n], nil
}

// Write writes pieces; data holds their bytes one after the other. session keeps
// the unfinished files of two writers apart.
func Write(root *os.Root, session string, pieces []Piece, data []byte) error {
	for _, p := range pieces {
		if err := p.Check(); err != nil {
			return err
		}
		if p.Len > int64(len(data)) {
			return sluice.Errorf(sluice.Invalid, "", "a piece of %q is not complete", p.Path)
		}
		if err := write(root, session, p, data[:p.Len]); err != nil {
			return fmt.Errorf("write %s: %w", p.Path, err)
		}
		data = data[p.Len:]
	}
	return nil
}

func write(root *os.Root, session string, p Piece, data []byte) error {
	if d := path.Dir(p.Path); d != "." {
		if err := root.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	switch p.Kind {
	case Dir:
		if err := root.Mkdir(p.Path, fs.FileMode(p.Mode&0o777)|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return root.Chmod(p.Path, fs.FileMode(p.Mode&0o777)|0o700)
	case Link:
		if have, err := root.Readlink(p.Path); err == nil && have == p.Target {
			return nil
		}
		tmp := partName(session, p.Path)
		_ = root.Remove(tmp)
		if err := root.Symlink(p.Target, tmp); err != nil {
			return err
		}
		return root.Rename(tmp, p.Path)
	case File:
	}
	tmp := partName(session, p.Path)
	flags := os.O_WRONLY | os.O_CREATE
	if p.From == 0 {
		flags |= os.O_TRUNC
	}
	f, err := root.OpenFile(tmp, flags, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, p.From)
	if err == nil && p.last() {
		if err = f.Truncate(p.Size); err == nil {
			err = f.Sync()
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil || !p.last() {
		return err
	}
	if err := root.Chmod(tmp, fs.FileMode(p.Mode&0o777)|0o600); err != nil {
		return err
	}
	t := time.Unix(0, p.Time)
	if err := root.Chtimes(tmp, t, t); err != nil {
		return err
	}
	return root.Rename(tmp, p.Path)
}

// partName is the unfinished file beside its place.
func partName(session, p string) string {
	h := sha256.Sum256([]byte(session + "\x00" + p))
	return path.Join(path.Dir(p), partPrefix+hex.EncodeToString(h[:10]))
}

// Drop removes entries, the deepest first. What is not there is no error, nor is a
// folder in which something new has appeared.
func Drop(root *os.Root, paths []string) error {
	for _, p := range paths {
		if err := checkPath(p); err != nil {
			return err
		}
		err := root.Remove(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			if info, serr := root.Lstat(p); serr == nil && info.IsDir() {
				continue
			}
			return fmt.Errorf("remove %s: %w", p, err)
		}
	}
	return nil
}
