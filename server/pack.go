package server

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"sluice"
)

// PackWorkdir packs the folder into the tar.gz that a submission carries: its
// plain files and folders, links to files inside it as what they point to, and
// nothing of .git. Invalid when there is no such folder, when it is too large,
// or when it holds what cannot travel.
func PackWorkdir(dir string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "workdir is a folder, relative to the task file", "opening the working folder: %v", err)
	}
	defer root.Close()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	t := tar.NewWriter(z)
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.IsDir():
			return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755})
		}
		if out.Len() > MaxWorkdirPacked {
			return tooLarge(dir)
		}
		return packFile(t, root, name)
	})
	if err == nil {
		err = errors.Join(t.Close(), z.Close())
	}
	if err != nil {
		if sluice.KindOf(err) == sluice.Internal {
			return nil, sluice.Errorf(sluice.Invalid, "every file of workdir must be readable", "packing the working folder %s: %v", dir, err)
		}
		return nil, err
	}
	if out.Len() > MaxWorkdirPacked {
		return nil, tooLarge(dir)
	}
	return out.Bytes(), nil
}

func tooLarge(dir string) error {
	return sluice.Errorf(sluice.Invalid, "leave data out of it, or fetch it in setup", "the working folder %s is larger than %d MiB packed", dir, MaxWorkdirPacked>>20)
}

func packFile(t *tar.Writer, root *os.Root, name string) error {
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
		Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: int64(info.Mode().Perm()), ModTime: info.ModTime().Truncate(time.Second),
	}); err != nil {
		return err
	}
	_, err = io.CopyN(t, f, info.Size())
	return err
}
