package vault

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// The wrapped key of a job is the file keys/JOB.key; keys/JOB.new is one that is
// being written.
const (
	keySuffix = ".key"
	newSuffix = ".new"
)

// names lists the jobs that have a key, and clears away what a crash left half
// written.
func (v *Vault) names() ([]string, error) {
	all, err := fs.ReadDir(v.keys.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("read the vault's folder: %w", err)
	}
	var out []string
	for _, e := range all {
		if job, ok := strings.CutSuffix(e.Name(), keySuffix); ok && checkName(job) == nil {
			out = append(out, job)
		} else if strings.HasSuffix(e.Name(), newSuffix) {
			if err := v.destroy(e.Name()); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (v *Vault) readKey(job string) ([]byte, error) {
	f, err := v.keys.Open(job + keySuffix)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1024))
}

// writeKey makes a wrapped key durable under its name, all of it or nothing.
func (v *Vault) writeKey(job string, wrapped []byte) error {
	f, err := v.keys.OpenFile(job+newSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(wrapped)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = v.keys.Rename(job+newSuffix, job+keySuffix)
	}
	if err != nil {
		return err
	}
	return syncDir(v.keys.Name())
}

// destroyKey overwrites the file of a wrapped key and removes it.
func (v *Vault) destroyKey(job string) error { return v.destroy(job + keySuffix) }

func (v *Vault) destroy(name string) error {
	f, err := v.keys.OpenFile(name, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = scrub(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := v.keys.Remove(name); err != nil {
		return err
	}
	return syncDir(v.keys.Name())
}

// scrub overwrites a file where it lies. File systems that copy on write, and
// disks that level wear, put the new bytes elsewhere: there it is the rotation of
// the master key that makes the old ones useless.
func scrub(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	noise := make([]byte, info.Size())
	_, _ = rand.Read(noise)
	if _, err := f.WriteAt(noise, 0); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes the names in a folder outlive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
