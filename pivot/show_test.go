package pivot

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// Everything in the result is shown: as text, as a page, as CSV, as JSON.
func TestShow(t *testing.T) {
	p := madePlan(2, 10)
	r := run(t, p)
	var text, page, table bytes.Buffer
	for _, err := range []error{r.WriteText(&text), r.WriteHTML(&page), r.WriteCSV(&table)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range r.Inputs {
		if !strings.Contains(text.String(), in.Name) || !strings.Contains(page.String(), in.Name) {
			t.Errorf("the input %s is not shown", in.Name)
		}
	}
	for _, want := range []string{
		"How much of made to convert", "Net present value by share", "Yearly profit by division",
		"How much monthly cash swings", "Capital and payback", "What miners save the AI", "Cash by year", "<svg",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "%!"} {
		if strings.Contains(text.String(), bad) || strings.Contains(page.String(), bad) || strings.Contains(table.String(), bad) {
			t.Errorf("%s is shown", bad)
		}
	}
	rows, err := csv.NewReader(&table).ReadAll()
	if err != nil || len(rows) != 1+len(r.Steps) {
		t.Fatalf("%d rows of CSV (%v)", len(rows), err)
	}
	// A column of CSV is a field of JSON, by the same name but for the three
	// figures of a distribution.
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Steps []map[string]any `json:"steps"`
	}
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	for _, name := range rows[0] {
		plain := strings.NewReplacer("_p50", "", "_p5", "", "_p95", "").Replace(name)
		if _, ok := back.Steps[1][plain]; !ok {
			t.Errorf("the column %s is no field of JSON", name)
		}
	}
	var again Result
	if err := json.Unmarshal(raw, &again); err != nil || !reflect.DeepEqual(again.Steps, r.Steps) {
		t.Errorf("the steps do not come back from JSON (%v)", err)
	}
}

// The document names every field of a step and of the best.
func TestDocumentHasTheFields(t *testing.T) {
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[Result](), reflect.TypeFor[Step](), reflect.TypeFor[Best](), reflect.TypeFor[Input](), reflect.TypeFor[YearCash]()} {
		for i := range typ.NumField() {
			if name := typ.Field(i).Tag.Get("json"); !strings.Contains(string(text), name) {
				t.Errorf("%s does not name %s of %s", doc, name, typ.Name())
			}
		}
	}
}
