package dialect

import "strings"

// brackets turns texts of the form KEY[value] KEY[value] into objects. A value
// of several words stays one text, and is also a list of its words under
// KEY_list, because its places have meanings. A text without any stays as it is.
func brackets(v any, depth int) any {
	if depth > 8 {
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		for k, c := range v {
			v[k] = brackets(c, depth+1)
		}
	case []any:
		for i, c := range v {
			v[i] = brackets(c, depth+1)
		}
	case string:
		if out := bracketed(v); len(out) > 0 {
			return out
		}
	}
	return v
}

// bracketed is one text as an object. It is read by hand and not by a regexp: a
// poll of a machine brings 9 KB of it, with every chip.
func bracketed(s string) map[string]any {
	var out map[string]any
	rest := 0 // where what belongs to no key yet begins
	for i := 0; i < len(s); i++ {
		if s[i] != '[' {
			continue
		}
		n := strings.IndexAny(s[i+1:], "[]")
		if n < 0 {
			break
		}
		if s[i+1+n] == '[' {
			continue
		}
		if key := keyBefore(s[rest:i]); key != "" {
			if out == nil {
				out = map[string]any{}
			}
			value := s[i+1 : i+1+n]
			out[key] = value
			if words := strings.Fields(value); len(words) > 1 {
				list := make([]any, len(words))
				for j, w := range words {
					list[j] = w
				}
				out[key+"_list"] = list
			}
			rest = i + n + 2
		}
		i += n + 1
	}
	return out
}

// keyBefore is the key that ends a text: words that may be joined by blanks, dots
// and the like, from a letter on.
func keyBefore(s string) string {
	i := len(s)
	for i > 0 && (letter(s[i-1]) || strings.IndexByte("0123456789 .%/-\t\r\n\f", s[i-1]) >= 0) {
		i--
	}
	for i < len(s) && !letter(s[i]) {
		i++
	}
	return strings.TrimSpace(s[i:])
}

func letter(c byte) bool { return c == '_' || (c|0x20 >= 'a' && c|0x20 <= 'z') }
