package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice"
)

// Table is rows of figures under named columns. The zero value is an empty
// table.
type Table struct {
	Columns []Column
	// Rows hold one value for each column: a string, an int, a float64 (NaN is "not
	// known"), or anything that prints itself. Short rows are filled with empty
	// cells.
	Rows [][]any
	// Emphasis is the row that matters most, counted from 1; 0 is none.
	Emphasis int
	// Note is shown under the table.
	Note string
}

// Column says how one column's values are written.
type Column struct {
	Title string
	// Name is the column's name in CSV, such as profit_usd; empty is the title,
	// with the unit in brackets.
	Name string
	// Unit of numbers, as for Exact: it is written into each cell, or after the
	// title where Bare is set.
	Unit     string
	Bare     bool
	Decimals int
	// Compact writes $1.23 M rather than $1,234,568; CSV always has all digits.
	Compact bool
	// Right aligns to the right. Numbers always are.
	Right bool
}

func (c Column) heading() string {
	if !c.Bare || c.Unit == "" {
		return c.Title
	}
	_, after := split(Fraction)
	unit := c.Unit
	if unit == Fraction {
		unit = strings.TrimSpace(after)
	}
	return c.Title + ", " + unit
}

// text is a cell as people read it.
func (c Column) text(v any) string {
	n, ok := number(v)
	if !ok {
		if v == nil {
			return ""
		}
		return fmt.Sprint(v)
	}
	switch {
	case c.Compact && c.Bare:
		_, after := split(c.Unit)
		before, _ := split(c.Unit)
		s := strings.Replace(Compact(n, c.Unit), before, "", 1)
		return strings.TrimSuffix(s, after)
	case c.Compact:
		return Compact(n, c.Unit)
	case c.Bare && c.Unit == Fraction:
		return Exact(100*n, "", c.Decimals)
	case c.Bare:
		return Exact(n, "", c.Decimals)
	}
	return Exact(n, c.Unit, c.Decimals)
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case float64:
		return n, true
	case int:
		return float64(n), true
	}
	return 0, false
}

// right says whether column j is aligned to the right: where it is asked for or
// the first value is a number.
func (t *Table) right(j int) bool {
	if t.Columns[j].Right {
		return true
	}
	for _, r := range t.Rows {
		if j < len(r) && r[j] != nil {
			_, num := number(r[j])
			return num
		}
	}
	return false
}

func (t *Table) cell(i, j int) any {
	if j < len(t.Rows[i]) {
		return t.Rows[i][j]
	}
	return nil
}

// WriteText writes the table for a terminal: aligned columns, a line under the
// titles, and a mark at the row that matters most. Control characters of the
// texts are left out.
func (t *Table) WriteText(w io.Writer) error {
	grid := make([][]string, len(t.Rows)+1)
	width := make([]int, len(t.Columns))
	for i := range grid {
		for j, c := range t.Columns {
			s := c.heading()
			if i > 0 {
				s = c.text(t.cell(i-1, j))
			}
			s = printable(s)
			grid[i] = append(grid[i], s)
			width[j] = max(width[j], utf8.RuneCountInString(s))
		}
	}
	var b strings.Builder
	for i, row := range grid {
		mark := "  "
		if i > 0 && i == t.Emphasis {
			mark = "> "
		}
		line := mark
		for j, s := range row {
			pad := strings.Repeat(" ", width[j]-utf8.RuneCountInString(s))
			if t.right(j) {
				line += pad + s
			} else {
				line += s + pad
			}
			line += "  "
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		if i == 0 {
			n := 0
			for _, x := range width {
				n += x + 2
			}
			b.WriteString("  " + strings.Repeat("─", max(n-2, 0)) + "\n")
		}
	}
	if t.Note != "" {
		b.WriteString("  " + printable(t.Note) + "\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return sluice.Errorf(sluice.Internal, "", "write the table: %v", err)
	}
	return nil
}

// WriteCSV writes the table for other programs: one header line, numbers in full
// with a point and no unit, nothing where a number is not known.
func (t *Table) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	head := make([]string, len(t.Columns))
	for j, col := range t.Columns {
		head[j] = col.Name
		if head[j] == "" {
			head[j] = col.Title
			if col.Unit != "" {
				head[j] += " (" + col.Unit + ")"
			}
		}
	}
	_ = c.Write(head) // Error, below, returns the first failure
	for i := range t.Rows {
		row := make([]string, len(t.Columns))
		for j := range t.Columns {
			switch v := t.cell(i, j).(type) {
			case nil:
			case float64:
				if !math.IsNaN(v) && !math.IsInf(v, 0) {
					row[j] = strconv.FormatFloat(v, 'f', -1, 64)
				}
			default:
				row[j] = fmt.Sprint(v)
			}
		}
		_ = c.Write(row)
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return sluice.Errorf(sluice.Internal, "", "write the table as CSV: %v", err)
	}
	return nil
}
