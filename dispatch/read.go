package dispatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"

	"sluice"
)

const (
	maxInstanceBytes = 64 << 20
	maxIntervals     = 200_000
	maxUnits         = 1_000_000_000
	// Beyond this a sum of products may no longer be finite.
	maxNumber = 1e15
)

// ReadInstance reads and validates an instance of at most 64 MiB of JSON. What
// is wrong with it comes back as one error of kind sluice.Invalid that names
// the field and the value. Fields it does not know are ignored,
// but for those that are misspelt.
func ReadInstance(r io.Reader) (*Instance, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxInstanceBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the instance: %w", err)
	}
	if len(b) > maxInstanceBytes {
		return nil, invalid("instance: more than %d bytes", maxInstanceBytes)
	}
	in := new(Instance)
	if err := json.Unmarshal(b, in); err != nil {
		return nil, jsonError(b, err)
	}
	if err := spelling(b); err != nil {
		return nil, err
	}
	if err := in.Validate(); err != nil {
		return nil, err
	}
	return in, nil
}

const formHint = "the form of an instance is described under `sluice dispatch solve --help`"

func invalid(format string, args ...any) error {
	// Names come from outside: they may not break the line.
	msg := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, fmt.Sprintf(format, args...))
	return sluice.Errorf(sluice.Invalid, formHint, "%s", msg)
}

// jsonError names the field in which decoding failed, as far as it can be told.
func jsonError(b []byte, err error) error {
	var syn *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typ):
		field := typ.Field
		if field == "" {
			field = "instance"
		}
		return invalid("%s: %s where %s is due", field, typ.Value, called(typ.Type))
	case errors.As(err, &syn):
		at := int(min(max(0, syn.Offset), int64(len(b))))
		line := 1 + bytes.Count(b[:at], []byte("\n"))
		near := b[max(0, at-1):min(len(b), at+20)]
		return invalid("%s: not JSON at line %d near %q: %v", lastKey(b[:at]), line, near, err)
	}
	return invalid("instance: %v", err)
}

// called is what a person calls a type in JSON.
func called(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a " + t.String()
}

// lastKey returns the last object key in b, or "instance".
func lastKey(b []byte) string {
	for i := bytes.LastIndexByte(b, ':'); i > 0; i = bytes.LastIndexByte(b[:i], ':') {
		k := bytes.TrimRight(b[:i], " \t\r\n")
		if len(k) < 2 || k[len(k)-1] != '"' {
			continue
		}
		if j := bytes.LastIndexByte(k[:len(k)-1], '"'); j >= 0 {
			return clip(string(k[j+1 : len(k)-1]))
		}
	}
	return "instance"
}
