package store

import (
	"context"
	"database/sql"
	"reflect"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
)

func record(id string) compute.Record {
	at := time.Date(2023, 8, 14, 12, 0, 0, 123456789, time.UTC)
	code := 3
	return compute.Record{
		Job: compute.Job{
			ID: id, Name: "train", Tenant: "acme", State: compute.Running, Class: "a100",
			Units: 8, SubmittedAt: at, StartedAt: &at, ExitCode: &code, RateUSDHour: 1.25, Priority: 2,
		},
		Key: "key-" + id,
		Task: &compute.Task{
			Name: "train", NumNodes: 1, Run: "echo hi\n", Envs: map[string]string{"A": "b"},
			Resources: compute.Resources{Accelerator: "A100", GPUs: 8, UseSpot: true}, Warnings: []string{"w"},
		},
		Handle: "h", Executor: "virtual", After: compute.Cancelled, UsedMS: 12, Retries: 1,
	}
}

func load(t *testing.T, db *DB) []compute.Record {
	t.Helper()
	recs, err := db.Jobs().LoadJobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

// Every field of a record that is set comes back, also after a reopening.
func TestJobsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, Options{})
	want := []compute.Record{record("j-000001"), record("j-000002"), record("j-1000000")}
	if err := db.Jobs().PutJobs(t.Context(), []compute.Record{want[2], want[0], want[1]}); err != nil {
		t.Fatal(err)
	}
	want[1].Job.State, want[1].Handle, want[1].UsedMS = compute.Queued, "", 99
	if err := db.Jobs().PutJobs(t.Context(), want[1:2]); err != nil {
		t.Fatal(err)
	}
	if got := load(t, db); !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func TestJobsAreAllOrNothing(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	a, b := record("j-000001"), record("j-000002")
	b.Key = a.Key // the same tenant, the same request: refused
	if err := db.Jobs().PutJobs(t.Context(), []compute.Record{a, b}); err == nil {
		t.Fatal("two jobs of one request")
	}
	if got := load(t, db); len(got) != 0 {
		t.Fatalf("half of a transaction: %v", got)
	}
}

func TestMarkBilled(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	if err := db.Jobs().PutJobs(t.Context(), []compute.Record{record("j-000001")}); err != nil {
		t.Fatal(err)
	}
	bill := func(from, to int64, usd sluice.Money) error {
		return db.Write(t.Context(), func(tx *sql.Tx) error {
			return MarkBilled(context.Background(), tx, []compute.Use{{JobID: "j-000001", FromUnitMS: from, ToUnitMS: to, Amount: usd}})
		})
	}
	if err := bill(0, 500, 7); err != nil {
		t.Fatal(err)
	}
	if err := bill(500, 900, 5); err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{0, 500, 899, 901} {
		if err := bill(from, 1000, 1); sluice.KindOf(err) != sluice.Conflict {
			t.Fatalf("from %d: %v, want a conflict", from, err)
		}
	}
	// Writing the job does not touch what was billed.
	if err := db.Jobs().PutJobs(t.Context(), []compute.Record{record("j-000001")}); err != nil {
		t.Fatal(err)
	}
	if got := load(t, db)[0]; got.BilledMS != 900 || got.BilledUSD != 12 {
		t.Fatalf("billed %d ms, %d µUSD", got.BilledMS, got.BilledUSD)
	}
}
