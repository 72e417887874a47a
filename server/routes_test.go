package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/ledger"
	"sluice/site"
)

// walk reads a list page by page and returns its keys in order.
func walk[T any](r *rig, path string, limit int, key func(T) string) []string {
	r.t.Helper()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	var keys []string
	after := ""
	for range 1000 {
		p := decode[Page[T]](r.t, r.want(200, "GET", fmt.Sprintf("%s%slimit=%d%s", path, sep, limit, after), ""))
		if len(p.Items) > limit {
			r.t.Fatalf("%s: a page of %d, limit %d", path, len(p.Items), limit)
		}
		for _, v := range p.Items {
			keys = append(keys, key(v))
		}
		if p.Next == "" {
			return keys
		}
		after = "&after=" + p.Next
	}
	r.t.Fatalf("%s does not end", path)
	return nil
}

func TestListsPageWithoutGapsOrRepeats(t *testing.T) {
	r := newRig(t, nil)
	lists := map[string]func(limit int) []string{
		"/machines?kind=miner": func(n int) []string {
			return walk(r, "/api/v1/machines?kind=miner", n, func(m site.Machine) string { return m.Name })
		},
		"/machines?state=sleeping": func(n int) []string {
			return walk(r, "/api/v1/machines?state=sleeping", n, func(m site.Machine) string { return m.Name })
		},
		"/decisions": func(n int) []string {
			return walk(r, "/api/v1/decisions", n, func(d site.Decision) string { return fmt.Sprint(d.ID) })
		},
		"/alarms?all=true": func(n int) []string {
			return walk(r, "/api/v1/alarms?all=true", n, func(a site.Alarm) string { return fmt.Sprint(a.ID) })
		},
		"/alarms": func(n int) []string {
			return walk(r, "/api/v1/alarms", n, func(a site.Alarm) string { return fmt.Sprint(a.ID) })
		},
		"/curtailments": func(n int) []string {
			return walk(r, "/api/v1/curtailments", n, func(c site.Curtailment) string { return c.ID })
		},
		"/jobs": func(n int) []string {
			return walk(r, "/api/v1/jobs", n, func(j compute.Job) string { return j.ID })
		},
		"/ledger/entries": func(n int) []string {
			return walk(r, "/api/v1/ledger/entries", n, func(e ledger.Entry) string { return e.ID })
		},
	}
	want := map[string]int{"/machines?kind=miner": 250, "/machines?state=sleeping": 50, "/decisions": 5, "/alarms?all=true": 5, "/alarms": 4, "/curtailments": 5, "/jobs": 5, "/ledger/entries": 5}
	for name, list := range lists {
		whole := list(1000)
		if len(whole) != want[name] {
			t.Errorf("%s has %d items, want %d", name, len(whole), want[name])
		}
		for _, n := range []int{2, 5, len(whole)} {
			if got := list(n); strings.Join(got, " ") != strings.Join(whole, " ") {
				t.Errorf("%s in pages of %d: %v, want %v", name, n, got, whole)
			}
		}
	}
	if b := r.want(200, "GET", "/api/v1/machines?class=none", ""); strings.TrimSpace(string(b)) != `{"items":[],"next":""}` {
		t.Errorf("an empty list is %s", b)
	}
}

func TestReadRoutes(t *testing.T) {
	r := newRig(t, nil)
	if d := decode[site.Decision](t, r.want(200, "GET", "/api/v1/decisions/4", "")); d.ID != 4 || d.Moves[0].Reason == "" {
		t.Errorf("decision 4: %+v", d)
	}
	if m := decode[site.Machine](t, r.want(200, "GET", "/api/v1/machines/m-0007", "")); m.Name != "m-0007" {
		t.Errorf("machine: %+v", m)
	}
	if c := decode[site.Curtailment](t, r.want(200, "GET", "/api/v1/curtailments/c-2", "")); c.ID != "c-2" || *c.MetAfterS != 2.5 {
		t.Errorf("curtailment: %+v", c)
	}
	if j := decode[compute.Job](t, r.want(200, "GET", "/api/v1/jobs/j-5", "")); j.BilledUSD != 1_500_000 {
		t.Errorf("job: %+v", j)
	}
	if b := r.want(200, "GET", "/api/v1/jobs/j-5/logs?from=8", ""); string(b) != "epoch 2\n" {
		t.Errorf("logs from byte 8: %q", b)
	}
	bs := decode[Page[ledger.Balance]](t, r.want(200, "GET", "/api/v1/ledger/balance", "")).Items
	if len(bs) != 2 || bs[0].Amount+bs[1].Amount != 0 || bs[0].Amount != 5_000_000 {
		t.Errorf("balance: %+v", bs)
	}
	es := decode[Page[ledger.Entry]](t, r.want(200, "GET", "/api/v1/ledger/entries?from=2023-08-25T20:05:00Z&to=2023-08-25T20:15:00Z", "")).Items
	if len(es) != 2 || es[0].ID != "e-1" {
		t.Errorf("entries of an interval: %+v", es)
	}
	if b := r.want(200, "GET", "/api/v1/ledger/export?format=hledger", ""); strings.Count(string(b), "\n") != 10_000 {
		t.Errorf("export of %d lines", strings.Count(string(b), "\n"))
	}
	if b := r.want(200, "POST", "/api/v1/backup", ""); string(b) != "the whole site" {
		t.Errorf("backup: %q", b)
	}
	h := decode[Page[site.Sample]](t, r.want(200, "GET", "/api/v1/history?points=12", ""))
	if len(h.Items) != 12 || r.site.asked != [2]time.Time{t0.Add(-24 * time.Hour), t0} {
		t.Errorf("history: %d points of %v", len(h.Items), r.site.asked)
	}
	r.want(200, "GET", "/api/v1/history?from=2023-08-25T21:00:00%2B02:00&to=2023-08-25T20:00:00Z", "")
	if r.site.asked[0] != t0.Add(-time.Hour) {
		t.Errorf("history from another zone: %v", r.site.asked)
	}
}

