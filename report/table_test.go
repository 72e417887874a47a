package report

import (
	"encoding/csv"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestQuantities(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{1_234_567, "USD", "$1.23 M"},
		{-912_345, "USD", "−$912 k"},
		{999_500, "USD", "$1.00 M"},
		{9999, "USD", "$9,999"},
		{3.5e9, "USD", "$3.50 bn"},
		{43.34, "USD/PH/day", "$43.3/PH/day"},
		{8.3, "USD/MWh", "$8.30/MWh"},
		{-0.0004, "EUR", "−€0.0004"},
		{0, "USD", "$0"},
		{12.44, "MW", "12.4 MW"},
		{0.9318, Fraction, "93.2 %"},
		{1, Fraction, "100 %"},
		{1_234_567, "MWh", "1,234,567 MWh"},
		{1e6, "NOK", "NOK 1.00 M"},
		{math.NaN(), "USD", "–"},
		{math.Inf(-1), "", "–"},
	} {
		if got := Compact(c.v, c.unit); got != c.want {
			t.Errorf("Compact(%v, %q) is %q, want %q", c.v, c.unit, got, c.want)
		}
	}
	for _, c := range []struct {
		v        float64
		unit     string
		decimals int
		want     string
	}{
		{1_234_567.5, "USD", 0, "$1,234,568"},
		{-0.4, "USD", 0, "$0"},
		{-1234.5, "EUR", 2, "−€1,234.50"},
		{0.93249, Fraction, 1, "93.2 %"},
		{999, "h", 0, "999 h"},
	} {
		if got := Exact(c.v, c.unit, c.decimals); got != c.want {
			t.Errorf("Exact(%v, %q, %d) is %q, want %q", c.v, c.unit, c.decimals, got, c.want)
		}
	}
}

// read takes a figure apart again.
func read(t tester, s string) float64 {
	by := map[string]float64{"k": 1e3, "M": 1e6, "bn": 1e9}
	s = strings.NewReplacer("−", "-", "$", "", ",", "").Replace(s)
	num, suffix, ok := strings.Cut(s, " ")
	v, err := strconv.ParseFloat(num, 64)
	if err != nil {
		t.Fatalf("%q is no figure: %v", s, err)
	}
	if ok {
		v *= by[suffix]
	}
	return v
}

func TestCompactKeepsThreeDigits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Float64Range(0.1, 5e12).Draw(t, "v")
		if rapid.Bool().Draw(t, "small") {
			v = rapid.Float64Range(0.1, 2e4).Draw(t, "v")
		}
		v *= rapid.SampledFrom([]float64{1, -1}).Draw(t, "sign")
		if got := read(t, Compact(v, "USD")); math.Abs(got-v) > 0.00502*math.Abs(v)+0.005 {
			t.Fatalf("%v is written %q", v, Compact(v, "USD"))
		}
		if got := read(t, brief(v, "USD")); math.Abs(got-v) > 0.0502*math.Abs(v) {
			t.Fatalf("%v is written %q in brief", v, brief(v, "USD"))
		}
		if got := read(t, Exact(v, "USD", 2)); math.Abs(got-v) > 0.0051+1e-12*math.Abs(v) {
			t.Fatalf("%v is written %q in full", v, Exact(v, "USD", 2))
		}
	})
}

func TestCSVRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := anyTable().Filter(func(x *Table) bool { return len(x.Columns) > 1 }).Draw(t, "table")
		var b strings.Builder
		if err := table.WriteCSV(&b); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
		if err != nil {
			t.Fatalf("%v in %q", err, b.String())
		}
		if len(rows) != len(table.Rows)+1 {
			t.Fatalf("%d lines for %d rows", len(rows), len(table.Rows))
		}
		for i := range table.Rows {
			for j := range table.Columns {
				got := rows[i+1][j]
				switch v := table.cell(i, j).(type) {
				case nil:
					if got != "" {
						t.Fatalf("no value is written %q", got)
					}
				case float64:
					if math.IsNaN(v) || math.IsInf(v, 0) {
						if got != "" {
							t.Fatalf("%v is written %q", v, got)
						}
					} else if back, err := strconv.ParseFloat(got, 64); err != nil || back != v {
						t.Fatalf("%v came back as %q", v, got)
					}
				case int:
					if got != strconv.Itoa(v) {
						t.Fatalf("%v came back as %q", v, got)
					}
				case string:
					// encoding/csv reads a carriage return before a line end as one line end.
					if want := strings.ReplaceAll(v, "\r\n", "\n"); got != want {
						t.Fatalf("%q came back as %q", v, got)
					}
				}
			}
		}
	})
}

func TestTextIsAligned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := anyTable().Draw(t, "table")
		table.Note = ""
		// A last column that is full makes all lines as long.
		table.Columns = append(table.Columns, Column{Title: "z"})
		for i := range table.Rows {
			row := make([]any, len(table.Columns))
			copy(row, table.Rows[i])
			row[len(row)-1] = "z"
			table.Rows[i] = row
		}
		var b strings.Builder
		if err := table.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(lines) != len(table.Rows)+2 {
			t.Fatalf("%d lines for %d rows:\n%s", len(lines), len(table.Rows), b.String())
		}
		for i, l := range lines {
			if utf8.RuneCountInString(l) != utf8.RuneCountInString(lines[0]) {
				t.Fatalf("line %d is not as long as the first:\n%s", i, b.String())
			}
			if strings.ContainsAny(l, "\x1b\x00\u202e") {
				t.Fatalf("line %d would steer a terminal: %q", i, l)
			}
			if marked := strings.HasPrefix(l, ">"); marked != (i >= 2 && i-1 == table.Emphasis) {
				t.Fatalf("line %d is marked: %v, the row that matters is %d", i, marked, table.Emphasis)
			}
		}
	})
}

func TestTable(t *testing.T) {
	table := &Table{
		Columns: []Column{
			{Title: "Policy", Name: "name"},
			{Title: "Profit", Name: "profit_usd", Unit: "USD"},
			{Title: "Capture", Name: "capture", Unit: Fraction, Decimals: 1},
			{Title: "Energy", Unit: "MWh", Bare: true},
			{Title: "Cost", Unit: "USD", Compact: true},
		},
		Rows:     [][]any{{"always", -4603222.34, math.NaN(), 88234.5, 2.2e6}, {"sluice", 626314, 0.98784, 7.0}},
		Emphasis: 2, Note: "of one year",
	}
	var text, csv strings.Builder
	if err := table.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := table.WriteCSV(&csv); err != nil {
		t.Fatal(err)
	}
	wantText := `  Policy       Profit  Capture  Energy, MWh     Cost
  ──────────────────────────────────────────────────
  always  −$4,603,222        –       88,234  $2.20 M
> sluice     $626,314   98.8 %            7
  of one year
`
	wantCSV := `name,profit_usd,capture,Energy (MWh),Cost (USD)
always,-4603222.34,,88234.5,2200000
sluice,626314,0.98784,7,
`
	if text.String() != wantText {
		t.Errorf("text:\n%s", text.String())
	}
	if csv.String() != wantCSV {
		t.Errorf("CSV:\n%s", csv.String())
	}
}
