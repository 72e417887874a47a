package server

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"sluice"
)

// Bounds of a working folder.
const (
	MaxWorkdirPacked   = 32 << 20  // bytes of tar.gz
	MaxWorkdirUnpacked = 256 << 20 // bytes of its files
	maxWorkdirFiles    = 10_000
)

// CheckWorkdir refuses, with Invalid, a tar.gz that holds anything but plain
// files and folders under its own root, or that is larger than it may be.
func CheckWorkdir(packed []byte) error {
	return eachFile(packed, func(*tar.Header, string, io.Reader) error { return nil })
}

// UnpackWorkdir writes the submission's working folder into dir, which exists.
// Nothing is written outside of it. It does nothing without a working folder.
func (s Submission) UnpackWorkdir(dir string) error {
	if s.Workdir == nil {
		return nil
	}
	// A Root does not follow a link out of the folder, whoever put it there.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return &sluice.Error{Kind: sluice.Internal, Msg: "unpacking the working folder", Cause: err}
	}
	defer root.Close()
	return eachFile(s.Workdir, func(h *tar.Header, name string, r io.Reader) error {
		if h.Typeflag == tar.TypeDir {
			return root.MkdirAll(name, 0o755)
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644|os.FileMode(h.Mode)&0o111)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	})
}

func eachFile(packed []byte, do func(h *tar.Header, name string, r io.Reader) error) error {
	bad := func(format string, args ...any) error {
		return sluice.Errorf(sluice.Invalid, "leave data out of the working folder, or fetch it in setup", "working folder: "+format, args...)
	}
	if len(packed) > MaxWorkdirPacked {
		return bad("%d MiB packed, at most %d", len(packed)>>20, MaxWorkdirPacked>>20)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return bad("not a tar.gz: %v", err)
	}
	// Beyond the files come headers and padding of at most 2 KiB each.
	in := tar.NewReader(io.LimitReader(z, MaxWorkdirUnpacked+maxWorkdirFiles*2048))
	var total int64
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return bad("not a tar.gz: %v", err)
		}
		name := path.Clean(h.Name)
		total += h.Size
		switch {
		case n >= maxWorkdirFiles:
			return bad("more than %d files", maxWorkdirFiles)
		case h.Size < 0 || total > MaxWorkdirUnpacked:
			return bad("more than %d MiB unpacked", MaxWorkdirUnpacked>>20)
		case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir:
			return bad("%q is neither a file nor a folder", clip(h.Name))
		case !filepath.IsLocal(name) || strings.Contains(name, `\`):
			return bad("%q leads out of it", clip(h.Name))
		case name == "." && h.Typeflag == tar.TypeDir:
			continue
		case name == ".":
			return bad("a file has no name")
		}
		if err := do(h, name, in); err != nil {
			return &sluice.Error{Kind: sluice.Internal, Msg: "unpacking the working folder", Cause: err}
		}
	}
}
