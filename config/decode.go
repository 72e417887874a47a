package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// decoder turns the syntax tree into the types, and goes on after each mistake
// so that all of them are told at once. It remembers where each value stood.
type decoder struct {
	file     string
	mistakes []Mistake
	warnings []Mistake
	at       map[string]*token.Position // path → value, or the key where there is none
	broken   map[string]bool            // paths whose value could not be read: what follows from them is no mistake of its own
}

func (d *decoder) note(p *token.Position, path, suggestion, format string, args ...any) Mistake {
	m := Mistake{File: d.file, Line: 1, Column: 1, Path: path, Message: fmt.Sprintf(format, args...), Suggestion: suggestion}
	if p != nil {
		m.Line, m.Column = max(1, p.Line), max(1, p.Column)
	}
	return m
}

// bad notes a mistake at the path, or where the nearest thing around it stands.
func (d *decoder) bad(path, suggestion, format string, args ...any) {
	d.broken[path] = true
	d.mistakes = append(d.mistakes, d.note(d.where(path), path, suggestion, format, args...))
}

func (d *decoder) warn(path, format string, args ...any) {
	d.warnings = append(d.warnings, d.note(d.where(path), path, "", format, args...))
}

func (d *decoder) where(path string) *token.Position {
	for {
		if p := d.at[path]; p != nil {
			return p
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return nil
		}
		path = path[:i]
	}
}

// has says whether the file gives a value at the path.
func (d *decoder) has(path string) bool { return d.at[path] != nil }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func pos(n ast.Node) *token.Position {
	switch n := n.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return pos(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return pos(n.Key)
	}
	if t := n.GetToken(); t != nil {
		return t.Position
	}
	return nil
}

// pairs returns the pairs of a mapping.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// scalar returns the text of a scalar as it stands in the file.
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
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias, which are not read here: write the value out"
	case *ast.TagNode:
		return "a tag, which is not read here: write the value alone"
	}
	return "a single value"
}

func absent(n ast.Node) bool {
	if n == nil {
		return true
	}
	_, null := n.(*ast.NullNode)
	return null
}

// object decodes a mapping into the struct v; defaults are filled, and fields
// that are needed are asked for.
func (d *decoder) object(n ast.Node, v reflect.Value, path string) {
	t := v.Type()
	byKey := map[string]int{}
	var keys []string
	meant := map[string]bool{} // fields that a misspelt key was probably meant for
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "-" {
			byKey[key] = i
			keys = append(keys, key)
		}
	}
	ps, ok := pairs(n)
	whole := ok || absent(n)
	if !whole {
		d.bad(path, "", "a mapping is wanted at %s, with the keys %s; this is %s", orTop(path), strings.Join(keys, ", "), kind(n))
	} else if ok {
		d.members(ps, path, func(key string, at *token.Position, value ast.Node) {
			i, ok := byKey[key]
			if !ok {
				near := nearest(key, keys)
				meant[near] = true
				d.mistakes = append(d.mistakes, d.note(at, join(path, key), near, "unknown field %q %s", key, in(path)))
				return
			}
			d.value(value, v.Field(i), join(path, key), fields[t.Name()+"."+key])
		})
	}
	for _, key := range keys {
		f, p := fields[t.Name()+"."+key], join(path, key)
		if !d.has(p) && (meant[key] || !whole) {
			d.broken[p] = true
		}
		switch {
		case d.has(p):
		case f.need && d.broken[p]:
		case f.need:
			d.bad(p, "", "the field %q %s is missing", key, in(path))
		case f.def != "":
			d.text(f.def, v.Field(byKey[key]), p, f)
		case v.Field(byKey[key]).Kind() == reflect.Struct:
			d.object(nil, v.Field(byKey[key]), p)
		}
	}
}

func orTop(path string) string {
	if path == "" {
		return "the top of the file"
	}
	return path
}

func in(path string) string {
	if path == "" {
		return "at the top of the file"
	}
	return "in " + path
}

// members walks a mapping's pairs: each key once, and only plain ones.
func (d *decoder) members(ps []*ast.MappingValueNode, path string, f func(key string, at *token.Position, value ast.Node)) {
	seen := map[string]*token.Position{}
	for _, p := range ps {
		at := pos(p.Key)
		key, ok := scalar(p.Key)
		if !ok || len(key) > 256 {
			d.broken[path] = true
			d.mistakes = append(d.mistakes, d.note(at, path, "", "a key %s is not a plain name (merge keys are not read here: write the values out)", in(path)))
			continue
		}
		if first := seen[key]; first != nil {
			d.mistakes = append(d.mistakes, d.note(at, join(path, key), "", "the key %q stands here a second time, after line %d", key, first.Line))
			continue
		}
		seen[key] = at
		if !absent(p.Value) {
			where := join(path, key)
			d.at[where] = pos(p.Value)
			if _, isMap := pairs(p.Value); isMap {
				d.at[where] = at
			}
		}
		f(key, at, p.Value)
	}
}

