package config

import (
	"fmt"
	"slices"
	"strings"

	"sluice"
)

// Mistake is one thing that is wrong, or doubtful, in a file.
type Mistake struct {
	File       string `json:"file"`
	Line       int    `json:"line"`
	Column     int    `json:"column"`
	Path       string `json:"path"` // nodes[2].parent
	Message    string `json:"message"`
	Suggestion string `json:"suggestion,omitempty"` // what was probably meant
}

// String prints file:line:column: message (did you mean "…"?).
func (m Mistake) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Message)
	if m.Suggestion != "" {
		s += fmt.Sprintf(" (did you mean %q?)", m.Suggestion)
	}
	return s
}

// Error makes a Mistake an error of its own.
func (m Mistake) Error() string { return m.String() }

// Errors is every mistake of a file, in the order of its lines. It counts as a
// sluice.Invalid error.
type Errors []Mistake

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, m := range e {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// As makes sluice.KindOf see that a mistake in a file is the file's fault.
func (e Errors) As(target any) bool {
	t, ok := target.(**sluice.Error)
	if ok {
		*t = &sluice.Error{Kind: sluice.Invalid, Msg: e.Error()}
	}
	return ok
}

func sorted(ms []Mistake) []Mistake {
	slices.SortStableFunc(ms, func(a, b Mistake) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return slices.Compact(ms)
}

// nearest returns the word of the choices that was probably meant by got, or "".
// It is near when no more than a third of its letters differ.
func nearest(got string, choices []string) string {
	best, bestD := "", 1<<30
	fold := func(s string) string {
		return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
	}
	g := fold(got)
	if g == "" || len(g) > 64 {
		return ""
	}
	for _, c := range choices {
		f := fold(c)
		d := distance(g, f)
		// A word that is the beginning of the other is near too: "addr", "hashrate".
		if d > 1 && min(len(g), len(f)) >= 3 && (strings.HasPrefix(f, g) || strings.HasPrefix(g, f)) {
			d = 1
		}
		if d <= max(1, max(len(g), len(f))/3) && d < bestD {
			best, bestD = c, d
		}
	}
	return best
}

// distance is the Damerau-Levenshtein distance (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	var before []int
	last := make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row := make([]int, len(y)+1)
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(y)]
}
