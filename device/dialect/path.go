package dialect

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// path names values in the replies of a device: the name of a request, then
// keys. It is our own small language and not gjson's or JSONPath's, because
// firmwares need what those do not have: keys in another case, one object where
// a list was meant and the reverse, and keys that are counted up (fan1, fan2)
// in the order of their numbers.
//
//	summary.miner.chains.0.id   a key, an index (-1 is the last)
//	stats.STATS.fan#            every key that matches, by their numbers: # is one digit,
//	                            ? one character, * any text
//	pools.POOLS.URL             a key on a list is that key of each element
//	temps[name=Chip].degrees    the elements whose name is Chip; ~ for a regexp;
//	                            {PATH} for what stands elsewhere
//	.url                        within a list's element; . alone is the element
//	stats.STATS.chain_rate{n}   within a list: the number at the end of its key
//
// A dot or bracket within a key is escaped with a backslash.
type path struct {
	src  string
	rel  bool // starts at the element
	segs []segment
	at   place
}

type segment struct {
	key     string
	index   int
	isIndex bool
	glob    bool
	keyed   bool // contains {n} or {key}
	filter  *filter
}

type filter struct {
	key  string
	is   string
	like *regexp.Regexp
}

func parsePath(src string) (path, error) {
	p := path{src: src}
	s := strings.TrimSpace(src)
	if s == "" {
		return p, fmt.Errorf("the path is empty")
	}
	if s == "." {
		p.rel = true
		return p, nil
	}
	if strings.HasPrefix(s, ".") {
		p.rel, s = true, s[1:]
	}
	for s != "" {
		seg, rest, err := parseSegment(s)
		if err != nil {
			return p, err
		}
		p.segs, s = append(p.segs, seg...), rest
	}
	if !p.rel && (p.segs[0].glob || p.segs[0].isIndex || p.segs[0].filter != nil || p.segs[0].keyed) {
		return p, fmt.Errorf("the path %q does not begin with the name of a request", src)
	}
	return p, nil
}

// parseSegment reads a key and the filters behind it, up to the next dot.
func parseSegment(s string) (out []segment, rest string, err error) {
	var key strings.Builder
	i := 0
	for i < len(s) && s[i] != '.' && s[i] != '[' {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		key.WriteByte(s[i])
		i++
	}
	k := key.String()
	if k == "" {
		return nil, "", fmt.Errorf("a key is missing before %q", s)
	}
	seg := segment{key: k, glob: strings.ContainsAny(k, "*?#"), keyed: strings.Contains(k, "{n}") || strings.Contains(k, "{key}")}
	if n, err := strconv.Atoi(k); err == nil {
		seg.index, seg.isIndex = n, true
	}
	out = append(out, seg)
	for i < len(s) && s[i] == '[' {
		end := strings.IndexByte(s[i:], ']')
		// A regexp may hold brackets of its own: the filter ends at the one
		// before a dot, another filter or the end.
		for end > 0 && i+end+1 < len(s) && s[i+end+1] != '.' && s[i+end+1] != '[' {
			next := strings.IndexByte(s[i+end+1:], ']')
			if next < 0 {
				end = -1
				break
			}
			end += next + 1
		}
		if end < 0 {
			return nil, "", fmt.Errorf("the bracket in %q is not closed", s)
		}
		f, err := parseFilter(s[i+1 : i+end])
		if err != nil {
			return nil, "", err
		}
		out = append(out, segment{filter: f})
		i += end + 1
	}
	if i == len(s) {
		return out, "", nil
	}
	if s[i] != '.' || i+1 == len(s) {
		return nil, "", fmt.Errorf("a key is missing at the end of %q", s)
	}
	return out, s[i+1:], nil
}

func parseFilter(s string) (*filter, error) {
	i := strings.IndexAny(s, "=~")
	if i < 1 {
		return nil, fmt.Errorf("the filter [%s] is not [key=text] or [key~regexp]", s)
	}
	f := &filter{key: strings.TrimSpace(s[:i]), is: s[i+1:]}
	if s[i] == '~' {
		re, err := regexp.Compile(f.is)
		if err != nil {
			return nil, fmt.Errorf("the filter [%s]: %w", s, err)
		}
		f.like = re
	}
	return f, nil
}

// request returns the name of the request that the path starts at, "" where it
// starts at an element.
func (p path) request() string {
	if p.rel || len(p.segs) == 0 {
		return ""
	}
	return p.segs[0].key
}

// env is what paths are followed in: the replies by request, and within a list
// the element with the key it stood under.
type env struct {
	root map[string]any
	item any
	key  string
}

func (e env) number() string {
	i := len(e.key)
	for i > 0 && e.key[i-1] >= '0' && e.key[i-1] <= '9' {
		i--
	}
	return e.key[i:]
}

// node is a value with the key it stood under.
type node struct {
	key string
	v   any
}

// maxNodes bounds what one path may name: a reply of 1 MiB could otherwise be
// multiplied by wildcards.
const maxNodes = 4096