func (d *decoder) value(n ast.Node, v reflect.Value, path string, f field) {
	if absent(n) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(n, v, path)
	case reflect.Slice:
		d.list(n, v, path, f)
	case reflect.Map:
		d.table(n, v, path, f)
	default:
		s, ok := scalar(n)
		if !ok {
			d.bad(path, "", "a single value is wanted at %s; this is %s", path, kind(n))
			return
		}
		d.text(s, v, path, f)
	}
}

func (d *decoder) list(n ast.Node, v reflect.Value, path string, f field) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.bad(path, "", "a list is wanted at %s, its items beginning with \"- \"; this is %s", path, kind(n))
		return
	}
	for i, item := range seq.Values {
		p := fmt.Sprintf("%s[%d]", path, i)
		if absent(item) {
			d.bad(p, "", "the item %s is empty", p)
			continue
		}
		d.at[p] = pos(item)
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(item, e, p, f)
		v.Set(reflect.Append(v, e))
	}
}

func (d *decoder) table(n ast.Node, v reflect.Value, path string, f field) {
	ps, ok := pairs(n)
	if !ok {
		d.bad(path, "", "a mapping is wanted at %s; this is %s", path, kind(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.members(ps, path, func(key string, at *token.Position, value ast.Node) {
		if !slices.Contains(f.keys, key) && !(f.more && isReservePrice(key)) {
			d.broken[path] = true
			d.mistakes = append(d.mistakes, d.note(at, join(path, key), nearQuantity(key), "%q is no quantity", key))
			return
		}
		if absent(value) {
			d.mistakes = append(d.mistakes, d.note(at, join(path, key), "", "%s has no value", join(path, key)))
			return
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(value, e, join(path, key), field{})
		v.SetMapIndex(reflect.ValueOf(key), e)
	})
}

// text reads one value of the field from its text.
func (d *decoder) text(s string, v reflect.Value, path string, f field) {
	var err error
	var size float64 // for the range
	switch x := v.Addr().Interface().(type) {
	case *Power:
		*x, err = parsePower(s)
		size = float64(*x)
	case *Duration:
		*x, err = parseDuration(s)
		size = x.Duration().Seconds()
	case *Percent:
		*x, err = parsePercent(s)
	case *Ratio:
		*x, err = parseRatio(s)
		size = float64(*x)
	case *int:
		*x, err = strconv.Atoi(s)
		size = float64(*x)
		if err != nil {
			err = &wrong{msg: fmt.Sprintf("%q is no whole number", s)}
		}
	case *float64:
		*x, err = strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
		size = *x
		if err != nil || math.IsNaN(size) || math.IsInf(size, 0) {
			err = &wrong{msg: fmt.Sprintf("%q is no number", s)}
		}
	case *Secret:
		*x = Secret(s)
	case *string:
		*x = s
		err = f.check(s)
	default:
		panic("config: no reader for " + v.Type().String())
	}
	if err != nil {
		w := asWrong(err)
		d.bad(path, w.suggestion, "%s: %s", path, w.msg)
		return
	}
	if b := f.between; b != nil && (size < b[0] || size > b[1]) {
		d.bad(path, "", "%s: %s is out of range; it is %s to %s", path, s, amount(v, b[0]), amount(v, b[1]))
	}
}

func amount(v reflect.Value, x float64) string {
	switch v.Interface().(type) {
	case Power:
		return Power(x).String()
	case Duration:
		return Duration(x * 1e9).String()
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

func (f field) check(s string) error {
	if f.need && s == "" {
		return &wrong{msg: "it is empty"}
	}
	if f.enum != nil && !slices.Contains(f.enum, s) {
		return &wrong{fmt.Sprintf("%q is not one of %s", s, strings.Join(f.enum, ", ")), nearest(s, f.enum)}
	}
	if form, ok := forms[f.form]; ok && !form.ok(s) {
		return &wrong{msg: fmt.Sprintf("%q is not %s", s, form.say)}
	}
	return nil
}
