package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/ledger"
)

var day = time.Date(2023, 8, 17, 0, 0, 0, 0, time.UTC)

// entry is a small balanced entry that follows from its number.
func entry(series string, n int) ledger.Entry {
	a := sluice.Money(n + 1)
	return ledger.Entry{
		ID: fmt.Sprintf("%s/%d", series, n), At: day.Add(time.Duration(n) * time.Minute), Text: "energy",
		Meta: map[string]string{"n": fmt.Sprint(n)},
		Postings: []ledger.Posting{
			{Account: "expenses:mining:energy", Commodity: "USD", Amount: a, Memo: "m"},
			{Account: "liabilities:energy", Commodity: "USD", Amount: -a},
		},
	}
}

func appendAll(ctx context.Context, db *DB, es ...ledger.Entry) (added int, err error) {
	err = db.Write(ctx, func(tx *sql.Tx) error {
		added, err = AppendEntries(tx, es)
		return err
	})
	return added, err
}

// post appends the entries from to to, inclusive, each in its own transaction.
func post(t *testing.T, db *DB, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		if _, err := appendAll(t.Context(), db, entry("post", n)); err != nil {
			t.Fatal(err)
		}
	}
}

func count(t *testing.T, db *DB) (n int) {
	t.Helper()
	if err := db.Read().QueryRow(`SELECT count(*) FROM entries`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func journal(t interface{ Fatal(...any) }, db *DB) (es []ledger.Entry) {
	for e, err := range db.AllEntries(context.Background(), time.Time{}, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
	}
	return es
}

// checkBooks compares the running balances with those of the whole journal.
func checkBooks(t interface{ Fatal(...any) }, db *DB) []ledger.Entry {
	es := journal(t, db)
	want, err := ledger.TrialBalance(es)
	if err != nil {
		t.Fatal(err)
	}
	got, err := db.Balances(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Fatal(fmt.Sprintf("running balances %v\njournal's balances %v", got, want))
	}
	return es
}

func TestAppendIsIdempotent(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	es := []ledger.Entry{entry("a", 1), entry("a", 2)}
	for i, want := range []int{2, 0} {
		if added, err := appendAll(t.Context(), db, es...); added != want || err != nil {
			t.Fatalf("round %d: added %d, %v", i, added, err)
		}
	}
	if added, err := appendAll(t.Context(), db, entry("a", 2), entry("a", 3)); added != 1 || err != nil {
		t.Fatalf("one new: added %d, %v", added, err)
	}
	other := entry("a", 2)
	other.Text = "something else"
	_, err := appendAll(t.Context(), db, entry("a", 4), other)
	wantError(t, err, sluice.Conflict, "with other content")
	unbalanced := entry("a", 5)
	unbalanced.Postings[0].Amount++
	if _, err := appendAll(t.Context(), db, unbalanced); sluice.KindOf(err) != sluice.Invalid {
		t.Fatalf("out of balance: %v", err)
	}
	if es := checkBooks(t, db); len(es) != 3 {
		t.Fatalf("%d entries, want 3", len(es))
	}
}

func TestJournalIsAppendOnly(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	post(t, db, 1, 2)
	for _, q := range []string{
		`UPDATE entries SET text = 'x'`,
		`DELETE FROM entries`,
		`UPDATE postings SET amount = amount + 1`,
		`DELETE FROM postings`,
		`INSERT OR REPLACE INTO entries (seq, id, at, text, division, corrects, meta) VALUES (1, 'x', 0, '', '', '', '{}')`,
		`REPLACE INTO entries (id, at, text, division, corrects, meta) VALUES ('post/2', 0, '', '', '', '{}')`,
		`INSERT INTO postings VALUES (1, 2, 'assets:x', 'USD', 5, '')`,
		`REPLACE INTO postings VALUES (2, 1, 'assets:x', 'USD', 5, '')`,
	} {
		err := db.Write(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.Exec(q)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", q, err)
		}
	}
	if es := checkBooks(t, db); !es[0].Equal(entry("post", 1)) || !es[1].Equal(entry("post", 2)) || len(es) != 2 {
		t.Errorf("the journal has changed: %+v", es)
	}
}

// A balance that would leave 64 bits is refused, not rounded.
func TestBalanceOverflow(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	big := entry("big", 1)
	big.Postings[0].Amount, big.Postings[1].Amount = math.MaxInt64, -math.MaxInt64
	if _, err := appendAll(t.Context(), db, big); err != nil {
		t.Fatal(err)
	}
	if _, err := appendAll(t.Context(), db, entry("small", 1)); err == nil {
		t.Error("the sum left 64 bits")
	}
	checkBooks(t, db)
}

func TestEntriesByPageAndTime(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	post(t, db, 5, 9)
	// Written late, for an earlier time: a correction.
	post(t, db, 1, 1)
	numbers := func(es []ledger.Entry) (ns []string) {
		for _, e := range es {
			ns = append(ns, e.Meta["n"])
		}
		return ns
	}
	if got := numbers(journal(t, db)); !slices.Equal(got, []string{"1", "5", "6", "7", "8", "9"}) {
		t.Errorf("in the order of time: %v", got)
	}
	var window []ledger.Entry
	err := db.EachEntry(t.Context(), day.Add(6*time.Minute), day.Add(8*time.Minute), func(e ledger.Entry) error {
		window = append(window, e)
		return nil
	})
	if got := numbers(window); err != nil || !slices.Equal(got, []string{"6", "7"}) {
		t.Errorf("the window is half-open: %v, %v", got, err)
	}
	boom := errors.New("boom")
	if err := db.EachEntry(t.Context(), time.Time{}, time.Time{}, func(ledger.Entry) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("the callback's error: %v", err)
	}
	var pages [][]string
	for after := ""; ; {
		es, err := db.Entries(t.Context(), time.Time{}, time.Time{}, after, 4)
		if err != nil {
			t.Fatal(err)
		}
		if len(es) == 0 {
			break
		}
		pages, after = append(pages, numbers(es)), es[len(es)-1].ID
	}
	if fmt.Sprint(pages) != "[[5 6 7 8] [9 1]]" {
		t.Errorf("pages in the order of writing: %v", pages)
	}
	es, err := db.Entries(t.Context(), day, day.Add(9*time.Minute), "post/5", 2)
	if got := numbers(es); err != nil || !slices.Equal(got, []string{"6", "7"}) {
		t.Errorf("a page of a window: %v, %v", got, err)
	}
	if es, err := db.Entries(t.Context(), time.Time{}, time.Time{}, "post/8", 0); err != nil || len(es) != 2 {
		t.Errorf("all the rest: %v, %v", numbers(es), err)
	}
	if _, err := db.Entries(t.Context(), time.Time{}, time.Time{}, "nothing", 2); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("after an unknown entry: %v", err)
	}
	for range db.AllEntries(t.Context(), time.Time{}, time.Time{}) {
		break // must neither fail nor keep a connection
	}
	if n := db.Read().Stats().InUse; n != 0 {
		t.Errorf("%d connections are still in use", n)
	}
	var b bytes.Buffer
	if err := db.ExportHledger(t.Context(), &b); err != nil || !strings.Contains(b.String(), "; end of journal, 6 entries") {
		t.Errorf("export: %v\n%s", err, b.String())
	}
}

// What comes back is what was written, whatever the texts are.
func TestRoundTrip(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		e := entry("rt", n)
		e.At = time.Unix(0, rapid.Int64Range(0, math.MaxInt64/2).Draw(t, "at"))
		e.Text = rapid.String().Draw(t, "text") + "\x00'\"\n"
		e.Postings[0].Memo = rapid.String().Draw(t, "memo")
		e.Corrects = rapid.SampledFrom([]string{"", "rt/1"}).Draw(t, "corrects")
		e.Meta = rapid.MapOf(rapid.StringMatching(`[a-z]_[a-z0-9]{0,5}`), rapid.String()).Draw(t, "meta")
		e.Postings = append(e.Postings,
			ledger.Posting{Account: "assets:bank", Commodity: "EUR", Amount: sluice.Money(rapid.Int64Range(-1e15, 1e15).Draw(t, "eur"))})
		e.Postings = append(e.Postings, ledger.Posting{Account: "equity:open", Commodity: "EUR", Amount: -e.Postings[2].Amount})
		for _, want := range []int{1, 0} {
			if added, err := appendAll(context.Background(), db, e); added != want || err != nil {
				t.Fatalf("added %d, %v, want %d", added, err, want)
			}
		}
		found := false
		for _, got := range journal(t, db) {
			found = found || got.Equal(e)
		}
		if !found {
			t.Fatalf("%+v did not come back", e)
		}
	})
	checkBooks(t, db)
}