func TestPinAndRelease(t *testing.T) {
	r := newRig(t, nil)
	m := decode[site.Machine](t, r.want(200, "PUT", "/api/v1/machines/m-0001/pin", `{"mode":"locked","why":"fan","by":"ann"}`))
	if m.Pin == nil || *m.Pin != (site.Pin{Machine: "m-0001", Mode: "locked", By: "ann", Why: "fan", At: t0}) {
		t.Errorf("pin: %+v", m.Pin)
	}
	if m := decode[site.Machine](t, r.want(200, "DELETE", "/api/v1/machines/m-0001/pin?by=ann", "")); m.Pin != nil {
		t.Errorf("still pinned: %+v", m.Pin)
	}
	r.want(409, "DELETE", "/api/v1/machines/m-0001/pin", "")
	p := decode[Problem](t, r.want(422, "PUT", "/api/v1/machines/m-0001/pin", `{"mode":"warp","why":"x"}`))
	if p.Detail != "pinning m-0001: there is no mode warp" || p.Hint != "modes: sleep, mine" || p.Status != 422 {
		t.Errorf("problem: %+v", p)
	}
	r.want(422, "PUT", "/api/v1/machines/m-0001/pin", `{"mode":"sleep"}`) // without a reason
}

func TestCurtailmentOrders(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		body   string
		status int
		want   site.CurtailmentOrder
	}{
		{
			`{"limit_kw":4000,"for_s":1800,"by":"ann","why":"grid","id":"g-1","node":"site"}`, 201,
			site.CurtailmentOrder{ID: "g-1", Node: "site", Limit: 4 * sluice.Megawatt, Until: t0.Add(30 * time.Minute), For: 30 * time.Minute, By: "ann", Why: "grid"},
		},
		{`{"limit_kw":0,"until":"2023-08-25T23:00:00+02:00"}`, 201, site.CurtailmentOrder{Until: t0.Add(time.Hour), By: "api"}},
		{
			`{"limit_kw":1.5,"from":"2023-08-25T22:00:00Z","for_s":60}`, 201,
			site.CurtailmentOrder{Limit: 1500, From: t0.Add(2 * time.Hour), Until: t0.Add(2*time.Hour + time.Minute), For: time.Minute, By: "api"},
		},
		{`{"limit_kw":4000}`, 422, site.CurtailmentOrder{}},
		{`{"limit_kw":4000,"for_s":0}`, 422, site.CurtailmentOrder{}},
		{`{"limit_kw":4000,"for_s":60,"until":"2023-08-25T23:00:00Z"}`, 422, site.CurtailmentOrder{}},
		{`{"limit_kw":4000,"until":"2023-08-25T19:00:00Z"}`, 422, site.CurtailmentOrder{}},
		{`{"limit_kw":4000,"from":"2023-08-25T19:00:00Z","for_s":60}`, 422, site.CurtailmentOrder{}},
		{`{"limit_kw":4000,"for_s":99999999999}`, 422, site.CurtailmentOrder{}},
		{`{"limit_kw":4000,"until":"2024-08-25T19:00:00Z"}`, 422, site.CurtailmentOrder{}},
		{`{"limit_kw":-1,"for_s":60}`, 422, site.CurtailmentOrder{}},
		{`{"for_s":60}`, 422, site.CurtailmentOrder{}},
		{`{"limit_kw":4000,"for_s":60,"limit":"4MW"}`, 422, site.CurtailmentOrder{}},
		{`{"limit_kw":4000,"for_s":60,"id":"a/b"}`, 422, site.CurtailmentOrder{}},
		{`{"limit_kw":"4000","for_s":60}`, 422, site.CurtailmentOrder{}},
		{`{`, 400, site.CurtailmentOrder{}},
	} {
		for _, path := range []string{"/api/v1/curtailments", "/api/v1/curtailments/preview"} {
			r.site.ordered = nil
			status := c.status
			if status == 201 && strings.HasSuffix(path, "preview") {
				status = 200
			}
			r.want(status, "POST", path, c.body)
			if status >= 400 {
				if len(r.site.ordered) > 0 {
					t.Errorf("%s reached the site", c.body)
				}
				continue
			}
			if len(r.site.ordered) != 1 || r.site.ordered[0] != c.want {
				t.Errorf("%s ordered %+v, want %+v", c.body, r.site.ordered, c.want)
			}
		}
	}
	if c := decode[site.Curtailment](t, r.want(200, "DELETE", "/api/v1/curtailments/c-1?by=ann", "")); c.State != "cancelled" || c.By != "ann" {
		t.Errorf("cancelled: %+v", c)
	}
	r.want(404, "DELETE", "/api/v1/curtailments/c-99", "")
	r.want(404, "GET", "/api/v1/curtailments/c-99", "")
	r.want(404, "GET", "/api/v1/curtailments?after=c-99", "")
}

