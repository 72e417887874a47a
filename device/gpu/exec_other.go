//go:build !linux

package gpu

import "os/exec"

func command(program []byte, args ...string) (*exec.Cmd, func(), error) {
	return commandFile(program, args...)
}
