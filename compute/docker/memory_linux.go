package docker

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// inMemory says why a folder is not in memory alone, nil where it is.
func inMemory(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return err
	}
	if st.Type != unix.TMPFS_MAGIC && st.Type != unix.RAMFS_MAGIC {
		return fmt.Errorf("%s is not in memory", dir)
	}
	return nil
}