func TestSubmit(t *testing.T) {
	r := newRig(t, nil)
	tgz := packed(t, file{name: "train.go", text: "package main"})
	b, _ := json.Marshal(TaskOrder{ID: "k-1", Task: "run: go run .", File: "task.yaml", Name: "digits", Env: map[string]string{"A": "1"}, By: "ann", Workdir: tgz})
	if j := decode[compute.Job](t, r.want(201, "POST", "/api/v1/jobs", string(b))); j.ID != "j-6" || j.Name != "digits" {
		t.Errorf("job: %+v", j)
	}
	s := r.jobs.submitted[0]
	if s.ID != "k-1" || s.Task != "run: go run ." || s.Env["A"] != "1" || s.By != "ann" || string(s.Workdir) != string(tgz) {
		t.Errorf("submitted: %+v", s)
	}
	r.want(201, "POST", "/api/v1/jobs", `{"task":"run: true"}`)
	if s := r.jobs.submitted[1]; s.Workdir != nil || s.By != "api" {
		t.Errorf("submitted: %+v", s)
	}
	p := decode[Problem](t, r.want(422, "POST", "/api/v1/jobs", `{"task":"bad","file":"t.yaml"}`))
	if p.Detail != "t.yaml:3:1: num_nodes 2 cannot be honoured" || p.Hint != "write num_nodes: 1" {
		t.Errorf("problem: %+v", p)
	}
	evil := base64.StdEncoding.EncodeToString(packed(t, file{name: "../../etc/cron.d/x", text: "x"}))
	n := len(r.jobs.submitted)
	r.want(422, "POST", "/api/v1/jobs", `{"task":"run: true","workdir_tar_gz":"`+evil+`"}`)
	if len(r.jobs.submitted) != n {
		t.Error("a folder that leads out of itself was submitted")
	}
	r.want(200, "POST", "/api/v1/jobs/j-5/cancel?by=ann", "")
	r.want(409, "POST", "/api/v1/jobs/j-1/cancel", "")
}

func TestCheckJob(t *testing.T) {
	r := newRig(t, nil)
	b, _ := json.Marshal(TaskOrder{Task: "go run .", Name: "digits", Env: map[string]string{"A": "1"}, Secrets: map[string]string{"K": ""}, Expect: 7200, Limit: 60})
	c := decode[JobCheck](t, r.want(200, "POST", "/api/v1/jobs/check", string(b)))
	if c.Name != "digits" || c.Choices[0].USDPerHour != 3 || c.Choices[0].USDInAll != 6 || c.Signal != "TERM" || !c.Restartable {
		t.Errorf("check: %+v", c)
	}
	s := r.jobs.submitted[0]
	if _, secret := s.Secrets["K"]; !secret || s.Env["A"] != "1" || s.Expect != 2*time.Hour || s.Limit != time.Minute || s.By != "api" {
		t.Errorf("checked: %+v", s)
	}
	p := decode[Problem](t, r.want(422, "POST", "/api/v1/jobs/check", `{"task":"bad","file":"t.yaml"}`))
	if p.Detail != "t.yaml:3:1: num_nodes 2 cannot be honoured" {
		t.Errorf("problem: %+v", p)
	}
	r.want(422, "POST", "/api/v1/jobs/check", `{"task":"run: x","expect_seconds":-1}`)
}

