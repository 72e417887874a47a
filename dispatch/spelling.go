package dispatch

import (
	"bytes"
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
	at  []fieldAt // where it is
}

// fieldAt is a field on the way to a value, or the number of an element.
type fieldAt struct {
	name string
	n    int
}

// spelling names the first misspelt field of an instance.
func spelling(b []byte) error {
	s := &speller{b: b}
	s.value(&instanceFields)
	return s.err
}

// path is where it is, as a person would write it.
func (s *speller) path() string {
	var b strings.Builder
	for _, p := range s.at {
		if p.name != "" {
			b.WriteString(p.name)
		} else {
			fmt.Fprintf(&b, "[%d].", p.n)
		}
	}
	return b.String()
}

// fields are those of a type, in the order of their names here.
type fields struct {
	names []string
	by    map[string]int
	in    []*fields // by field: those of what it is a list of, nil: none
}

// instanceFields are found once: an instance has thousands of fields to look at.
var instanceFields = fieldsOf(reflect.TypeFor[Instance]())

func fieldsOf(t reflect.Type) fields {
	f := fields{by: map[string]int{}}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		f.names, f.by[name] = append(f.names, name), i
		var in *fields
		if u := t.Field(i).Type; u.Kind() == reflect.Slice && u.Elem().Kind() == reflect.Struct {
			of := fieldsOf(u.Elem())
			in = &of
		}
		f.in = append(f.in, in)
	}
	return f
}

// find returns the number of the field of that name, as encoding/json finds it;
// -1 where there is none.
func (f *fields) find(key []byte) int {
	if i, ok := f.by[string(key)]; ok {
		return i
	}
	for i, name := range f.names {
		if strings.EqualFold(name, string(key)) {
			return i
		}
	}
	return -1
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

// value moves past a value with such fields, or a list of these, and looks at
// them.
func (s *speller) value(f *fields) {
	s.space()
	switch {
	case s.i >= len(s.b) || s.err != nil:
	case f != nil && s.b[s.i] == '{':
		s.object(f)
	case f != nil && s.b[s.i] == '[':
		s.i++
		for n := 0; s.err == nil; n++ {
			if s.space(); s.i >= len(s.b) || s.b[s.i] == ']' {
				s.i++
				return
			}
			s.at = append(s.at, fieldAt{n: n})
			s.value(f)
			s.at = s.at[:len(s.at)-1]
		}
	default:
		s.skip()
	}
}

func (s *speller) object(f *fields) {
	seen := make([]bool, len(f.names))
	var strange []string
	for s.i++; s.err == nil; {
		if s.space(); s.i >= len(s.b) || s.b[s.i] != '"' {
			s.i++
			break
		}
		text := s.text()
		key := text[1 : len(text)-1]
		if bytes.IndexByte(key, '\\') >= 0 {
			var plain string
			if json.Unmarshal(text, &plain) != nil {
				return
			}
			key = []byte(plain)
		}
		at := f.find(key)
		if s.space(); at < 0 {
			if len(strange) < 100 { // more are no slip of the pen
				strange = append(strange, string(key))
			}
			s.skip()
			continue
		}
		seen[at] = true
		s.at = append(s.at, fieldAt{name: f.names[at]})
		s.value(f.in[at])
		s.at = s.at[:len(s.at)-1]
	}
	for _, key := range strange {
		for i, name := range f.names {
			if !seen[i] && s.err == nil && len(key) < 2*len(name) && distance(strings.ToLower(key), name) <= len(key)/3 {
				s.err = invalid("%s: no such field; is %s meant?", s.path()+clip(key), name)
			}
		}
	}
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