func (p path) find(e env) []node {
	at := []node{{v: any(e.root)}}
	if p.rel {
		at = []node{{key: e.key, v: e.item}}
	}
	for _, s := range p.segs {
		var next []node
		for _, n := range at {
			next = s.step(next, n, e)
			if len(next) > maxNodes {
				next = next[:maxNodes]
				break
			}
		}
		if len(next) == 0 {
			return nil
		}
		at = next
	}
	return at
}

func (s segment) step(out []node, n node, e env) []node {
	if s.filter != nil {
		return s.filter.step(out, n, e)
	}
	key := s.key
	if s.keyed {
		key = strings.NewReplacer("{n}", e.number(), "{key}", e.key).Replace(key)
	}
	switch v := n.v.(type) {
	case map[string]any:
		if s.glob {
			return globbed(out, v, key)
		}
		if c, k, ok := field(v, key); ok {
			return append(out, node{k, c})
		}
	case []any:
		if s.isIndex {
			i := s.index
			if i < 0 {
				i += len(v)
			}
			if i >= 0 && i < len(v) {
				out = append(out, node{strconv.Itoa(i), v[i]})
			}
			return out
		}
		for i, c := range v {
			if key == "*" {
				out = append(out, node{strconv.Itoa(i), c})
			} else if _, nested := c.([]any); !nested {
				out = s.step(out, node{strconv.Itoa(i), c}, e)
			}
		}
	default:
		// An index or a wildcard on a single value: the list has one element.
		if v != nil && (key == "*" || (s.isIndex && (s.index == 0 || s.index == -1))) {
			return append(out, n)
		}
	}
	return out
}

// field finds a key, in another case where it must.
func field(m map[string]any, key string) (v any, k string, ok bool) {
	if v, ok = m[key]; ok {
		return v, key, true
	}
	best := ""
	for k := range m {
		if strings.EqualFold(k, key) && (best == "" || k < best) {
			best = k
		}
	}
	if best == "" {
		return nil, "", false
	}
	return m[best], best, true
}

func globbed(out []node, m map[string]any, pattern string) []node {
	var keys []string
	for k := range m {
		if like(strings.ToLower(pattern), strings.ToLower(k)) {
			keys = append(keys, k)
		}
	}
	if len(keys) > maxNodes { // no firmware counts so far
		slices.Sort(keys)
		keys = keys[:maxNodes]
	}
	sort.Slice(keys, func(i, j int) bool { return natural(keys[i], keys[j]) < 0 })
	for _, k := range keys {
		out = append(out, node{k, m[k]})
	}
	return out
}

// like matches a pattern in which * stands for any text, ? for one character and
// # for one digit.
func like(pattern, s string) bool {
	star, from := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, from = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j] || (pattern[i] == '#' && s[j] >= '0' && s[j] <= '9')):
			i++
			j++
		case star >= 0: // let the last star take one more
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

var digits = regexp.MustCompile(`\d+|\D+`)

// natural orders fan2 before fan10.
func natural(a, b string) int {
	x, y := digits.FindAllString(a, -1), digits.FindAllString(b, -1)
	return slices.CompareFunc(x, y, func(p, q string) int {
		m, err1 := strconv.ParseUint(p, 10, 64)
		n, err2 := strconv.ParseUint(q, 10, 64)
		switch {
		case err1 != nil || err2 != nil || m == n:
			return strings.Compare(p, q)
		case m < n:
			return -1
		}
		return 1
	})
}

func (f *filter) step(out []node, n node, e env) []node {
	switch v := n.v.(type) {
	case []any:
		for i, c := range v {
			if m, ok := c.(map[string]any); ok {
				out = f.step(out, node{strconv.Itoa(i), m}, e)
			}
		}
	case map[string]any:
		c, _, ok := field(v, f.key)
		s, text := text(c)
		is := f.is
		if strings.Contains(is, "{") && f.like == nil {
			is, _ = expand(is, e, nil)
		}
		if ok && text && ((f.like != nil && f.like.MatchString(s)) || (f.like == nil && strings.EqualFold(s, is))) {
			out = append(out, n)
		}
	}
	return out
}

// text is a scalar as a person would write it.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v), true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

// globs reports whether the path ends in a pattern.
func (p path) globs() bool { return len(p.segs) > 0 && p.segs[len(p.segs)-1].glob }

// each returns the elements that a list's path names: the elements of lists,
// single objects as lists of one.
func (p path) each(e env) []env {
	var out []env
	for _, n := range p.find(e) {
		l, ok := n.v.([]any)
		if !ok {
			key := n.key
			// One object where a list was meant is its first element. One of several that a pattern names keeps its name.
			if _, single := n.v.(map[string]any); single && !p.globs() {
				key = "0"
			}
			if n.v != nil {
				out = append(out, env{e.root, n.v, key})
			}
			continue
		}
		for i, c := range l {
			if len(out) < maxNodes && c != nil {
				out = append(out, env{e.root, c, strconv.Itoa(i)})
			}
		}
	}
	return out
}
