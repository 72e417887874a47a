package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"sluice"
)

// lockFolder takes the folder for this process until the file is closed or the
// process ends, however it ends: the kernel drops a flock by itself. The file
// stays, only the lock counts; it names the holder for the error of the next.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, LockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, notWritable(dir, err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		defer func() { _ = f.Close() }()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			b := make([]byte, 64)
			n, _ := f.ReadAt(b, 0)
			who := strings.TrimSpace(string(b[:n]))
			if who == "" {
				who = "another process"
			}
			return nil, sluice.Errorf(sluice.Conflict, "stop it, or choose another folder with --data",
				"the data folder %s is in use by %s", dir, who)
		}
		return nil, sluice.Errorf(sluice.Internal, "the folder must lie on a file system with locks",
			"locking the data folder %s: %v", dir, err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "process %d\n", os.Getpid()), 0)
		// On a full disk the name of the holder is missing; the lock holds.
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			return nil, errors.Join(notWritable(dir, err), f.Close())
		}
	}
	return f, nil
}
