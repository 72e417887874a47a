package config

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// types are all structs of the files.
func types() []reflect.Type {
	out := []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Agent]()}
	for i := 0; i < len(out); i++ {
		for j := range out[i].NumField() {
			f := out[i].Field(j)
			t := f.Type
			if t.Kind() == reflect.Slice {
				t = t.Elem()
			}
			if f.Tag.Get("yaml") != "-" && t.Kind() == reflect.Struct && !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	return out
}

func TestEveryFieldIsDescribed(t *testing.T) {
	left := map[string]bool{}
	for key := range fields {
		left[key] = true
	}
	for _, typ := range types() {
		for i := range typ.NumField() {
			key := typ.Field(i).Tag.Get("yaml")
			if key == "-" {
				continue
			}
			name := typ.Name() + "." + key
			f, ok := fields[name]
			delete(left, name)
			switch {
			case !ok || len(f.doc) < 10 || !strings.HasSuffix(f.doc, "."):
				t.Errorf("%s has no description that is a sentence: %q", name, f.doc)
			case key == "" || key != strings.ToLower(key):
				t.Errorf("%s has no key in lower case", name)
			case f.form != "" && forms[f.form].ok == nil:
				t.Errorf("%s has a form that is none: %q", name, f.form)
			case f.need && f.def != "":
				t.Errorf("%s is needed and has a default", name)
			case typ.Field(i).Type.Kind() == reflect.Map && len(f.keys) == 0:
				t.Errorf("%s has no keys", name)
			}
		}
	}
	for key := range left {
		t.Errorf("%s describes no field", key)
	}
}

// TestDefaultsAreValid reads each default as if it stood in the file.
func TestDefaultsAreValid(t *testing.T) {
	for _, typ := range types() {
		for i := range typ.NumField() {
			name := typ.Name() + "." + typ.Field(i).Tag.Get("yaml")
			f := fields[name]
			if f.def == "" {
				continue
			}
			d := &decoder{broken: map[string]bool{}}
			d.text(f.def, reflect.New(typ.Field(i).Type).Elem(), name, f)
			if len(d.mistakes) > 0 {
				t.Errorf("the default of %s: %v", name, d.mistakes)
			}
		}
	}
}

// keywords of JSON Schema that Schema uses, with the JSON type of each. A schema
// of nothing else, with resolving references and patterns that compile, is valid.
var keywords = map[string]string{
	"$schema": "string", "$id": "string", "$ref": "string", "$defs": "object", "title": "string", "description": "string",
	"type": "string", "properties": "object", "patternProperties": "object", "additionalProperties": "bool", "required": "array", "items": "object",
	"enum": "array", "const": "any", "pattern": "string", "minLength": "number", "minimum": "number", "maximum": "number",
	"exclusiveMaximum": "number", "anyOf": "array", "default": "any", "examples": "array",
}

func TestSchemaIsValid(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	if root["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("$schema is %v", root["$schema"])
	}
	if !bytes.Equal(Schema(), Schema()) {
		t.Error("it comes out differently each time")
	}
	var walk func(path string, s map[string]any)
	each := func(path string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			t.Errorf("%s is no schema", path)
			return
		}
		walk(path, m)
	}
	walk = func(path string, s map[string]any) {
		for k, v := range s {
			want, ok := keywords[k]
			kind := map[reflect.Kind]string{reflect.String: "string", reflect.Map: "object", reflect.Slice: "array", reflect.Bool: "bool", reflect.Float64: "number"}[reflect.TypeOf(v).Kind()]
			if !ok || (want != "any" && want != kind) {
				t.Errorf("%s has %q, a %s", path, k, kind)
			}
		}
		if p, ok := s["pattern"].(string); ok {
			if _, err := regexp.Compile(p); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if ref, ok := s["$ref"].(string); ok {
			if _, found := root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")]; !found {
				t.Errorf("%s refers to %s", path, ref)
			}
		}
		for _, k := range []string{"properties", "patternProperties", "$defs"} {
			if m, ok := s[k].(map[string]any); ok {
				for name, sub := range m {
					if _, err := regexp.Compile(name); err != nil {
						t.Errorf("%s/%s: %v", path, k, err)
					}
					each(path+"/"+k+"/"+name, sub)
				}
			}
		}
		if v, ok := s["items"]; ok {
			each(path+"/items", v)
		}
		if l, ok := s["anyOf"].([]any); ok {
			for _, v := range l {
				each(path+"/anyOf", v)
			}
		}
		if l, ok := s["required"].([]any); ok {
			for _, k := range l {
				if _, found := s["properties"].(map[string]any)[k.(string)]; !found {
					t.Errorf("%s requires %v, which is no property", path, k)
				}
			}
		}
	}
	walk("#", root)
}

