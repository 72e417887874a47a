package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
)

// Schema returns the JSON Schema (2020-12) of sluice.yaml, made from the types
// and the table of fields. It knows shapes, ranges and choices; references
// between parts of the file are for Load.
func Schema() []byte {
	defs := map[string]any{}
	root := object(reflect.TypeFor[Config](), defs)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "urn:sluice:config"
	root["title"] = "sluice.yaml"
	root["description"] = "A site that mines bitcoin and runs AI work behind one grid connection."
	root["$defs"] = defs
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("config: the schema is made of plain values: " + err.Error())
	}
	return append(out, '\n')
}

type schema = map[string]any

func object(t reflect.Type, defs schema) schema {
	props := schema{}
	required := []string{}
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("yaml")
		if key == "-" {
			continue
		}
		f := fields[t.Name()+"."+key]
		p := value(t.Field(i).Type, f, defs)
		p["description"] = f.doc
		if f.def != "" {
			p["default"] = defaultOf(t.Field(i).Type, f.def)
		}
		props[key] = p
		if f.need {
			required = append(required, key)
		}
	}
	o := schema{"type": "object", "properties": props, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func defaultOf(t reflect.Type, def string) any {
	if t.Kind() == reflect.Int || t == reflect.TypeFor[float64]() {
		if x, err := strconv.ParseFloat(def, 64); err == nil {
			return x
		}
	}
	return def
}

func value(t reflect.Type, f field, defs schema) schema {
	switch t {
	case reflect.TypeFor[Power]():
		return schema{"anyOf": []any{
			schema{"type": "string", "pattern": `^[0-9]+(\.[0-9]+)?\s*(W|kW|MW)$`},
			schema{"type": "integer", "const": 0},
		}, "examples": []any{"14MW", "250kW", "3250W"}}
	case reflect.TypeFor[Duration]():
		return schema{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`, "examples": []any{"30s", "5m", "3h"}}
	case reflect.TypeFor[Percent]():
		return schema{"anyOf": []any{
			schema{"type": "string", "pattern": `^[0-9]+(\.[0-9]+)?\s*%$`},
			schema{"type": "number", "minimum": 0, "exclusiveMaximum": 1},
		}, "examples": []any{"1%", 0.01}}
	case reflect.TypeFor[Ratio]():
		n := schema{"type": "number"}
		if f.between != nil {
			n["minimum"], n["maximum"] = f.between[0], f.between[1]
		}
		return schema{"anyOf": []any{
			schema{"type": "string", "pattern": `^-?[0-9]+(\.[0-9]+)?\s*%$`}, n,
		}, "examples": []any{"60%", 0.6}}
	case reflect.TypeFor[Secret]():
		return schema{"type": "string", "examples": []any{"env:NAME", "file:PATH"}}
	}
	switch t.Kind() {
	case reflect.Struct:
		if _, ok := defs[t.Name()]; !ok {
			defs[t.Name()] = schema{} // in case it comes again below itself
			defs[t.Name()] = object(t, defs)
		}
		return schema{"$ref": "#/$defs/" + t.Name()}
	case reflect.Slice:
		return schema{"type": "array", "items": value(t.Elem(), field{}, defs)}
	case reflect.Map:
		props := schema{}
		for _, k := range f.keys {
			props[k] = value(t.Elem(), field{}, defs)
		}
		s := schema{"type": "object", "properties": props, "additionalProperties": false}
		if f.more {
			s["patternProperties"] = schema{reservePattern: value(t.Elem(), field{}, defs)}
		}
		return s
	case reflect.Int, reflect.Float64:
		s := schema{"type": "number"}
		if t.Kind() == reflect.Int {
			s["type"] = "integer"
		}
		if f.between != nil {
			s["minimum"], s["maximum"] = f.between[0], f.between[1]
		}
		return s
	case reflect.String:
		s := schema{"type": "string"}
		if f.enum != nil {
			s["enum"] = f.enum
		}
		if form, ok := forms[f.form]; ok {
			s["pattern"] = form.pattern
		}
		if f.need {
			s["minLength"] = 1
		}
		return s
	}
	panic(fmt.Sprintf("config: no schema for %s", t))
}
