package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// handOver gives a folder and all in it to the container's users, where it is
// not theirs already. It follows no link: what is in there may have been put
// there by a job.
func handOver(dir string, base int) error {
	if info, err := os.Stat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return os.Lchown(dir, base, base)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		} else if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || inside(st.Uid, base) && inside(st.Gid, base) || d.Type() == fs.ModeSocket {
			return nil // a control socket stays the server's
		}
		return root.Lchown(p, base, base)
	})
}

// linkControl puts the run's socket into the folder that its container sees, again
// where the server has made it anew. The sockets of other runs are beside it on
// the host, so that their own folder is no run's to see. A run that cannot tell of
// its checkpoints is judged by its files.
func linkControl(dir string, r run) {
	if r.Control == "" {
		return
	}
	at := filepath.Join(dir, controlDir, filepath.Base(r.Control))
	now, err := os.Lstat(r.Control)
	if err != nil || now.Mode().Type() != fs.ModeSocket {
		return
	}
	if old, err := os.Lstat(at); err == nil && os.SameFile(old, now) {
		return
	}
	_ = os.Remove(at + ".new")
	if os.Link(r.Control, at+".new") == nil {
		_ = os.Rename(at+".new", at)
	}
}

func inside(id uint32, base int) bool { return int(id) >= base && int(id) < base+uidCount }

// maxEntries is how much of a folder is measured: a job cannot make us walk for
// ever. One with more files than that counts as what was seen.
const maxEntries = 500_000

// diskUsed returns what the folders take on their disks, files that are linked
// several times once for each.
func diskUsed(ctx context.Context, dirs []string) (sum int64, err error) {
	left := maxEntries
	for _, dir := range dirs {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return sum, err
		}
		err = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
			if left--; left < 0 {
				return fs.SkipAll
			}
			if left%1000 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return nil //nolint:nilerr // gone meanwhile
			}
			if info, err := d.Info(); err == nil {
				if st, ok := info.Sys().(*syscall.Stat_t); ok {
					sum += st.Blocks * 512
				}
			}
			return nil
		})
		_ = root.Close()
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// writeSecrets puts the secrets, as a shell reads them, into a folder in memory.
func writeSecrets(dir string, secrets []string) error {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	if err := inMemory(parent); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	wipe(dir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	var b strings.Builder
	for _, kv := range secrets {
		k, v, _ := strings.Cut(kv, "=")
		fmt.Fprintf(&b, "export %s=%s\n", k, quote(v))
	}
	if err := os.WriteFile(filepath.Join(dir, "env"), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	return nil
}

// quote writes a word for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// wipe removes a folder of secrets.
func wipe(dir string) {
	if dir != "" {
		_ = os.RemoveAll(dir)
	}
}

// readSmall reads a file of a folder that a job can write to: it follows no
// link out of it, waits for nothing, and reads little.
func readSmall(dir, name string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fs.ErrNotExist
	}
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	return string(b), err
}
