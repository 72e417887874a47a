package gpu

import (
	"fmt"
	"os"
	"os/exec"
)

// commandFile runs the program from a file that is removed once it runs.
func commandFile(program []byte, args ...string) (cmd *exec.Cmd, done func(), err error) {
	f, err := os.CreateTemp("", "gpuprobe-*")
	if err != nil {
		return nil, nil, fmt.Errorf("unpack the GPU probe: %w", err)
	}
	done = func() { _ = os.Remove(f.Name()) }
	_, err = f.Write(program)
	if err == nil {
		err = f.Chmod(0o700)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		done()
		return nil, nil, fmt.Errorf("unpack the GPU probe: %w", err)
	}
	return exec.Command(f.Name(), args...), done, nil //nolint:noctx // it is ended by its input
}
