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
		Nodes: []compute.NodeRun{
			{RunID: id + "-r1-n0", Host: "a", Executor: "docker", Units: 4, GPUs: []int{0, 3, 4, 5}, Handle: "h"},
			{RunID: id + "-r1-n1", Host: "b", Executor: "docker", Units: 4, Exit: &compute.Exit{Code: 137, Signal: "SIGKILL", At: at}},
		},
		Cause: &code, After: compute.Cancelled, UsedMS: 12, Retries: 1, Restarts: 2,
		Choices: []compute.Choice{{Class: "a100", UnitsPerNode: 4, RateUSDHour: 1.25}}, Lessons: compute.Lessons{Stops: 2, Saved: 1, RestartSec: 3.5},
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
	want[1].Job.State, want[1].Nodes, want[1].UsedMS = compute.Queued, nil, 99
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

// A record that was written before a job had nodes is one of one node.
func TestJobsOfBeforeNodes(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	if _, err := db.Read().ExecContext(t.Context(), `SELECT 1`); err != nil {
		t.Fatal(err)
	}
	err := db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `INSERT INTO jobs (id, tenant, request, state, submitted_at, doc) VALUES ('j-000001', 'acme', '', 'running', 0,
			'{"job":{"id":"j-000001","state":"running","host":"this","run_id":"j-000001-r2","units":3},"task":{"run":"x"},"handle":"/run/2","executor":"process","used_unit_ms":7}')`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []compute.NodeRun{{RunID: "j-000001-r2", Host: "this", Executor: "process", Units: 3, Handle: "/run/2"}}
	if got := load(t, db); len(got) != 1 || !reflect.DeepEqual(got[0].Nodes, want) || got[0].UsedMS != 7 {
		t.Fatalf("got %+v", got)
	}
}
