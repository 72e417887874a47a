// Package mapfile reads the data files that describe devices to a driver: the
// register maps of meters, the object identifiers of PDUs. Some come with the
// program, others an operator adds without a rebuild. Every mistake in one is an
// error with file:line:column.
package mapfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"sluice"
)

// maxFile bounds a file: the largest of ours has 3 KB.
const maxFile = 256 << 10

// known is the form of the name of a file that comes with the program.
var known = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

// File is one file as it was parsed, to say where in it something is wrong.
type File struct {
	Name string
	root *ast.File
}

// Open reads the file that ref names: one of builtin (the files *.yaml in its
// folder dir) by its name without the suffix, else a path.
func Open(builtin fs.FS, dir, ref string, into any) (*File, error) {
	if known.MatchString(ref) {
		data, err := fs.ReadFile(builtin, path.Join(dir, ref+".yaml"))
		if err != nil {
			return nil, sluice.Errorf(sluice.NotFound, "these come with the program: "+strings.Join(Names(builtin, dir), ", ")+"; a file of your own is given by its path, such as ./"+ref+".yaml",
				"there is no map %q", ref)
		}
		return Parse(ref+".yaml", data, into)
	}
	f, err := os.Open(ref)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "", "cannot read the map: %v", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "", "cannot read the map: %v", err)
	}
	return Parse(ref, data, into)
}

// Names lists what comes with the program.
func Names(builtin fs.FS, dir string) []string {
	files, _ := fs.Glob(builtin, path.Join(dir, "*.yaml"))
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(path.Base(f), ".yaml"))
	}
	sort.Strings(out)
	return out
}

// Parse reads YAML into the struct that into points to; fields that it does not
// have are mistakes.
func Parse(name string, data []byte, into any) (f *File, err error) {
	if len(data) > maxFile {
		return nil, sluice.Errorf(sluice.Invalid, "", "%s is longer than %d KB", name, maxFile>>10)
	}
	// The YAML library is not ours: a panic in it must not end the program that
	// only wanted to say what is wrong with a file.
	defer func() {
		if r := recover(); r != nil {
			f, err = nil, sluice.Errorf(sluice.Invalid, "", "%s:1:1: the YAML of this file cannot be understood", name)
		}
	}()
	root, perr := parser.ParseBytes(data, 0)
	if perr != nil {
		return nil, broken(name, perr)
	}
	if len(root.Docs) != 1 || root.Docs[0].Body == nil {
		return nil, sluice.Errorf(sluice.Invalid, "docs/meters.md shows what stands in it", "%s:1:1: the file holds %d documents; it is one", name, len(root.Docs))
	}
	if derr := yaml.NodeToValue(root.Docs[0].Body, into, yaml.Strict()); derr != nil {
		return nil, broken(name, derr)
	}
	return &File{Name: name, root: root}, nil
}

// broken says where the library found a mistake.
func broken(name string, err error) error {
	line, column := 1, 1
	msg := err.Error()
	var ye yaml.Error
	if errors.As(err, &ye) {
		msg = ye.GetMessage()
		if t := ye.GetToken(); t != nil && t.Position != nil {
			line, column = max(1, t.Position.Line), max(1, t.Position.Column)
		}
	}
	msg, _, _ = strings.Cut(msg, "\n")
	return sluice.Errorf(sluice.Invalid, "", "%s:%d:%d: %s", name, line, column, msg)
}

// Errorf makes an error that names the place of a path such as
// "registers[2].address", or of what stands around it.
func (f *File) Errorf(at, hint, format string, args ...any) error {
	line, column := 1, 1
	for p := at; p != ""; {
		if n, err := f.node(p); err == nil && n != nil && n.GetToken() != nil {
			line, column = n.GetToken().Position.Line, n.GetToken().Position.Column
			break
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			break
		}
		p = p[:i]
	}
	return sluice.Errorf(sluice.Invalid, hint, "%s:%d:%d: %s", f.Name, line, column, fmt.Sprintf(format, args...))
}

func (f *File) node(at string) (ast.Node, error) {
	p, err := yaml.PathString("$." + at)
	if err != nil {
		return nil, err
	}
	n, err := p.FilterFile(f.root)
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		return m.Values[0].Key, err
	}
	return n, err
}
