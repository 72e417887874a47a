package jobfile

import (
	"errors"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	yamlparser "github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a task file. The parser's time grows with the square of the number
// of tokens; a rich task has some hundreds.
const (
	maxTokens = 5000
	maxNested = 16
)

// where returns the place of a node.
func where(n ast.Node) place {
	if n != nil {
		if t := n.GetToken(); t != nil && t.Position != nil {
			return place{t.Position.Line, t.Position.Column}
		}
	}
	return place{}
}

// root returns the mapping of the file's one task, nil after a mistake.
func (p *parser) root(data []byte) ast.Node {
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
		if n++; n > maxTokens || depth > maxNested {
			p.wrong(place{}, "the file is too complex for a task: put data and long tables into workdir")
			return nil
		}
	}
	f, err := yamlparser.Parse(tokens, 0, yamlparser.AllowDuplicateMapKey()) // pairs finds them, where they matter
	if err != nil {
		var y yaml.Error
		if errors.As(err, &y) && y.GetToken() != nil {
			pos := y.GetToken().Position
			hint := ""
			if strings.Contains(y.GetMessage(), "'\t'") {
				hint = ": YAML is indented with spaces, not with tabs"
			}
			p.wrong(place{pos.Line, pos.Column}, "%s%s", y.GetMessage(), hint)
		} else {
			p.wrong(place{}, "%s", strings.SplitN(err.Error(), "\n", 2)[0])
		}
		return nil
	}
	var docs []ast.Node
	for _, d := range f.Docs {
		if d.Body != nil && !isNull(d.Body) {
			if _, comment := d.Body.(*ast.CommentGroupNode); !comment {
				docs = append(docs, d.Body)
			}
		}
	}
	// A managed job may have a document with its name before that of its task.
	if len(docs) == 2 {
		if head := p.pairs(docs[0], "a task"); len(head) == 1 && head[0].key == "name" {
			p.name(head[0])
			docs = docs[1:]
		}
	}
	switch len(docs) {
	case 0:
		p.wrong(place{}, "the file is empty: a task has at least a run section")
		return nil
	case 1:
		return docs[0]
	}
	p.wrong(where(docs[1]), "a file with several tasks (a pipeline or a job group) is not supported: submit them one by one, as files of their own")
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
func (p *parser) pairs(n ast.Node, what string) []pair {
	all := p.repeated(n, what)
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(e pair) bool {
		if seen[e.key] {
			p.wrong(where(e.node), "%s is there twice", e.key)
			return true
		}
		seen[e.key] = true
		return false
	})
}

// repeated is pairs where a name may come again.
func (p *parser) repeated(n ast.Node, what string) []pair {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		p.wrong(where(n), "%s must be a mapping of names to values", what)
		return nil
	}
	var out []pair
	for _, v := range values {
		var key ast.Node = v.Key
		text, ok := scalar(key)
		if !ok {
			p.wrong(where(key), "%s: a name must be plain text; anchors, aliases, tags and merges are not supported", what)
			continue
		}
		out = append(out, pair{text, key, v.Value})
	}
	return out
}

func isMapping(n ast.Node) bool {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		_, text := glued(n)
		return !text
	}
	return false
}

// glued returns the text of what the parser takes for a mapping within brackets
// and braces, though no blank follows its colon: A100:8, docker:image.
func glued(n ast.Node) (string, bool) {
	m, ok := n.(*ast.MappingValueNode)
	if all, many := n.(*ast.MappingNode); many && !all.IsFlowStyle && len(all.Values) == 1 {
		m, ok = all.Values[0], true
	}
	if !ok {
		return "", false
	}
	key, ok := scalar(m.Key)
	value, ok2 := scalar(m.Value)
	k, v := where(m.Key), where(m.Value)
	return key + ":" + value, ok && ok2 && k.line == v.line && k.column+len(key)+1 == v.column
}

// items returns the elements of a list, or of a single value as a list of one.
func items(n ast.Node) []ast.Node {
	switch v := n.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		return v.Values
	}
	return []ast.Node{n}
}

// scalar returns the text of a plain value.
func scalar(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.MappingNode, *ast.MappingValueNode:
		return glued(n)
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
func (p *parser) text(e pair) string {
	if isNull(e.value) {
		return ""
	}
	s, ok := scalar(e.value)
	if !ok {
		p.wrong(where(e.value), "%s must be text", e.key)
	}
	if strings.ContainsRune(s, 0) {
		p.wrong(where(e.value), "%s holds a NUL character", e.key)
	}
	return s
}

// yes reads true or false.
func (p *parser) yes(e pair) bool {
	switch s := strings.ToLower(p.text(e)); s {
	case "true", "yes", "on":
		return true
	case "false", "no", "off", "":
	default:
		p.wrong(where(e.value), "%s must be true or false", e.key)
	}
	return false
}
