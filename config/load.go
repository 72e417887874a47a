package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"sluice"
)

// Bounds of what is read. A site of 4,000 miners written one by one has 400 KB.
const (
	maxFile = 1 << 20
	maxLine = 4096
	maxFlow = 32 // brackets within brackets
	// maxKeys bounds the keys in a row without a new list item: no mapping here
	// has so many, and the YAML library takes the square of their number.
	maxKeys = 500
)

// Load reads, checks and completes the file. Relative paths in it are made
// absolute from its folder. The error is an Errors with every mistake, or says
// why the file cannot be read; both are sluice.Invalid.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "give the path of a sluice.yaml; examples/site/sluice.yaml is one to start from", "cannot read the configuration: %v", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "", "cannot read the configuration: %v", err)
	}
	c, err := Parse(data, path)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, sluice.Errorf(sluice.Internal, "", "the folder of %s: %v", path, err)
	}
	c.moor(filepath.Dir(abs))
	return c, nil
}

// moor makes the relative paths start at dir.
func (c *Config) moor(dir string) {
	c.Dir = dir
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for i := range c.Feeds {
		f := &c.Feeds[i]
		abs(&f.Path)
		abs(&f.CookieFile)
		f.Password = f.Password.at(dir)
	}
	for i := range c.Machines {
		c.Machines[i].Password = c.Machines[i].Password.at(dir)
	}
	abs(&c.Server.TokenFile)
	abs(&c.Fabric.CA)
	abs(&c.Fabric.Credentials)
	c.Fabric.Password = c.Fabric.Password.at(dir)
	if !strings.HasPrefix(c.Privacy.MasterKey, "env:") {
		abs(&c.Privacy.MasterKey)
	}
	own := func(p *string) { // a map that is no name is a file's path
		if strings.ContainsAny(*p, "./") {
			abs(p)
		}
	}
	for i := range c.Meters {
		own(&c.Meters[i].Map)
	}
	for i := range c.Devices {
		x := &c.Devices[i]
		own(&x.Map)
		abs(&x.CAFile)
		x.Password, x.Community, x.PrivacyKey = x.Password.at(dir), x.Community.at(dir), x.PrivacyKey.at(dir)
	}
	abs(&c.Dialects)
	for i := range c.Hosts {
		abs(&c.Hosts[i].IdleMining.TokenFile)
		abs(&c.Hosts[i].IdleMining.Values)
	}
	w := &c.Telemetry.RemoteWrite
	w.Token, w.Password = w.Token.at(dir), w.Password.at(dir)
}

// Parse checks and completes a configuration; file is its name in the mistakes.
// The error is an Errors with every mistake.
func Parse(data []byte, file string) (*Config, error) {
	d := &decoder{file: file, at: map[string]*token.Position{}, broken: map[string]bool{}}
	root, m := syntax(data)
	if m != nil {
		m.File = file
		return nil, Errors{*m}
	}
	c := &Config{}
	d.object(root, reflect.ValueOf(c).Elem(), "")
	d.complete(c)
	d.check(c)
	if len(d.mistakes) > 0 {
		return nil, Errors(sorted(d.mistakes))
	}
	d.rest(c)
	c.Warnings = sorted(d.warnings)
	c.read = d
	return c, nil
}

// syntax returns the root of the one document; a mistake ends it, since after
// broken syntax the rest of a file means nothing.
func syntax(data []byte) (root ast.Node, m *Mistake) {
	if len(data) > maxFile {
		return nil, &Mistake{Line: 1, Column: 1, Message: fmt.Sprintf("the file is longer than %d KB; give miners by ranges of addresses", maxFile>>10)}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for i, line := range bytes.Split(data, []byte("\n")) {
		if len(line) > maxLine {
			return nil, &Mistake{Line: i + 1, Column: maxLine, Message: fmt.Sprintf("the line is longer than %d characters", maxLine)}
		}
		if !utf8.Valid(line) || bytes.ContainsRune(line, 0) {
			return nil, &Mistake{Line: i + 1, Column: 1, Message: "the line is not UTF-8 text"}
		}
	}
	// The YAML library is not ours: a panic in it must not end the program that
	// only wanted to say what is wrong with a file.
	defer func() {
		if r := recover(); r != nil {
			root, m = nil, &Mistake{Line: 1, Column: 1, Message: "the YAML of this file cannot be understood"}
		}
	}()
	tokens := lexer.Tokenize(string(data))
	depth, keys := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingValueType:
			keys++
		case token.SequenceEntryType:
			keys = 0
		case token.MappingStartType, token.SequenceStartType:
			keys = 0
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		}
		if depth > maxFlow {
			return nil, &Mistake{Line: t.Position.Line, Column: t.Position.Column, Message: "the brackets are nested too deeply"}
		}
		if keys > maxKeys {
			return nil, &Mistake{Line: t.Position.Line, Column: t.Position.Column, Message: fmt.Sprintf("there are more than %d fields in a row", maxKeys)}
		}
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		m = &Mistake{Line: 1, Column: 1, Message: "the YAML is broken: " + err.Error()}
		var se *yaml.SyntaxError
		if errors.As(err, &se) {
			m.Message = "the YAML is broken: " + se.Message
			if se.Token != nil && se.Token.Position != nil {
				m.Line, m.Column = max(1, se.Token.Position.Line), max(1, se.Token.Position.Column)
			}
		}
		return nil, m
	}
	for _, doc := range tree.Docs {
		if doc.Body == nil || absent(doc.Body) || doc.Body.Type() == ast.CommentType {
			continue
		}
		if root != nil {
			p := pos(doc.Body)
			return nil, &Mistake{Line: p.Line, Column: p.Column, Message: "a second document begins here; one file is one site"}
		}
		root = doc.Body
	}
	if root == nil {
		return nil, &Mistake{Line: 1, Column: 1, Message: "the file is empty; examples/site/sluice.yaml is one to start from"}
	}
	return root, nil
}
