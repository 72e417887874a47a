package dialect

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"

	"sluice"
)

//go:embed data/*.yaml
var embedded embed.FS

// maxFile bounds a dialect's file.
const maxFile = 256 << 10

// Set is the dialects that Sluice knows.
type Set struct {
	list []*Dialect // by name
}

// Load reads the dialects that come with Sluice and those of the operator's
// folder (*.yaml; "" for none). A file of the same name as one of ours replaces
// it; two dialects of one name are a mistake. The error is an Errors with every
// mistake of all files, or says why the folder cannot be read.
func Load(extraDir string) (*Set, error) {
	files := map[string][]byte{}
	shown := map[string]string{}
	names, err := fs.Glob(embedded, "data/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		b, err := embedded.ReadFile(n)
		if err != nil {
			return nil, err
		}
		files[filepath.Base(n)], shown[filepath.Base(n)] = b, filepath.Base(n)
	}
	if extraDir != "" {
		if err := addOperators(extraDir, files, shown); err != nil {
			return nil, err
		}
	}
	s := &Set{}
	var all Errors
	from := map[string]string{}
	for _, base := range sorted(files) {
		d, err := Parse(files[base], shown[base])
		var es Errors
		if errors.As(err, &es) {
			all = append(all, es...)
			continue
		}
		if other := from[d.Name]; other != "" {
			all = append(all, Mistake{shown[base], 1, 1, fmt.Sprintf("the dialect %q is in %s already", d.Name, other), "give the file that one's name to replace it"})
		}
		from[d.Name] = shown[base]
		s.list = append(s.list, d)
	}
	if len(all) > 0 {
		return nil, all
	}
	slices.SortFunc(s.list, func(a, b *Dialect) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

func addOperators(dir string, files map[string][]byte, shown map[string]string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return &sluice.Error{Kind: sluice.Invalid, Msg: "reading the folder of dialects", Cause: err}
	}
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) != ".yaml" {
			continue
		}
		name := filepath.Join(dir, e.Name())
		f, err := os.Open(name)
		if err != nil {
			return &sluice.Error{Kind: sluice.Invalid, Msg: "reading a dialect", Cause: err}
		}
		b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
		_ = f.Close()
		if err != nil {
			return &sluice.Error{Kind: sluice.Invalid, Msg: "reading a dialect", Cause: err}
		}
		files[e.Name()], shown[e.Name()] = b, name
	}
	return nil
}

func sorted(m map[string][]byte) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Parse reads one dialect; file is its name in the mistakes. The error is an
// Errors.
func Parse(data []byte, file string) (*Dialect, error) {
	dec := &decoder{file: file}
	root := dec.syntax(data)
	if root == nil {
		return nil, dec.mistakes
	}
	d := &Dialect{file: file}
	dec.into(root, reflectOf(d))
	d.check(dec, root)
	if len(dec.mistakes) > 0 {
		slices.SortStableFunc(dec.mistakes, func(a, b Mistake) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return nil, slices.Compact(dec.mistakes)
	}
	return d, nil
}

// syntax returns the root of the file, nil where it is broken.
func (d *decoder) syntax(data []byte) (root ast.Node) {
	fail := func(line, column int, format string, args ...any) ast.Node {
		d.badAt(place{line, column}, "", format, args...)
		return nil
	}
	if len(data) > maxFile {
		return fail(1, 1, "the file is longer than %d KB", maxFile>>10)
	}
	// The library is not ours: a panic in it must not end the program.
	defer func() {
		if recover() != nil {
			root = fail(1, 1, "the YAML of this file cannot be understood")
		}
	}()
	tokens := lexer.Tokenize(string(data))
	depth := 0
	for _, t := range tokens {
		switch t.Value {
		case "{", "[":
			depth++
		case "}", "]":
			depth--
		}
		if depth > 32 {
			return fail(t.Position.Line, t.Position.Column, "the brackets are nested too deeply")
		}
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var se *yaml.SyntaxError
		if errors.As(err, &se) && se.Token != nil && se.Token.Position != nil {
			return fail(se.Token.Position.Line, se.Token.Position.Column, "the YAML is broken: %s", se.Message)
		}
		return fail(1, 1, "the YAML is broken: %v", err)
	}
	for _, doc := range tree.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.NullType {
			continue
		}
		if root != nil {
			p := spot(doc.Body)
			return fail(p.line, p.column, "a second document begins here; one file is one dialect")
		}
		root = doc.Body
	}
	if root == nil {
		return fail(1, 1, "the file is empty")
	}
	return root
}

// Names returns the names of the dialects, in order.
func (s *Set) Names() []string {
	out := make([]string, len(s.list))
	for i, d := range s.list {
		out[i] = d.Name
	}
	return out
}

func (s *Set) find(name string) *Dialect {
	for _, d := range s.list {
		if d.Name == name {
			return d
		}
	}
	return nil
}
