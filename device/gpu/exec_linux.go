package gpu

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// command returns how to run the program: from memory, so that no folder has to
// allow it.
func command(program []byte, args ...string) (cmd *exec.Cmd, done func(), err error) {
	fd, err := unix.MemfdCreate("gpuprobe", unix.MFD_CLOEXEC)
	if err != nil {
		return commandFile(program, args...)
	}
	f := os.NewFile(uintptr(fd), "gpuprobe")
	if _, err := f.Write(program); err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("unpack the GPU probe: %w", err)
	}
	// The child opens it by its own descriptor, which is closed once it runs.
	return exec.Command(fmt.Sprintf("/proc/self/fd/%d", fd), args...), func() { _ = f.Close() }, nil //nolint:noctx // it is ended by its input
}
