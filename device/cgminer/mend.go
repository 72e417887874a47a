package cgminer

import "bytes"

// Mend rewrites the malformed JSON that firmwares are known to send into JSON,
// and leaves well-formed JSON as it is. It never invents a value: what is not
// a known quirk stays broken for the parser to reject.
//
// Known quirks: NUL bytes; `}{` and `}"` without a comma inside a list or
// object; a comma before a closing or after an opening bracket, or twice; raw
// control characters in strings; a doubled quote before a key (`""temp0":`);
// bare inf and nan, which become null.
func Mend(in []byte) []byte {
	out := make([]byte, 0, len(in)+16)
	depth := 0
	last := byte(0)  // last significant byte written outside strings
	drop := func() { // takes back a pending comma
		i := bytes.LastIndexByte(out, ',')
		out = append(out[:i], bytes.TrimLeft(out[i+1:], " \t\r\n")...)
	}
	for i := 0; i < len(in); i++ {
		switch c := in[i]; c {
		case 0:
		case ' ', '\t', '\r', '\n':
			out = append(out, c)
		case '"':
			if last == '}' && depth > 0 {
				out = append(out, ',')
			}
			if i+2 < len(in) && in[i+1] == '"' && letter(in[i+2]) {
				i++
			}
			var closed bool
			out, i, closed = mendString(out, in, i)
			if !closed {
				return out
			}
			last = '"'
		case '{', '[':
			if (last == '}' || last == ']') && depth > 0 {
				out = append(out, ',')
			}
			depth++
			out, last = append(out, c), c
		case '}', ']':
			if last == ',' {
				drop()
			}
			depth--
			out, last = append(out, c), c
		case ',':
			if last == ',' || last == '[' || last == '{' {
				continue
			}
			out, last = append(out, c), c
		default:
			if n := notANumber(in[i:]); n > 0 && (last == ':' || last == ',' || last == '[') {
				out, last = append(out, "null"...), 'l'
				i += n - 1
				continue
			}
			out, last = append(out, c), c
		}
	}
	return out
}

// mendString copies the string that begins at in[i] and returns the index of
// its closing quote, or false where the buffer ends before it.
func mendString(out, in []byte, i int) ([]byte, int, bool) {
	out = append(out, '"')
	for i++; i < len(in); i++ {
		switch c := in[i]; {
		case c == '"':
			return append(out, c), i, true
		case c == '\\' && i+1 < len(in):
			out = append(out, c, in[i+1])
			i++
		case c == '\n':
			out = append(out, '\\', 'n')
		case c == 0:
		case c < ' ':
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return out, i, false
}

// notANumber returns the length of a bare inf or nan at the start of b, or 0.
func notANumber(b []byte) int {
	n := 0
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		n = 1
	}
	for _, word := range []string{"infinity", "inf", "nan"} {
		end := n + len(word)
		if len(b) >= end && bytes.EqualFold(b[n:end], []byte(word)) && (len(b) == end || !letter(b[end])) {
			return end
		}
	}
	return 0
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