// TestSchemaAgrees holds the schema against the files: those that Parse takes
// must pass, and those whose mistakes are of shape must not.
func TestSchemaAgrees(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	pass := map[string]bool{example: true, "testdata/reserves.yaml": true, "testdata/warnings.yaml": true, "testdata/pivot-full.yaml": true, "testdata/nothing-to-do.yaml": true}
	shape := []string{"pivot", "missing", "unknown-fields", "units", "names", "types", "top-list", "modes", "feeds", "reserves-wrong"}
	for _, name := range shape {
		pass["testdata/"+name+".yaml"] = false
	}
	more, err := filepath.Glob("../examples/*/sluice.yaml")
	if err != nil || len(more) == 0 {
		t.Fatalf("no examples (%v)", err)
	}
	for _, path := range more {
		pass[path] = true
	}
	for path, want := range pass {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := yaml.Unmarshal(data, &doc); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		j, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(j, &doc); err != nil {
			t.Fatal(err)
		}
		if why := invalid(root, root, doc, "#"); (why == "") != want {
			t.Errorf("%s: the schema says %q", path, why)
		}
	}
}

// invalid is as much of a JSON Schema validator as the schema needs; it returns
// the first thing that is wrong.
func invalid(root, s map[string]any, v any, at string) string {
	if ref, ok := s["$ref"].(string); ok {
		return invalid(root, root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any), v, at)
	}
	if l, ok := s["anyOf"].([]any); ok {
		for _, x := range l {
			if invalid(root, x.(map[string]any), v, at) == "" {
				return ""
			}
		}
		return at + " is none of the choices"
	}
	if c, ok := s["const"]; ok && !reflect.DeepEqual(c, v) {
		return at + " is not the constant"
	}
	switch x := v.(type) {
	case map[string]any:
		if s["type"] != "object" {
			return at + " is an object"
		}
		props := s["properties"].(map[string]any)
		for k, sub := range x {
			p, ok := props[k].(map[string]any)
			patterns, _ := s["patternProperties"].(map[string]any)
			for form, sub := range patterns {
				if !ok && regexp.MustCompile(form).MatchString(k) {
					p, ok = sub.(map[string]any)
				}
			}
			if !ok {
				return at + "/" + k + " is unknown"
			}
			if why := invalid(root, p, sub, at+"/"+k); why != "" {
				return why
			}
		}
		if req, ok := s["required"].([]any); ok {
			for _, k := range req {
				if _, has := x[k.(string)]; !has {
					return at + " lacks " + k.(string)
				}
			}
		}
	case []any:
		if s["type"] != "array" {
			return at + " is an array"
		}
		for _, sub := range x {
			if why := invalid(root, s["items"].(map[string]any), sub, at+"[]"); why != "" {
				return why
			}
		}
	case string:
		if s["type"] != "string" {
			return at + " is a string"
		}
		if e, ok := s["enum"].([]any); ok && !slices.Contains(e, any(x)) {
			return at + " is none of the enum"
		}
		if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(x) {
			return at + " does not match " + p
		}
	case float64:
		if s["type"] != "number" && (s["type"] != "integer" || x != math.Trunc(x)) {
			return at + " is a number"
		}
		lo, hasLo := s["minimum"].(float64)
		hi, hasHi := s["maximum"].(float64)
		less, hasLess := s["exclusiveMaximum"].(float64)
		if (hasLo && x < lo) || (hasHi && x > hi) || (hasLess && x >= less) {
			return at + " is out of range"
		}
	default:
		return at + " is null or a boolean"
	}
	return ""
}
