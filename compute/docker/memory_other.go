//go:build !linux

package docker

import "errors"

func inMemory(string) error { return errors.New("only Linux keeps a folder in memory") }
