package store

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/ledger"
)

// settle posts what a tenant has used in the five minutes from at on.
func settle(t testing.TB, db *DB, at time.Time, uses ...ledger.JobUse) {
	t.Helper()
	es, err := ledger.Settle("s", ledger.Interval{From: at, To: at.Add(5 * time.Minute), Jobs: uses})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(context.Background(), func(tx *sql.Tx) error { _, err := AppendEntries(tx, es); return err }); err != nil {
		t.Fatal(err)
	}
}

func used(tenant string, hours int64, credit sluice.Money) ledger.JobUse {
	return ledger.JobUse{Tenant: tenant, Class: "c", UnitMilliseconds: hours * 3_600_000, RatePerUnitHour: 2_000_000, Credit: credit}
}

func spent(t testing.TB, db *DB, tenant string, at time.Time) sluice.Money {
	t.Helper()
	m, err := db.Tenants().Spent(context.Background(), tenant, at)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What a tenant has spent follows from the journal, by month, credits taken off,
// and each commit is seen at once.
func TestSpentFollowsTheJournal(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, Options{})
	jan, feb := time.Date(2026, 1, 31, 23, 55, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	if got := spent(t, db, "acme", jan); got != 0 {
		t.Errorf("before anything: %v", got)
	}
	odd := "Öl & Söhne:credits" // a name that has to be escaped, and looks like an account of credits
	settle(t, db, jan, used("acme", 3, 500_000), used("credits", 1, 0), used(odd, 2, 0))
	settle(t, db, feb, used("acme", 1, 0))
	for _, c := range []struct {
		tenant string
		at     time.Time
		want   sluice.Money
	}{
		{"acme", jan, 5_500_000},
		{"acme", feb, 2_000_000},
		{"acme", feb.Add(20 * 24 * time.Hour), 2_000_000},
		{"acme", feb.AddDate(0, 1, 0), 0},
		{"acm", jan, 0},
		{"credits", jan, 2_000_000},
		{odd, jan, 4_000_000},
	} {
		if got := spent(t, db, c.tenant, c.at); got != c.want {
			t.Errorf("%s in %s: %v, want %v", c.tenant, month(c.at), got, c.want)
		}
	}
	settle(t, db, feb.Add(5*time.Minute), used("acme", 1, 0)) // seen at once, though it was asked before
	if got := spent(t, db, "acme", feb); got != 4_000_000 {
		t.Errorf("after another posting: %v", got)
	}
	bill, err := db.Tenants().Bill(t.Context(), "acme")
	if err != nil || len(bill) != 2 || bill[0].Month != "2026-02" || bill[1].Spent != 5_500_000 {
		t.Errorf("bill %v, %v", bill, err)
	}
}

// The months add up to the balances, whatever was posted: nothing is forgotten.
func TestSpendingAddsUpToTheBalances(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	at := time.Date(2026, 1, 30, 0, 0, 0, 0, time.UTC)
	for i := range 200 {
		settle(t, db, at.Add(time.Duration(i)*37*time.Minute), used(fmt.Sprintf("t%d", i%5), int64(i%7), sluice.Money(i%3)*1000), used("x", 1, 0))
	}
	var sum, revenue int64
	if err := db.Read().QueryRow(`SELECT sum(amount) FROM spending`).Scan(&sum); err != nil {
		t.Fatal(err)
	}
	if err := db.Read().QueryRow(`SELECT -sum(amount) FROM balances WHERE account LIKE 'revenue:ai:%'`).Scan(&revenue); err != nil {
		t.Fatal(err)
	}
	if sum != revenue || sum == 0 {
		t.Errorf("months add up to %d, balances to %d", sum, revenue)
	}
}

// The migration counts what was posted before there were tenants.
func TestMigrationCountsThePast(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, Options{})
	at := time.Date(2026, 1, 31, 23, 55, 0, 0, time.UTC)
	settle(t, db, at, used("acme", 3, 500_000), used("credits", 1, 0))
	settle(t, db, at.Add(5*time.Minute), used("acme", 1, 0))
	sqlText, err := files.ReadFile("migrations/0007_tenants.sql")
	if err != nil {
		t.Fatal(err)
	}
	var want, got string
	const all = `SELECT group_concat(tenant || ' ' || month || ' ' || amount, ', ') FROM (SELECT * FROM spending ORDER BY 1, 2)`
	if err := db.Read().QueryRow(all).Scan(&want); err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.Exec(`DELETE FROM spending`); err != nil {
			return err
		}
		_, err := tx.Exec(between(string(sqlText), "INSERT INTO spending", ";\n\n"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Read().QueryRow(all).Scan(&got); err != nil || got != want || got == "" {
		t.Errorf("counted anew %q, by the trigger %q (%v)", got, want, err)
	}
}

func between(s, from, to string) string {
	i := 0
	for ; i < len(s) && s[i:min(len(s), i+len(from))] != from; i++ {
	}
	j := i
	for ; j < len(s) && s[j:min(len(s), j+len(to))] != to; j++ {
	}
	return s[i:j]
}

func TestPlacementsAreBoundedAndNotRepeated(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := compute.Placement{Job: "j-000001", Tenant: "acme", PolicyVersion: 2, At: at, Refused: map[string]string{"h1": "in us-tx, eu-de asked"}}
	for i := range 5 { // it waits, for the same reason
		p.At = at.Add(time.Duration(i) * time.Minute)
		if err := db.Placements().PutPlacement(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	other := p
	other.Job = "j-000002"
	batch := []compute.Placement{other}
	for i := range 100 {
		q := p
		q.Run = fmt.Sprintf("j-000001-r%d", i)
		batch = append(batch, q)
	}
	got := func(job string) []compute.Placement {
		ps, err := db.Placements().Placements(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		return ps
	}
	if n := len(got("j-000001")); n != 1 {
		t.Errorf("the same decision is kept %d times", n)
	}
	if err := db.Placements().PutPlacement(t.Context(), batch...); err != nil {
		t.Fatal(err)
	}
	ps := got("j-000001")
	if len(ps) != maxPlacements || ps[0].Run != "j-000001-r99" || ps[0].Refused["h1"] == "" || ps[0].PolicyVersion != 2 {
		t.Errorf("%d kept, the newest %+v", len(ps), ps[0])
	}
	if n := len(got("j-000002")); n != 1 {
		t.Errorf("the other job has %d", n)
	}
}

func BenchmarkSpent(b *testing.B) {
	db, err := Open(context.Background(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	settle(b, db, at, used("acme", 3, 0))
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			spent(b, db, "acme", at)
		}
	})
	b.Run("asked", func(b *testing.B) {
		for b.Loop() {
			db.commits.Add(1)
			spent(b, db, "acme", at)
		}
	})
}
