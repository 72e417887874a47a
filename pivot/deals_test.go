package pivot

import (
	"math"
	"os"
	"strings"
	"testing"

	"sluice"
)

const doc = "../docs/pivot.md"

// The model's own functions give the revenue of the published contracts and of
// mining.
func TestDeals(t *testing.T) {
	published := map[string]float64{"Core Scientific and CoreWeave": 1.46, "Hut 8 and Fluidstack": 1.90, "IREN and Microsoft": 9.7}
	for _, d := range Deals() {
		want := published[d.Name]
		delete(published, d.Name)
		if got := d.PerMWYear() / 1e6; math.Abs(got-want) > 0.006 {
			t.Errorf("%s: published are %.3f M$ per MW-year, %v was said", d.Name, got, want)
		}
		c := d.conversion()
		if err := c.complete(20); err != nil {
			t.Fatal(err)
		}
		// Rates are to the cent: a GPU-hour's cent is half a percent.
		if got := c.RevenuePerITMWYear() / 1e6; math.Abs(got/want-1) > 0.005 {
			t.Errorf("%s: the model gives %.3f M$ per MW-year, the contract %v", d.Name, got, want)
		}
		// And so does a week of it, whole and at no cost of energy.
		w := &week{price: make([]float64, hoursPerWeek), called: make([]bool, hoursPerWeek)}
		l := c.load(d.MW * 1000 * c.PUE.Value)
		var a tally
		for _, p := range l.parts(w) {
			x := make([]float64, hoursPerWeek)
			for h := range x {
				x[h] = 1
			}
			a.ai(&p, x, w)
		}
		if got := l.sold(&a, 1, 1) * weeksPerYear * d.Years; math.Abs(got/d.USD-1) > 0.005 {
			t.Errorf("%s: over its term the model sells for %.3g, the contract for %.3g", d.Name, got, d.USD)
		}
	}
	if len(published) > 0 {
		t.Errorf("not among the deals: %v", published)
	}
	if got := miningPerMWYear(20, 43.34); math.Abs(got-791_500) > 1000 {
		t.Errorf("mining brings %.0f USD per MW-year, want 0.79 M$", got)
	}
	// The formula of the weeks is that of the root package.
	if got, want := miningUSD(50_000, 43.34, 0.02), sluice.MiningRevenue(50_000, sluice.HashpriceFromUSD(43.34), 0.02, 3600e9).USD(); math.Abs(got-want) > 1e-5 {
		t.Errorf("an hour of 50 PH/s brings %v, want %v", got, want)
	}
}

// The document's table is the code's.
func TestDocumentHasTheTable(t *testing.T) {
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	table, err := DealTable()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), table) {
		t.Errorf("%s does not hold this table:\n%s", doc, table)
	}
	for _, d := range Deals() {
		if !strings.Contains(string(text), d.Departs) {
			t.Errorf("%s does not say where the model departs from %s: %q", doc, d.Name, d.Departs)
		}
	}
}

// The document names every input with its default and source, and every field of
// the result.
func TestDocumentHasTheInputs(t *testing.T) {
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	if want := InputTable(); !strings.Contains(string(text), want) {
		t.Errorf("%s does not hold this table:\n%s", doc, want)
	}
}
