package compute

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"sluice"
)

// Bounds of a task file. The parser's time grows with the square of the number
// of tokens; a rich task has some hundreds.
const (
	MaxTaskFile   = 1 << 20
	maxTaskTokens = 5000
	maxTaskNested = 16
	maxEnvValue   = 100 << 10 // the kernel takes 128 KiB for one variable
)

// ParseTask reads a SkyPilot task. file names it in errors. What is wrong is an
// Invalid error with one line for each mistake: file:line:column, what, and what
// was probably meant; what only has no meaning here goes to Task.Warnings.
func ParseTask(data []byte, file string) (*Task, error) {
	return ParseTaskEnv(data, file, nil)
}

// ParseTaskEnv is ParseTask with values for environment variables that go before
// the file's, and that may be the only ones: a variable that the file names
// without a value must be given here.
func ParseTaskEnv(data []byte, file string, env map[string]string) (*Task, error) {
	p := &taskParser{file: cmp.Or(file, "task"), task: &Task{NumNodes: 1, Envs: map[string]string{}}, given: env}
	if root := p.root(data); root != nil {
		p.top(root)
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if msg := badEnv(name, env[name]); msg != "" {
			p.wrong(nil, "", "--env %s: %s", name, msg)
			continue
		}
		p.task.Envs[name] = env[name]
	}
	if len(p.mistakes) > 0 {
		return nil, sluice.Errorf(sluice.Invalid, "", "%s", strings.Join(p.mistakes, "\n"))
	}
	return p.task, nil
}

type taskParser struct {
	file     string
	task     *Task
	given    map[string]string
	mistakes []string
}

func (p *taskParser) at(n ast.Node) string {
	if n != nil {
		if t := n.GetToken(); t != nil && t.Position != nil {
			return fmt.Sprintf("%s:%d:%d: ", p.file, t.Position.Line, t.Position.Column)
		}
	}
	return p.file + ":1:1: "
}

// wrong notes a mistake at the node.
func (p *taskParser) wrong(n ast.Node, near, format string, args ...any) {
	m := p.at(n) + fmt.Sprintf(format, args...)
	if near != "" {
		m += fmt.Sprintf(" (did you mean %q?)", near)
	}
	p.mistakes = append(p.mistakes, m)
}

func (p *taskParser) warn(n ast.Node, format string, args ...any) {
	p.task.Warnings = append(p.task.Warnings, p.at(n)+fmt.Sprintf(format, args...))
}

// root returns the mapping of the file's one document, nil after a mistake.
func (p *taskParser) root(data []byte) ast.Node {
	switch {
	case len(data) > MaxTaskFile:
		p.wrong(nil, "", "the file is larger than %d MiB: a task is a short text, put data into workdir", MaxTaskFile>>20)
		return nil
	case !utf8.Valid(data):
		p.wrong(nil, "", "the file is not UTF-8 text")
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	n, depth := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.CommentType:
			continue
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		}
		if n++; n > maxTaskTokens || depth > maxTaskNested {
			p.wrong(nil, "", "the file is too complex for a task: put data and long tables into workdir")
			return nil
		}
	}
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		var y yaml.Error
		if errors.As(err, &y) && y.GetToken() != nil {
			pos := y.GetToken().Position
			p.mistakes = append(p.mistakes, fmt.Sprintf("%s:%d:%d: %s", p.file, pos.Line, pos.Column, y.GetMessage()))
		} else {
			p.wrong(nil, "", "%s", strings.SplitN(err.Error(), "\n", 2)[0])
		}
		return nil
	}
	var docs []ast.Node
	for _, d := range f.Docs {
		if d.Body != nil {
			docs = append(docs, d.Body)
		}
	}
	switch len(docs) {
	case 0:
		p.wrong(nil, "", "the file is empty: a task has at least a run section")
		return nil
	case 1:
		return docs[0]
	}
	p.wrong(docs[1], "", "a file with several tasks (a pipeline) is not supported: submit them one by one")
	return nil
}

// pair is one entry of a mapping.
type pair struct {
	key   string
	node  ast.Node // of the key
	value ast.Node
}

// pairs returns the entries of a mapping in their order, or notes that what is
// not one. A null is an empty mapping.
func (p *taskParser) pairs(n ast.Node, what string) []pair {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		p.wrong(n, "", "%s must be a mapping of names to values", what)
		return nil
	}
	var out []pair
	seen := map[string]bool{}
	for _, v := range values {
		var key ast.Node = v.Key
		text, ok := scalar(key)
		if !ok {
			p.wrong(key, "", "%s: a name must be plain text; anchors, aliases, tags and merges are not supported", what)
			continue
		}
		if seen[text] {
			p.wrong(key, "", "%s is there twice", text)
			continue
		}
		seen[text] = true
		out = append(out, pair{text, key, v.Value})
	}
	return out
}

// scalar returns the text of a plain value.
func scalar(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		if v.Value == nil {
			return "", true
		}
		return v.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return strings.TrimSpace(n.GetToken().Value), true
	}
	return "", false
}

func isNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return n == nil || null
}

// text returns a value that must be text, "" for null.
func (p *taskParser) text(e pair) string {
	if isNull(e.value) {
		return ""
	}
	s, ok := scalar(e.value)
	if !ok {
		p.wrong(e.value, "", "%s must be text", e.key)
	}
	if strings.ContainsRune(s, 0) {
		p.wrong(e.value, "", "%s holds a NUL character", e.key)
	}
	return s
}

var (
	envName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	taskName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$`)
)

// badEnv says what is wrong with a variable, "" if nothing is.
func badEnv(name, value string) string {
	switch {
	case !envName.MatchString(name):
		return "a variable's name has letters, digits and _ only"
	case strings.HasPrefix(name, "SLUICE_"), strings.HasPrefix(name, "SKYPILOT_"):
		return "names that begin with SLUICE_ or SKYPILOT_ are set by Sluice"
	case strings.ContainsRune(value, 0):
		return "the value holds a NUL character"
	case len(value) > maxEnvValue:
		return fmt.Sprintf("the value is longer than %d KiB: put it into a file in workdir", maxEnvValue>>10)
	}
	return ""
}
