package vault

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sluice"
)

// master is a master key with the name by which the keys wrapped under it know it.
type master struct {
	key []byte
	id  [8]byte
}

func newMaster(key []byte) *master {
	m := &master{key: key}
	sum := sha256.Sum256(append([]byte("sluice vault 1\x00name of master\x00"), key...))
	copy(m.id[:], sum[:])
	return m
}

const (
	wrapMagic  = "SLK1"
	masterHead = "sluice-master-key-1 "
	// NextSuffix is added to the file of the master key for the one that is to
	// take its place, while a rotation is under way.
	NextSuffix = ".next"
)

func (m *master) bound(job string) []byte {
	return []byte("sluice vault 1\x00key\x00" + string(m.id[:]) + "\x00" + job)
}

// wrap encrypts a data key: a mark, the master's name, then what seal returns.
func (m *master) wrap(job string, key []byte) []byte {
	return append(append([]byte(wrapMagic), m.id[:]...), seal(m.key, m.bound(job), key)...)
}

func (m *master) wrapped(b []byte) bool {
	return len(b) > len(wrapMagic)+len(m.id) && string(b[:len(wrapMagic)]) == wrapMagic &&
		string(b[len(wrapMagic):len(wrapMagic)+len(m.id)]) == string(m.id[:])
}

func (m *master) unwrap(job string, b []byte) ([]byte, bool) {
	if !m.wrapped(b) {
		return nil, false
	}
	key, ok := unseal(m.key, m.bound(job), b[len(wrapMagic)+len(m.id):])
	return key, ok && len(key) == keySize
}

// readMaster reads the master key of a place, env:NAME or a path; nil where the
// file is not there.
func readMaster(place string) (file string, m *master, err error) {
	if name, ok := strings.CutPrefix(place, "env:"); ok {
		text := os.Getenv(name)
		if text == "" {
			return "", nil, sluice.Errorf(sluice.Invalid, "make one: head -c 32 /dev/urandom | base64", "the environment variable %s with the vault's master key is not set", name)
		}
		m, err = parseMaster(text)
		if err != nil {
			err = sluice.Errorf(sluice.Invalid, "make one: head -c 32 /dev/urandom | base64", "the environment variable %s is no master key: %v", name, err)
		}
		return "", m, err
	}
	m, err = readMasterFile(place)
	if errors.Is(err, fs.ErrNotExist) {
		return place, nil, nil
	}
	return place, m, err
}

func readMasterFile(path string) (*master, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, sluice.Errorf(sluice.Invalid, "it must be readable for the user that runs sluice", "read the vault's master key: %v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the vault's master key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, sluice.Errorf(sluice.Invalid, "chmod 600 "+path, "the vault's master key %s can be read by others", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return nil, fmt.Errorf("read the vault's master key: %w", err)
	}
	defer clear(text)
	m, err := parseMaster(string(text))
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "put it back from where you keep a copy", "%s is no master key: %v", path, err)
	}
	return m, nil
}

// parseMaster reads 32 bytes in base64, with or without the head of our own files.
func parseMaster(text string) (*master, error) {
	text = strings.TrimPrefix(strings.TrimSpace(text), masterHead)
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != keySize {
		return nil, errors.New("it must be 32 bytes in base64") // never quotes it
	}
	return newMaster(key), nil
}

// makeMaster makes a new master key in a file that must not exist yet.
func makeMaster(path string) (*master, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "its folder must exist and be writable", "make the vault's master key: %v", err)
	}
	_, err = f.WriteString(masterHead + base64.StdEncoding.EncodeToString(key) + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(path) // half a key must not be taken for one
		return nil, fmt.Errorf("make the vault's master key: %w", err)
	}
	return newMaster(key), nil
}

// Rotate puts a new master key in the place of the present one, wraps every job's
// key anew and destroys the old master; with it goes whatever a disk still holds
// of job keys that were erased before. It returns how many keys were wrapped anew.
// After a crash in the middle, Open finishes it. Error: Conflict when the master
// key comes from the environment.
func (v *Vault) Rotate(ctx context.Context) (int, error) {
	v.turn.Lock()
	defer v.turn.Unlock()
	switch {
	case v.file == "":
		return 0, sluice.Errorf(sluice.Conflict, "keep it in a file, which may lie on a disk of its own, to rotate it", "the vault's master key comes from the environment")
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case v.master == nil: // nothing is wrapped yet: the first one is new enough
		return 0, v.ready()
	}
	next, err := makeMaster(v.file + NextSuffix)
	if err != nil {
		return 0, err
	}
	return v.rotateTo(next)
}

// finishRotation takes up a rotation that was cut off.
func (v *Vault) finishRotation() error {
	next, err := readMasterFile(v.file + NextSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		if info, serr := os.Stat(v.file + NextSuffix); serr == nil && v.master != nil && info.Size() < int64(len(masterHead)+44) {
			return os.Remove(v.file + NextSuffix) // cut off before anything was wrapped under it
		}
		return err
	}
	_, err = v.rotateTo(next)
	return err
}

func (v *Vault) rotateTo(next *master) (int, error) {
	names, err := v.names()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, job := range names {
		b, err := v.readKey(job)
		if err != nil {
			return n, fmt.Errorf("wrap the key of job %s anew: %w", job, err)
		}
		if next.wrapped(b) || v.master == nil {
			continue
		}
		key, ok := v.master.unwrap(job, b)
		if !ok {
			continue // damaged: it opens under no key, and would keep the old one alive
		}
		err = v.writeKey(job, next.wrap(job, key))
		clear(key)
		if err != nil {
			return n, fmt.Errorf("wrap the key of job %s anew: %w", job, err)
		}
		n++
	}
	old, err := os.OpenFile(v.file, os.O_WRONLY, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return n, fmt.Errorf("replace the master key: %w", err)
	}
	if err == nil {
		defer old.Close()
	} else {
		old = nil
	}
	if err := os.Rename(v.file+NextSuffix, v.file); err != nil {
		return n, fmt.Errorf("replace the master key: %w", err)
	}
	v.master = next
	if err := syncDir(filepath.Dir(v.file)); err != nil {
		return n, err
	}
	if old != nil {
		if err := scrub(old); err != nil {
			return n, fmt.Errorf("destroy the old master key: %w", err)
		}
	}
	return n, nil
}
