package compute

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// wiping is a part of a job's data that is a folder.
type wiping struct {
	Wiped
	path string
}

// folders are those of a job. What its array shares is kept for the others of the array
// and goes with the last of them.
func (w *Wiper) folders(job string) []wiping {
	out := []wiping{{Wiped{What: "working folder, checkpoints and logs", How: Deletion}, filepath.Join(w.cfg.Dir, "jobs", job)}}
	if share, first, count, found := shareOf(w.cfg.Dir, job); found {
		how := Deletion
		if needsShare(w.cfg.Dir, job, first, count) {
			how = Kept
		}
		out = append(out, wiping{Wiped{What: sharedFiles, How: how}, share})
	}
	return out
}

func (p *wiping) count(ctx context.Context) error {
	return filepath.WalkDir(p.path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what cannot be counted is deleted all the same
		}
		p.Files++
		if info, err := d.Info(); err == nil {
			p.Bytes += info.Size()
		}
		return ctx.Err()
	})
}

func remove(dir string) error {
	if os.RemoveAll(dir) != nil {
		// A job may have taken the permission to write off its own folders.
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				_ = os.Chmod(p, 0o700)
			}
			return nil
		})
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(dir))
}

// syncDir makes the names in a folder outlive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
