package telemetry

import (
	"math"

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
