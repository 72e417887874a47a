package site

import (
	"path"
	"slices"
	"strings"
	"time"

	"sluice"
)

// Selector chooses machines by what is known of them. Its text is a list of
// terms, all of which must hold, with commas or spaces between them:
//
//	class=s19k node=feeder-a state=mining|waking name=s19k-0* firmware!=*2024*
//
// A value is a pattern with * for any text and ? for a character, upper and lower
// case alike; | separates patterns of which one must match. In quotes it may hold
// spaces and commas. A node stands for all below it too. `all` alone is every
// miner; nothing selects nothing.
type Selector struct {
	all   bool
	terms []term
	text  string
}

type term struct {
	key  string
	not  bool
	want []string // lower case
}

// selectorKeys are what a term may ask for.
var selectorKeys = []string{"name", "class", "node", "model", "firmware", "driver", "state", "mode", "want", "pin"}

const maxSelector = 2000 // bytes

const selectorHint = "such as 'class=s19k node=feeder-a state=mining', or all"

// ParseSelector reads a selector. Error: Invalid; an empty one is an error too.
func ParseSelector(text string) (Selector, error) {
	bad := func(format string, args ...any) (Selector, error) {
		return Selector{}, sluice.Errorf(sluice.Invalid, selectorHint, format, args...)
	}
	if len(text) > maxSelector {
		return bad("a selector has at most %d bytes", maxSelector)
	}
	words, err := selectorWords(text)
	if err != nil {
		return Selector{}, err
	}
	if len(words) == 0 {
		return bad("the selector is empty: write all for every machine")
	}
	sel := Selector{text: text}
	for _, w := range words {
		if strings.EqualFold(w, "all") {
			if len(words) > 1 {
				return bad("all stands alone: it takes no further terms")
			}
			sel.all = true
			return sel, nil
		}
		key, value, ok := strings.Cut(w, "=")
		t := term{key: strings.ToLower(strings.TrimSuffix(key, "!")), not: strings.HasSuffix(key, "!")}
		if !ok {
			return bad("%q is no term: key=value or key!=value", clipped(w, 60))
		}
		if !slices.Contains(selectorKeys, t.key) {
			return bad("%q is not known of a machine; what is: %s", clipped(t.key, 60), strings.Join(selectorKeys, ", "))
		}
		for _, p := range strings.Split(strings.ToLower(value), "|") {
			if p == "" {
				return bad("%s= has no value", t.key)
			}
			// Only * and ? mean something.
			p = strings.NewReplacer(`\`, `\\`, `[`, `\[`).Replace(p)
			if _, err := path.Match(p, ""); err != nil {
				return bad("%q is no pattern", clipped(p, 60))
			}
			t.want = append(t.want, p)
		}
		sel.terms = append(sel.terms, t)
	}
	return sel, nil
}

// selectorWords splits at spaces and commas outside quotes.
func selectorWords(text string) ([]string, error) {
	var words []string
	var b strings.Builder
	quote := rune(0)
	some := false
	end := func() {
		if some {
			words = append(words, b.String())
		}
		b.Reset()
		some = false
	}
	for _, r := range text {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			b.WriteRune(r)
		case r == '"' || r == '\'':
			quote, some = r, true
		case r == ' ' || r == ',' || r == '\t' || r == '\n' || r == '\r':
			end()
		default:
			b.WriteRune(r)
			some = true
		}
	}
	if quote != 0 {
		return nil, sluice.Errorf(sluice.Invalid, selectorHint, "a quote of the selector is not closed")
	}
	end()
	return words, nil
}

// String is the selector as it was written.
func (s Selector) String() string { return s.text }

// traits is what a selector asks of a machine: by key, one value or several.
type traits func(key string) []string

func (s Selector) matches(of traits) bool {
	if s.all {
		return true
	}
	for _, t := range s.terms {
		if t.holds(of(t.key)) == t.not {
			return false
		}
	}
	return len(s.terms) > 0
}

func (t term) holds(have []string) bool {
	for _, h := range have {
		// path.Match does not let * pass a slash.
		h = strings.ReplaceAll(strings.ToLower(h), "/", "\x00")
		for _, p := range t.want {
			if ok, _ := path.Match(strings.ReplaceAll(p, "/", "\x00"), h); ok {
				return true
			}
		}
	}
	return false
}

// traits of a miner. The caller holds s.mu while they are asked for.
func (s *Site) traits(m *miner, now time.Time) traits {
	return func(key string) []string {
		switch key {
		case "name":
			return []string{m.spec.Name}
		case "class":
			return []string{m.class.spec.Name}
		case "node":
			var up []string
			m.class.node.path(func(n *node) { up = append(up, n.spec.Name) })
			return up
		case "model":
			return []string{m.class.spec.Model}
		case "firmware":
			return []string{s.firmwareOf(m), m.says}
		case "driver":
			return []string{m.spec.Driver}
		case "state":
			return []string{m.state(now, s.o.MaxReadingAge)}
		case "mode":
			return []string{m.read.Mode}
		case "want":
			return []string{m.want}
		case "pin":
			if m.pin != nil {
				return []string{m.pin.Mode}
			}
			return []string{"none"}
		}
		return nil
	}
}
