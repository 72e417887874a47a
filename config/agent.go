package config

import (
	"io"
	"os"
	"path/filepath"
	"reflect"

	"github.com/goccy/go-yaml/token"

	"sluice"
)

// Agent is what an agent's machine says itself: what is run there beside jobs is not for
// the site to say.
type Agent struct {
	Containers Containers `yaml:"containers"`
	IdleMining IdleMining `yaml:"idle_mining"`
}

// DefaultAgent is what counts where a machine says nothing.
func DefaultAgent() *Agent {
	a, err := ParseAgent([]byte("{}"), "")
	if err != nil {
		panic("config: the defaults are plain values: " + err.Error())
	}
	return a
}

// LoadAgent reads the file of an agent, as Load reads a site's.
func LoadAgent(path string) (*Agent, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "docs/hosts.md shows one", "cannot read the agent's configuration: %v", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "", "cannot read the agent's configuration: %v", err)
	}
	a, err := ParseAgent(data, path)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, sluice.Errorf(sluice.Internal, "", "the folder of %s: %v", path, err)
	}
	for _, p := range []*string{&a.IdleMining.TokenFile, &a.IdleMining.Values} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(abs), *p)
		}
	}
	return a, nil
}

// ParseAgent checks and completes the file of an agent. The error is an Errors with every
// mistake.
func ParseAgent(data []byte, file string) (*Agent, error) {
	d := &decoder{file: file, at: map[string]*token.Position{}, broken: map[string]bool{}}
	root, m := syntax(data)
	if m != nil {
		m.File = file
		return nil, Errors{*m}
	}
	a := &Agent{}
	d.object(root, reflect.ValueOf(a).Elem(), "")
	d.checkContainers("containers", a.Containers)
	if d.has("idle_mining") {
		d.checkMining("idle_mining", a.IdleMining)
	}
	if len(d.mistakes) > 0 {
		return nil, Errors(sorted(d.mistakes))
	}
	return a, nil
}