func TestErrorsHaveTheirStatus(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/api/v1/machines/nobody", 404},
		{"GET", "/api/v1/jobs/j-9", 404},
		{"GET", "/api/v1/jobs/j-9/logs", 404},
		{"GET", "/api/v1/jobs/j-9/logs?follow=true", 404},
		{"GET", "/api/v1/decisions/99", 404},
		{"GET", "/api/v1/decisions/x", 422},
		{"GET", "/api/v1/decisions?after=x", 422},
		{"GET", "/api/v1/alarms?after=-1", 422},
		{"GET", "/api/v1/machines?limit=0", 422},
		{"GET", "/api/v1/machines?limit=1001", 422},
		{"GET", "/api/v1/machines?kind=toaster", 422},
		{"GET", "/api/v1/machines?stat=mining", 422},
		{"GET", "/api/v1/history?from=yesterday", 422},
		{"GET", "/api/v1/history?points=1", 422},
		{"GET", "/api/v1/history?from=2023-08-26T00:00:00Z&to=2023-08-25T00:00:00Z", 422},
		{"GET", "/api/v1/ledger/export?format=xls", 422},
		{"GET", "/api/v1/nothing", 404},
		{"GET", "/api", 404},
		{"GET", "/nothing.js", 404},
		{"POST", "/", 404},
		{"DELETE", "/api/v1/site", 405},
		{"GET", "/api/v1/backup", 405},
		{"POST", "/api/v1/machines/m-0001/pin", 405},
	} {
		b := r.want(c.status, c.method, c.path, "")
		if p := decode[Problem](t, b); p.Status != c.status || p.Detail == "" {
			t.Errorf("%s %s: %s", c.method, c.path, b)
		}
	}
	if allow := r.do("DELETE", "/api/v1/curtailments", "").Header.Get("Allow"); allow != "GET, POST" {
		t.Errorf("Allow: %q", allow)
	}
	for err, status := range map[error]int{
		sluice.Errorf(sluice.Unavailable, "", "the store is locked"): 503, errDisk: 500, fmt.Errorf("x: %w", http.ErrHandlerTimeout): 500,
		sluice.Errorf(sluice.Conflict, "", "no"): 409,
	} {
		r.site.fail = err
		for _, path := range []string{"/decisions", "/decisions/4", "/alarms", "/curtailments", "/curtailments/c-1", "/history"} {
			r.want(status, "GET", "/api/v1"+path, "")
		}
		r.want(status, "POST", "/api/v1/curtailments", `{"limit_kw":1,"for_s":60}`)
		r.want(status, "PUT", "/api/v1/machines/m-0001/pin", `{"mode":"sleep","why":"x"}`)
	}
}

func TestASiteWithoutAPartSaysSo(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Jobs, o.Books, o.Backup = nil, nil, nil })
	for _, c := range []string{
		"GET /jobs", "GET /jobs/j-1", "GET /jobs/j-1/logs", "POST /jobs/j-1/cancel", "GET /ledger/balance", "GET /ledger/entries", "GET /ledger/export", "POST /backup",
	} {
		method, path, _ := strings.Cut(c, " ")
		r.want(503, method, "/api/v1"+path, "")
	}
	r.want(503, "POST", "/api/v1/jobs", `{"task":"run: true"}`)
	r.want(200, "GET", "/api/v1/site", "")
}

func TestBodiesAreBounded(t *testing.T) {
	r := newRig(t, nil)
	r.want(413, "POST", "/api/v1/curtailments", `{"limit_kw":1,"for_s":60,"why":"`+strings.Repeat("x", 2<<20)+`"}`)
	r.want(422, "POST", "/api/v1/jobs", `{"task":"`+strings.Repeat("x", 300<<10)+`"}`)
	r.want(413, "POST", "/api/v1/jobs", `{"task":"x","workdir_tar_gz":"`+strings.Repeat("AAAA", 13<<20)+`"}`)
	if len(r.jobs.submitted)+len(r.site.ordered) > 0 {
		t.Error("it came through")
	}
}

func TestAnExportThatFailsIsNoExport(t *testing.T) {
	r := newRig(t, nil)
	r.books.break_ = errDisk
	res := r.do("GET", "/api/v1/ledger/export", "")
	if _, err := io.ReadAll(res.Body); res.StatusCode == 200 && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half an export ends with %v, want a cut connection", err)
	}
}

func TestABackupThatFailsIsAProblem(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Backup = func(context.Context, string) error {
			return sluice.Errorf(sluice.Unavailable, "free some space", "the disk is full")
		}
	})
	p := decode[Problem](t, r.want(503, "POST", "/api/v1/backup", ""))
	if p.Hint != "free some space" {
		t.Errorf("problem: %+v", p)
	}
}
