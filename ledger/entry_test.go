package ledger

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

func good() Entry {
	return Entry{ID: "a/1", At: day, Text: "t", Meta: map[string]string{"k": "v"}, Postings: []Posting{
		{"assets:bank", USD, 5, ""}, {"revenue:ai:x", USD, -5, "m"},
	}}
}

func TestCheck(t *testing.T) {
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	account := func(name string) func(*Entry) { return func(e *Entry) { e.Postings[0].Account = name } }
	for name, change := range map[string]func(*Entry){
		"no ID":               func(e *Entry) { e.ID = "" },
		"ID with a space":     func(e *Entry) { e.ID = "a b" },
		"ID with a bracket":   func(e *Entry) { e.ID = "a)" },
		"corrects a newline":  func(e *Entry) { e.Corrects = "a\n" },
		"no time":             func(e *Entry) { e.At = time.Time{} },
		"far time":            func(e *Entry) { e.At = day.AddDate(300, 0, 0) },
		"text not UTF-8":      func(e *Entry) { e.Text = "\xff" },
		"memo not UTF-8":      func(e *Entry) { e.Postings[0].Memo = "\xff" },
		"meta not UTF-8":      func(e *Entry) { e.Meta["k"] = "\xff" },
		"meta key date":       func(e *Entry) { e.Meta["date"] = "2020-01-01" },
		"meta key with colon": func(e *Entry) { e.Meta["a:b"] = "" },
		"meta key empty":      func(e *Entry) { e.Meta[""] = "" },
		"one posting":         func(e *Entry) { e.Postings = []Posting{{"assets:bank", USD, 0, ""}} },
		"out of balance":      func(e *Entry) { e.Postings[0].Amount = 4 },
		"balanced across":     func(e *Entry) { e.Postings[0].Commodity = "EUR" },
		"overflow to balance": func(e *Entry) {
			e.Postings = []Posting{{"assets:a", USD, math.MinInt64, ""}, {"assets:a", USD, math.MinInt64, ""}}
		},
		"commodity lower case": func(e *Entry) { e.Postings[0].Commodity, e.Postings[1].Commodity = "usd", "usd" },
		"commodity empty":      func(e *Entry) { e.Postings[0].Commodity, e.Postings[1].Commodity = "", "" },
		"account root":         account("income:ai:x"),
		"account alone":        account("assets"),
		"account hole":         account("assets::x"),
		"account space":        account("assets:a  b"),
		"account newline":      account("assets:a\nb"),
		"account long":         account("assets:" + strings.Repeat("x", maxAccountLen)),
		"revenue division":     account("revenue:hosting:x"),
		"revenue short":        account("revenue:ai"),
	} {
		e := good()
		change(&e)
		if err := e.Check(); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEqual(t *testing.T) {
	if e := good(); !e.Equal(good()) {
		t.Fatal("not equal to itself")
	}
	e := good()
	e.At = e.At.In(time.FixedZone("x", 3600))
	if !e.Equal(good()) {
		t.Fatal("the same instant in another zone differs")
	}
	for name, change := range map[string]func(*Entry){
		"id":       func(e *Entry) { e.ID = "b" },
		"at":       func(e *Entry) { e.At = e.At.Add(1) },
		"text":     func(e *Entry) { e.Text = "" },
		"corrects": func(e *Entry) { e.Corrects = "c" },
		"meta":     func(e *Entry) { e.Meta = nil },
		"memo":     func(e *Entry) { e.Postings[0].Memo = "c" },
	} {
		e := good()
		change(&e)
		if e.Equal(good()) {
			t.Errorf("%s: no difference seen", name)
		}
	}
}

func TestDivision(t *testing.T) {
	for want, accounts := range map[sluice.Division][]string{
		"mining": {"assets:x", "revenue:mining:y"},
		"ai":     {"expenses:ai:y", "revenue:ai:z", "assets:x"},
		"":       {"expenses:ai:y", "revenue:mining:z"},
	} {
		var e Entry
		for _, a := range accounts {
			e.Postings = append(e.Postings, Posting{Account: a})
		}
		if got := e.Division(); got != want {
			t.Errorf("%v: division %q, want %q", accounts, got, want)
		}
	}
	if d := (Entry{Postings: []Posting{{Account: "assets:x"}}}).Division(); d != "" {
		t.Errorf("no result, and division %q", d)
	}
}

// Different names must give different accounts, and all of them legal ones.
func TestSegmentIsInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genName().Draw(t, "a"), genName().Draw(t, "b")
		if (Segment(a) == Segment(b)) != (a == b) {
			t.Fatalf("%q and %q give %q and %q", a, b, Segment(a), Segment(b))
		}
		if len(a) < 100 {
			if err := checkAccount(AccountCredits(a)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestIncomeStatement(t *testing.T) {
	in := example()
	es := settle(t, in)
	es = append(es, Entry{ID: "repair", At: day, Postings: []Posting{
		{"expenses:ai:repairs", "EUR", 3, ""}, {"assets:bank", "EUR", -3, ""},
	}})
	later := example()
	later.From, later.To = in.To, in.To.Add(5*time.Minute)
	es = append(es, settle(t, later)...)
	got, err := IncomeStatement(seqOf(es), in.From, in.To)
	if err != nil {
		t.Fatal(err)
	}
	want := []DivisionResult{
		{sluice.Mining, USD, 110_166_667, 6_000_000, 34_000_000, 2_083_333, 74_083_334},
		{sluice.AI, USD, 1_416_250, 0, 8_500_000, 0, -7_083_750},
		{sluice.AI, "EUR", 0, 0, 0, 3, -3},
	}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
	none, err := IncomeStatement(seqOf(nil), day, day)
	if err != nil || len(none) != 2 || none[0].Division != sluice.Mining || none[1] != (DivisionResult{Division: sluice.AI, Commodity: USD}) {
		t.Fatalf("empty books: %+v, %v", none, err)
	}
}

// The margins of the divisions are what the site has earned: all that is not
// under revenue and expenses, with the other sign.
func TestStatementAgreesWithBalances(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		es := genJournal().Draw(t, "journal")
		rs, err := IncomeStatement(seqOf(es), day, day.AddDate(1, 0, 0))
		if err != nil {
			t.Fatal(err)
		}
		bs, err := TrialBalance(es)
		if err != nil {
			t.Fatal(err)
		}
		rest, all := map[string]sluice.Money{}, map[string]sluice.Money{}
		for _, b := range bs {
			all[b.Commodity] += b.Amount
			if DivisionOf(b.Account) == "" {
				rest[b.Commodity] += b.Amount
			}
		}
		for _, r := range rs {
			if r.Margin != r.Revenue-r.EnergyCost-r.OtherCost {
				t.Fatalf("margin of %+v", r)
			}
			var reserve sluice.Money
			for _, b := range bs {
				if r.Division == sluice.Mining && b.Commodity == r.Commodity && strings.HasPrefix(b.Account, "revenue:mining:reserve:") {
					reserve -= b.Amount
				}
			}
			if r.Reserve != reserve {
				t.Fatalf("reserves earned %d in the statement, %d in the balances", r.Reserve, reserve)
			}
			rest[r.Commodity] -= r.Margin
		}
		for c, v := range rest {
			if v != 0 || all[c] != 0 {
				t.Fatalf("%s: results and balances differ by %d, the trial balance is %d", c, v, all[c])
			}
		}
	})
}
