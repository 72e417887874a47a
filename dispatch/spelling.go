package dispatch

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Fields that an instance does not have are passed over: a later version, or
// somebody's notes, may carry more. But one that is spelt almost like a field
// that is missing beside it is a mistake, and a plan without it would be wrong
// in silence.

// speller goes through JSON that is known to be sound.
type speller struct {
	b   []byte
	i   int
	err error
}

// spelling names the first misspelt field of an instance.
func spelling(b []byte) error {
	s := &speller{b: b}
	s.value(reflect.TypeFor[Instance](), "")
	return s.err
}

func (s *speller) space() {
	for s.i < len(s.b) && strings.IndexByte(" \t\r\n,:", s.b[s.i]) >= 0 {
		s.i++
	}
}

// text moves past a string, and returns it with its quotes.
func (s *speller) text() []byte {
	from := s.i
	for s.i++; s.i < len(s.b) && s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] == '\\' {
			s.i++
		}
	}
	s.i++
	return s.b[from:min(s.i, len(s.b))]
}

// skip moves past a value.
func (s *speller) skip() {
	for depth := 0; s.i < len(s.b); {
		switch s.b[s.i] {
		case '"':
			s.text()
		case '[', '{':
			depth++
			s.i++
		case ']', '}':
			if depth == 0 {
				return
			}
			depth--
			s.i++
		case ',':
			if depth == 0 {
				return
			}
			s.i++
			continue
		default:
			s.i++
			continue
		}
		if depth == 0 {
			return
		}
	}
}

// value moves past a value that is to be read as a t, and looks at its fields.
func (s *speller) value(t reflect.Type, path string) {
	s.space()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case s.i >= len(s.b) || s.err != nil:
	case s.b[s.i] == '{' && t.Kind() == reflect.Struct && t != reflect.TypeFor[Series]():
		s.object(t, path)
	case s.b[s.i] == '[' && t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		s.i++
		for n := 0; s.err == nil; n++ {
			if s.space(); s.i >= len(s.b) || s.b[s.i] == ']' {
				s.i++
				return
			}
			s.value(t.Elem(), fmt.Sprintf("%s[%d]", path, n))
		}
	default:
		s.skip()
	}
}

func (s *speller) object(t reflect.Type, path string) {
	if path != "" {
		path += "."
	}
	seen := make([]bool, t.NumField())
	var strange []string
	for s.i++; s.err == nil; {
		if s.space(); s.i >= len(s.b) || s.b[s.i] != '"' {
			s.i++
			break
		}
		var key string
		if json.Unmarshal(s.text(), &key) != nil {
			return
		}
		at := -1
		for f := range seen {
			if strings.EqualFold(fieldName(t, f), key) {
				at = f
			}
		}
		if s.space(); at < 0 {
			if len(strange) < 100 { // more are no slip of the pen
				strange = append(strange, key)
			}
			s.skip()
			continue
		}
		seen[at] = true
		s.value(t.Field(at).Type, path+fieldName(t, at))
	}
	for _, key := range strange {
		for f := range seen {
			name := fieldName(t, f)
			if !seen[f] && s.err == nil && len(key) < 2*len(name) && distance(strings.ToLower(key), name) <= len(key)/3 {
				s.err = invalid("%s: no such field; is %s meant?", path+clip(key), name)
			}
		}
	}
}

func fieldName(t reflect.Type, f int) string {
	name, _, _ := strings.Cut(t.Field(f).Tag.Get("json"), ",")
	return name
}

// distance is how many letters have to be put in, left out or changed to make b
// of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := last
			if a[i] != b[j] {
				change++
			}
			last = row[j+1]
			row[j+1] = min(change, last+1, row[j]+1)
		}
	}
	return row[len(b)]
}
