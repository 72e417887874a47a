package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"sluice"
	"sluice/compute"
)

// maxUnpacked is how many entries a download may have.
const maxUnpacked = 1_000_000

// unpackFiles writes a job's files, a tar.gz, into a folder, which is made, and
// returns how many files with how many bytes. The job wrote the names and its
// links, so nothing is believed of them: nothing is written outside the folder,
// what stands at a name is replaced and never written through, and links come
// last, only those that stay inside.
func unpackFiles(r io.Reader, to string) (files int, bytes int64, err error) {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return 0, 0, sluice.Errorf(sluice.Invalid, "choose another folder with --to", "%v", err)
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return 0, 0, sluice.Errorf(sluice.Invalid, "choose another folder with --to", "%v", err)
	}
	defer root.Close()
	broken := func(err error) error {
		return sluice.Errorf(sluice.Unavailable, "ask again", "the download broke off: %v", err)
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return 0, 0, broken(err)
	}
	type link struct{ at, to string }
	var links []link
	in := tar.NewReader(z)
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return files, bytes, broken(err)
		}
		name := path.Clean(h.Name)
		if n >= maxUnpacked || !filepath.IsLocal(name) || name == "." || strings.ContainsAny(name, "\\\x00") {
			return files, bytes, sluice.Errorf(sluice.Internal, "", "the download holds what it must not: %q", clip(plain(h.Name), 80))
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = folder(root, name)
		case tar.TypeSymlink:
			links = append(links, link{name, h.Linkname})
		case tar.TypeReg:
			var n int64
			if n, err = replaceFile(root, name, in, os.FileMode(h.Mode)); err == nil {
				files++
				bytes += n
			}
		}
		if err != nil {
			return files, bytes, err
		}
	}
	for _, l := range links {
		if !compute.LinkStays(l.at, l.to) || folder(root, path.Dir(l.at)) != nil {
			continue
		}
		if info, err := root.Lstat(l.at); err == nil && info.IsDir() {
			continue // a folder of the user's own stays
		}
		_ = root.Remove(l.at)
		if err := root.Symlink(l.to, l.at); err != nil {
			return files, bytes, err
		}
	}
	return files, bytes, nil
}

// folder makes a folder with its parents. A link in the way, which an earlier
// download may have left, gives way to a folder.
func folder(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	at := ""
	for part := range strings.SplitSeq(name, "/") {
		at = path.Join(at, part)
		info, err := root.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case info.IsDir():
			continue
		default:
			if err := root.Remove(at); err != nil {
				return err
			}
		}
		if err := root.Mkdir(at, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile replaces what is at the name.
func replaceFile(root *os.Root, name string, r io.Reader, mode os.FileMode) (int64, error) {
	if err := folder(root, path.Dir(name)); err != nil {
		return 0, err
	}
	if info, err := root.Lstat(name); err == nil && !info.IsDir() {
		if err := root.Remove(name); err != nil {
			return 0, err
		}
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode&0o755|0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, r)
	return n, errors.Join(err, f.Close())
}
