package telemetry

import (
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// freeBytes returns what an ordinary process may still write where dir lies.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	free := st.Bavail * uint64(st.Bsize) //nolint:gosec // a block size is positive
	return int64(min(free, math.MaxInt64)), nil
}

// lock keeps a second process out of the folder until the file is closed, or the
// process has ended in any way.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "sluice.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { //nolint:gosec // a descriptor
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
