package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Kinds of findings. Of a series: Rules says what each means. Of jobs: Absurd,
// Fraction and Dropped.
const (
	Gap       = "gap"
	Blank     = "blank"
	Duplicate = "duplicate"
	Conflict  = "conflict"
	Absurd    = "absurd"
	Unordered = "unordered"
	OffGrid   = "off-grid"
	DST       = "dst"
	Fraction  = "fraction" // a job asks for a part of a GPU: it gets a whole one
	Dropped   = "dropped"  // a job that is left out: Note says why
)

// Finding is something in a file that is not as it should be, and was handled by
// one of the Rules.
type Finding struct {
	Kind  string    `json:"kind"`
	Path  string    `json:"path"`
	Line  int       `json:"line"` // of the first row; of a gap: the row before it, the header where there is none
	From  time.Time `json:"from"` // half-open
	To    time.Time `json:"to"`
	Count int       `json:"count"` // steps of a gap, rows else
	Note  string    `json:"note,omitempty"`
}

// String says what was found, where, and what was done about it.
func (f Finding) String() string {
	from := f.From.UTC().Format("2006-01-02T15:04Z07:00")
	n, are, s := f.Count, "are", "s"
	if n == 1 {
		are, s = "is", ""
	}
	var text string
	switch f.Kind {
	case Gap:
		text = fmt.Sprintf("%s %s missing from %s", f.steps(), are, from)
	case Blank:
		text = fmt.Sprintf("%d value%s %s blank from %s", n, s, are, from)
	case Duplicate:
		text = fmt.Sprintf("%d row%s of %s and after stand%s twice and count%s once", n, s, from, third(n), third(n))
	case Conflict:
		text = fmt.Sprintf("%d row%s of %s and after restate%s another; the later one counts", n, s, from, third(n))
	case Absurd:
		text = fmt.Sprintf("%d absurd value%s from %s %s left out", n, s, from, are)
	case Unordered:
		text = fmt.Sprintf("%d row%s of %s and after stood in the wrong place", n, s, from)
	case OffGrid:
		text = fmt.Sprintf("%d row%s from %s %s off the grid of the others and left out", n, s, from, are)
	case DST:
		text = fmt.Sprintf("clocks change at %s", from)
	case Fraction:
		text = fmt.Sprintf("%d job%s asked for a part of a GPU and got whole ones", n, s)
	case Dropped:
		text = fmt.Sprintf("%d job%s left out", n, s)
	default:
		text = fmt.Sprintf("%s: %d from %s", f.Kind, n, from)
	}
	if f.Note != "" {
		text += ": " + f.Note
	}
	return fmt.Sprintf("%s:%d: %s", f.Path, f.Line, text)
}

func third(n int) string {
	if n == 1 {
		return "s"
	}
	return ""
}

// steps counts what is missing in the unit that a person would choose.
func (f Finding) steps() string {
	step := f.To.Sub(f.From) / time.Duration(max(1, f.Count))
	var unit string
	switch step {
	case 24 * time.Hour:
		unit = "day"
	case time.Hour:
		unit = "hour"
	case time.Minute:
		unit = "minute"
	default:
		unit = "interval"
		if step > time.Minute && step < time.Hour && step%time.Minute == 0 {
			unit = fmt.Sprintf("%d-minute interval", step/time.Minute)
		}
	}
	if f.Count != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", f.Count, unit)
}

// maxListed is how many findings of a kind are listed with their place; the
// others are counted in one.
const maxListed = 100

// findings gathers what was found, with flat memory.
type findings struct {
	path  string
	kinds map[string]*kindOf
}

type kindOf struct {
	list []Finding
	rest Finding // counts the places after maxListed
}

// add notes a finding, merged with the last one of its kind where it follows on
// that directly.
func (f *findings) add(n Finding) {
	n.Path = f.path
	if f.kinds == nil {
		f.kinds = map[string]*kindOf{}
	}
	k := f.kinds[n.Kind]
	if k == nil {
		k = &kindOf{}
		f.kinds[n.Kind] = k
	}
	last := &k.rest
	if k.rest.Count == 0 && len(k.list) > 0 {
		last = &k.list[len(k.list)-1]
	}
	switch {
	case last.Count > 0 && (last == &k.rest || (!n.From.Before(last.From) && !n.From.After(last.To))):
		last.Count += n.Count
		if n.From.Before(last.From) {
			last.From = n.From
		}
		if n.To.After(last.To) {
			last.To = n.To
		}
	case len(k.list) < maxListed:
		k.list = append(k.list, n)
	default:
		k.rest = n
		k.rest.Note = "counted from here on, no longer listed"
	}
}

// sum notes a finding of which one is kept for each note, however far apart.
func (f *findings) sum(n Finding) {
	n.Path = f.path
	if f.kinds == nil {
		f.kinds = map[string]*kindOf{}
	}
	k := f.kinds[n.Kind+n.Note]
	if k == nil {
		k = &kindOf{list: []Finding{n}}
		f.kinds[n.Kind+n.Note] = k
		return
	}
	k.list[0].Count += n.Count
	k.list[0].To = n.To
}

// all returns what was found, by line.
func (f *findings) all() []Finding {
	var out []Finding
	for _, k := range f.kinds {
		out = append(out, k.list...)
		if k.rest.Count > 0 {
			out = append(out, k.rest)
		}
	}
	slices.SortFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), a.From.Compare(b.From), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}
