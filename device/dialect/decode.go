package dialect

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"sluice"
)

// place is where something stands in a file.
type place struct{ line, column int }

// Mistake is one thing that is wrong in a dialect's file.
type Mistake struct {
	File         string
	Line, Column int
	Message      string
	Hint         string
}

// String prints file:line:column: message (hint).
func (m Mistake) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Message)
	if m.Hint != "" {
		s += " (" + m.Hint + ")"
	}
	return s
}

// Errors is every mistake of all files, one a line. It counts as a
// sluice.Invalid error.
type Errors []Mistake

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, m := range e {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// As makes sluice.KindOf see that a mistake in a file is the file's fault.
func (e Errors) As(target any) bool {
	t, ok := target.(**sluice.Error)
	if ok {
		*t = &sluice.Error{Kind: sluice.Invalid, Msg: e.Error()}
	}
	return ok
}

// decoder turns a file's syntax tree into a Dialect and goes on after each
// mistake, so that all of them are told at once.
type decoder struct {
	file     string
	mistakes Errors
	paths    []path // every path of the file, to check the requests they name
}

// noder is a value that reads its own part of the tree.
type noder interface{ decode(d *decoder, n ast.Node) }

func (d *decoder) bad(n ast.Node, hint, format string, args ...any) {
	d.badAt(spot(n), hint, format, args...)
}

func (d *decoder) badAt(at place, hint, format string, args ...any) {
	d.mistakes = append(d.mistakes, Mistake{d.file, max(1, at.line), max(1, at.column), fmt.Sprintf(format, args...), hint})
}

// note keeps paths for the check of the whole.
func (d *decoder) note(ps []path, at place) {
	for _, p := range ps {
		p.at = at
		d.paths = append(d.paths, p)
	}
}

func spot(n ast.Node) place {
	switch m := n.(type) {
	case nil:
		return place{1, 1}
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return spot(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return spot(m.Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return place{t.Position.Line, t.Position.Column}
	}
	return place{1, 1}
}

func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		if n.Value != nil {
			return n.Value.Value, true
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode, nil:
		return "nothing"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias"
	case *ast.TagNode:
		return "a tag"
	}
	return "a single value"
}

var regexpType = reflect.TypeFor[*regexp.Regexp]()

// into decodes a node into v by v's type.
func (d *decoder) into(n ast.Node, v reflect.Value) {
	if v.CanAddr() {
		if own, ok := v.Addr().Interface().(noder); ok {
			own.decode(d, n)
			return
		}
	}
	if v.Type() == regexpType {
		if s, ok := d.line(n); ok {
			re, err := regexp.Compile(s)
			if err != nil {
				d.bad(n, "", "the regexp cannot be read: %v", err)
				return
			}
			v.Set(reflect.ValueOf(re))
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.into(n, v.Elem())
	case reflect.Struct:
		d.object(n, v)
	case reflect.Slice:
		d.list(n, v)
	case reflect.Map:
		d.mapping(n, v)
	case reflect.Interface:
		if x := d.tree(n); x != nil {
			v.Set(reflect.ValueOf(x))
		}
	default:
		d.single(n, v)
	}
}

func (d *decoder) line(n ast.Node) (string, bool) {
	s, ok := scalar(n)
	if !ok {
		d.bad(n, "", "a single value is needed here, not %s", kind(n))
	}
	return s, ok
}

func (d *decoder) single(n ast.Node, v reflect.Value) {
	s, ok := d.line(n)
	if !ok {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			d.bad(n, "write true or false", "%q is neither true nor false", s)
		}
		v.SetBool(b)
	case reflect.Int:
		x, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			d.bad(n, "", "%q is no whole number", s)
		}
		v.SetInt(x)
	case reflect.Float64:
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || x < 0 || x > 1e9 {
			d.bad(n, "", "%q is no number from 0 to 1e9", s)
			return
		}
		v.SetFloat(x)
	}
}

func (d *decoder) list(n ast.Node, v reflect.Value) {
	nodes := []ast.Node{n} // one value stands for a list of it
	if s, ok := n.(*ast.SequenceNode); ok {
		nodes = s.Values
	}
	out := reflect.MakeSlice(v.Type(), len(nodes), len(nodes))
	for i, c := range nodes {
		d.into(c, out.Index(i))
	}
	v.Set(out)
}

func (d *decoder) mapping(n ast.Node, v reflect.Value) {
	ps, ok := pairs(n)
	if !ok {
		d.bad(n, "", "a mapping is needed here, not %s", kind(n))
		return
	}
	out := reflect.MakeMap(v.Type())
	for _, p := range ps {
		key, ok := scalar(p.Key)
		if !ok {
			d.bad(p.Key, "", "a key is a single value")
			continue
		}
		if out.MapIndex(reflect.ValueOf(key)).IsValid() {
			d.bad(p.Key, "", "%q stands twice", key)
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.into(p.Value, e)
		out.SetMapIndex(reflect.ValueOf(key), e)
	}
	v.Set(out)
}

// fields lists a struct's fields by their YAML keys; embedded structs count in.
func fields(v reflect.Value, out map[string]reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			fields(v.Field(i), out)
		} else if key := f.Tag.Get("yaml"); key != "" {
			out[key] = v.Field(i)
		}
	}
}

func (d *decoder) object(n ast.Node, v reflect.Value) {
	ps, ok := pairs(n)
	if !ok {
		d.bad(n, "", "a mapping is needed here, not %s", kind(n))
		return
	}
	byKey := map[string]reflect.Value{}
	fields(v, byKey)
	seen := map[string]bool{}
	for _, p := range ps {
		key, _ := scalar(p.Key)
		f, ok := byKey[key]
		switch {
		case !ok:
			d.bad(p.Key, known(byKey), "there is no %q here", key)
		case seen[key]:
			d.bad(p.Key, "", "%q stands twice", key)
		default:
			seen[key] = true
			d.into(p.Value, f)
		}
	}
	if f := v.FieldByName("at"); f.IsValid() {
		if o, ok := v.Addr().Interface().(interface{ put(place) }); ok {
			o.put(spot(n))
		}
	}
}

func known(m map[string]reflect.Value) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return "one of " + strings.Join(keys, ", ")
}

// tree decodes a value of any form, as the bodies of requests are.
func (d *decoder) tree(n ast.Node) any {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		out := make([]any, len(n.Values))
		for i, c := range n.Values {
			out[i] = d.tree(c)
		}
		return out
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode, *ast.FloatNode:
		if x, err := strconv.ParseFloat(n.GetToken().Value, 64); err == nil {
			return x
		}
	}
	if ps, ok := pairs(n); ok {
		out := map[string]any{}
		for _, p := range ps {
			if key, ok := scalar(p.Key); ok {
				out[key] = d.tree(p.Value)
			}
		}
		return out
	}
	s, ok := d.line(n)
	if ok {
		d.template(n, s)
	}
	return s
}
