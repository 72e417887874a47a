package server

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"sluice"
)

// Packed is a file or folder that travels at a path of the working folder.
type Packed struct{ From, To string }

// PackWorkdir packs the folder, where one is named, and what else shall lie in it
// into the tar.gz that a submission carries: plain files and folders, links to
// files inside as what they point to, and nothing of .git. Invalid when something
// is not there, is too large, or holds what cannot travel.
func PackWorkdir(dir string, more ...Packed) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	t := tar.NewWriter(z)
	if dir != "" {
		if err := packTree(t, &out, dir, ""); err != nil {
			return nil, err
		}
	}
	for _, m := range more {
		if err := packMount(t, &out, m); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return nil, err
	}
	if out.Len() > MaxWorkdirPacked {
		return nil, tooLarge(dir)
	}
	return out.Bytes(), nil
}

func packMount(t *tar.Writer, out *bytes.Buffer, m Packed) error {
	info, err := os.Stat(m.From)
	if err != nil {
		return sluice.Errorf(sluice.Invalid, "file_mounts names a file or folder, relative to the job file", "opening %s: %v", m.From, err)
	}
	if info.IsDir() {
		return packTree(t, out, m.From, m.To)
	}
	root, err := os.OpenRoot(filepath.Dir(m.From))
	if err == nil {
		defer root.Close()
		err = packFile(t, root, filepath.Base(m.From), m.To)
	}
	return unreadable(m.From, err)
}

// packTree packs what the folder holds below a path of the working folder's.
func packTree(t *tar.Writer, out *bytes.Buffer, dir, below string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return sluice.Errorf(sluice.Invalid, "workdir is a folder, relative to the task file", "opening the working folder: %v", err)
	}
	defer root.Close()
	return unreadable(dir, fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		to := path.Join(below, name)
		switch {
		case err != nil:
			return err
		case to == ".":
			return nil
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.IsDir():
			return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: to + "/", Mode: 0o755})
		}
		if out.Len() > MaxWorkdirPacked {
			return tooLarge(dir)
		}
		return packFile(t, root, name, to)
	}))
}

func unreadable(dir string, err error) error {
	if err != nil && sluice.KindOf(err) == sluice.Internal {
		return sluice.Errorf(sluice.Invalid, "every file of workdir must be readable", "packing the working folder %s: %v", dir, err)
	}
	return err
}

func tooLarge(dir string) error {
	return sluice.Errorf(sluice.Invalid, "leave data out of it, or fetch it in setup", "the working folder %s is larger than %d MiB packed", dir, MaxWorkdirPacked>>20)
}

func packFile(t *tar.Writer, root *os.Root, name, to string) error {
	cannot := func() error {
		return sluice.Errorf(sluice.Invalid, "leave it out of workdir", "%s is neither a file, a folder nor a link to a file inside the working folder", name)
	}
	// Asked before it is opened: opening a pipe would wait for its writer.
	info, err := root.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return cannot()
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: to, Size: info.Size(), Mode: int64(info.Mode().Perm()), ModTime: info.ModTime().Truncate(time.Second),
	}); err != nil {
		return err
	}
	_, err = io.CopyN(t, f, info.Size())
	return err
}
