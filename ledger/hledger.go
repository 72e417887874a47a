package ledger

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
)

// WriteHledger writes the entries in the journal format of hledger (and of
// ledger), in the order given; `hledger check --strict` accepts it, and
// `ordereddates` too where the entries come in the order of their times.
// Accounts and commodities are declared before their first use, so a journal of
// any length streams. Amounts have six decimals and are exact. Dates are UTC.
// The ID is the transaction's code, Meta its tags, a posting's memo its comment.
//
// Names come from people and may contain anything, so every character that could
// mean something to a parser, and all beyond ASCII, is written as %XX. The last
// line counts the entries: a file without it was cut off.
//
// It stops at the first error of the sequence, of an entry's Check, or of w.
func WriteHledger(w io.Writer, entries iter.Seq2[Entry, error]) error {
	x := hledger{w: bufio.NewWriterSize(w, 1<<16), declared: map[string]bool{}}
	x.line("decimal-mark .")
	n := 0
	for e, err := range entries {
		if err != nil {
			return fmt.Errorf("exporting the journal after %d entries: %w", n, err)
		}
		if err := e.Check(); err != nil {
			return fmt.Errorf("exporting the journal after %d entries: %w", n, err)
		}
		x.entry(e)
		if x.err != nil {
			break
		}
		n++
	}
	x.line("\n; end of journal, " + fmt.Sprint(n) + " entries")
	if x.err == nil {
		x.err = x.w.Flush()
	}
	if x.err != nil {
		return fmt.Errorf("exporting the journal: %w", x.err)
	}
	return nil
}

type hledger struct {
	w        *bufio.Writer
	declared map[string]bool
	err      error
}

func (x *hledger) line(s ...string) {
	for _, s := range append(s, "\n") {
		if x.err == nil {
			_, x.err = x.w.WriteString(s)
		}
	}
}

func (x *hledger) declare(what, name, rest string) {
	if k := what + " " + name; !x.declared[k] {
		x.declared[k] = true
		x.line(what, " ", rest, name)
	}
}

func (x *hledger) entry(e Entry) {
	x.line()
	for _, p := range e.Postings {
		x.declare("account", p.Account, "")
		x.declare("commodity", p.Commodity, "1000.000000 ")
	}
	x.line(e.At.UTC().Format("2006-01-02"), " (", e.ID, ") ", clean(e.Text))
	x.line("    ; at:", e.At.UTC().Format("2006-01-02T15:04:05.999999999Z"))
	if e.Corrects != "" {
		x.line("    ; corrects:", e.Corrects)
	}
	for _, k := range slices.Sorted(maps.Keys(e.Meta)) {
		x.line("    ; ", k, ":", clean(e.Meta[k]))
	}
	for _, p := range e.Postings {
		s := fmt.Sprintf("    %-42s  %18s %s", p.Account, Decimal(p.Amount), p.Commodity)
		if p.Memo != "" {
			s += "  ; " + clean(p.Memo)
		}
		x.line(s)
	}
}

// clean keeps letters, digits, spaces and harmless signs of ASCII. A colon makes
// a tag in hledger (and "date:" moves a posting), so it stays only between two
// digits, as in a time of day. Commas end a tag; brackets make dates; ;|()*!= all
// mean something somewhere.
func clean(s string) string {
	plain := func(i int) bool {
		switch c := s[i]; c {
		case ' ':
			// At the ends hledger would drop them.
			return i > 0 && i < len(s)-1
		case ':':
			return i > 0 && i < len(s)-1 && digit(s[i-1]) && digit(s[i+1])
		case '-', '_', '.', '@', '+', '/', '#', '$':
			return true
		default:
			return alphanumeric(c)
		}
	}
	var b strings.Builder
	for i := range len(s) {
		if plain(i) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
