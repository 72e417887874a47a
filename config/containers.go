package config

import (
	"io"
	"os"
	"reflect"

	"github.com/goccy/go-yaml/token"

	"sluice"
)

// LoadContainers reads and completes a file that has what a host has under
// `containers:`, for a machine that joins a site. The error is as that of Load.
func LoadContainers(path string) (Containers, error) {
	f, err := os.Open(path)
	if err != nil {
		return Containers{}, sluice.Errorf(sluice.Invalid, "it has the fields that a site's configuration has under containers:, such as image", "cannot read how to run containers: %v", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Containers{}, sluice.Errorf(sluice.Invalid, "", "cannot read how to run containers: %v", err)
	}
	return parseContainers(data, path)
}

func parseContainers(data []byte, file string) (Containers, error) {
	d := &decoder{file: file, at: map[string]*token.Position{}, broken: map[string]bool{}}
	root, m := syntax(data)
	if m != nil {
		m.File = file
		return Containers{}, Errors{*m}
	}
	var k Containers
	d.object(root, reflect.ValueOf(&k).Elem(), "")
	d.checkContainers("", k)
	if len(d.mistakes) > 0 {
		return Containers{}, Errors(sorted(d.mistakes))
	}
	return k, nil
}

// DefaultContainers is how containers are run where nothing is said.
func DefaultContainers() Containers {
	k, err := parseContainers([]byte("{}"), "")
	if err != nil {
		panic("config: the defaults are plain values: " + err.Error())
	}
	return k
}
