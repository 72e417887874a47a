package dialect

import (
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A template is a text in which {name} stands for what a command is about
// (profile, watts, percent, on), for the address's credentials (user, password),
// for the prior pools (pools), for the key that a list's element stands under and
// the number at its end (key, n), or for a PATH of what the device said. Values are
// put in after the text is taken apart and before it is encoded: no value can
// end a string of JSON or add a part to a path.
var braces = regexp.MustCompile(`\{([A-Za-z.][^{}"\n]*)\}`)

var variables = []string{"profile", "watts", "percent", "on", "user", "password", "pools", "key", "n"}

func reflectOf(p any) reflect.Value { return reflect.ValueOf(p).Elem() }

// template notes the paths of a template.
func (d *decoder) template(n ast.Node, s string) {
	for _, m := range braces.FindAllStringSubmatch(s, -1) {
		if slices.Contains(variables, m[1]) || strings.HasSuffix(m[1], " ") {
			continue
		}
		p, err := parsePath(m[1])
		if err != nil {
			d.bad(n, "one of "+strings.Join(variables, ", ")+", or a path", "{%s}: %v", m[1], err)
			continue
		}
		p.at = spot(n)
		d.paths = append(d.paths, p)
	}
}

// lookup returns what stands for a name of a template.
func lookup(name string, e env, vars map[string]any) (any, bool) {
	if v, ok := vars[name]; ok {
		return v, true
	}
	switch name {
	case "key":
		return e.key, e.key != ""
	case "n":
		return e.number(), e.number() != ""
	}
	p, err := parsePath(name)
	if err != nil {
		return nil, false
	}
	for _, n := range p.find(e) {
		if n.v != nil {
			return n.v, true
		}
	}
	return nil, false
}

// expand fills a template in; false where a value that it needs is not known.
func expand(s string, e env, vars map[string]any) (string, bool) {
	ok := true
	out := braces.ReplaceAllStringFunc(s, func(m string) string {
		v, found := lookup(m[1:len(m)-1], e, vars)
		t, scalar := text(v)
		ok = ok && found && scalar
		return t
	})
	return out, ok
}

// expandPath fills in the path of a URL: a value stays one part of it.
func expandPath(s string, e env, vars map[string]any) (string, bool) {
	ok := true
	out := braces.ReplaceAllStringFunc(s, func(m string) string {
		v, found := lookup(m[1:len(m)-1], e, vars)
		t, scalar := text(v)
		ok = ok && found && scalar && t != "" && t != "." && t != ".."
		return url.PathEscape(t)
	})
	return out, ok
}

// expandTree fills in a body. A text that is one template alone becomes the
// value itself, with its type.
func expandTree(x any, e env, vars map[string]any) (any, bool) {
	switch x := x.(type) {
	case string:
		if m := braces.FindStringSubmatch(x); m != nil && m[0] == x {
			return lookup(m[1], e, vars)
		}
		return expand(x, e, vars)
	case []any:
		out, ok := make([]any, len(x)), true
		for i, c := range x {
			v, found := expandTree(c, e, vars)
			out[i], ok = v, ok && found
		}
		return out, ok
	case map[string]any:
		out, ok := make(map[string]any, len(x)), true
		for k, c := range x {
			v, found := expandTree(c, e, vars)
			out[k], ok = v, ok && found
		}
		return out, ok
	}
	return x, true
}
