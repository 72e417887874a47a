package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/tenant"
	"sluice/site"
	"sluice/store"
)

const operatorToken = "operator-token-of-the-test"

// fakeData is what lies with the fake jobs; its files are real.
type fakeData struct {
	jobs  *fakeJobs
	svc   *compute.Service // only to make JobFiles of
	wiped []string
	execs [][]string
}

func (f *fakeData) Detail(ctx context.Context, id string) (JobDetail, error) {
	j, err := f.jobs.Get(ctx, id)
	return JobDetail{Job: j, Cost: 7}, err
}

func (f *fakeData) Exec(_ context.Context, _ string, argv []string, in io.Reader, out io.Writer) (int, error) {
	f.execs = append(f.execs, argv)
	if argv[0] == "fail" {
		return 0, sluice.Errorf(sluice.Conflict, "", "the job has ended\nmeanwhile")
	}
	_, err := io.Copy(out, in)
	return len(argv), err
}

func (f *fakeData) Files(_ context.Context, id string) (*compute.JobFiles, error) {
	return f.svc.Files(id)
}

func (f *fakeData) Placements(_ context.Context, id string) ([]compute.Placement, error) {
	return []compute.Placement{{Job: id, Hosts: []string{"h1"}, Refused: map[string]string{"h2": "in us-tx", "h3": "in us-tx", "h4": "full"}}}, nil
}

func (f *fakeData) Wipe(_ context.Context, id, by string) (compute.Wipe, error) {
	f.wiped = append(f.wiped, id+" by "+by)
	return compute.Wipe{Job: id, By: by}, nil
}
func (f *fakeData) Wipes(context.Context, int) ([]compute.Wipe, error) { return nil, nil }

// memory keeps the jobs of the service behind fakeData.
type memory []compute.Record

func (m memory) LoadJobs(context.Context) ([]compute.Record, error) { return m, nil }
func (m memory) PutJobs(context.Context, []compute.Record) error    { return nil }

// clients is a server with two tenants, acme and bolt, with jobs j-5 and j-4 of
// acme, j-3 of bolt, and others of nobody.
type clients struct {
	*rig
	reg   *tenant.Registry
	data  *fakeData
	wall  time.Time
	token map[string]string
	ids   map[string]string
}

func newClients(t *testing.T, set func(*Options)) *clients {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	c := &clients{wall: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), token: map[string]string{}, ids: map[string]string{}}
	if c.reg, err = tenant.Open(t.Context(), db.Tenants(), func() time.Time { return t0 }, func() time.Time { return c.wall }); err != nil {
		t.Fatal(err)
	}
	var recs memory
	for i := 1; i <= 5; i++ {
		id := fmt.Sprintf("j-%d", i)
		if err := os.MkdirAll(filepath.Join(dir, "jobs", id, "work"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "jobs", id, "work", "out"), []byte("of "+id), 0o600); err != nil {
			t.Fatal(err)
		}
		recs = append(recs, compute.Record{Job: compute.Job{ID: id, State: compute.Succeeded}, Task: &compute.Task{}})
	}
	svc := compute.New(compute.Config{Store: recs, Dir: dir, Now: func() time.Time { return t0 }})
	t.Cleanup(svc.Close)
	if err := svc.Recover(t.Context(), t0); err != nil {
		t.Fatal(err)
	}
	c.rig = newRig(t, func(o *Options) {
		jobs := o.Jobs.(*fakeJobs)
		jobs.jobs[0].Tenant, jobs.jobs[1].Tenant, jobs.jobs[2].Tenant = "acme", "acme", "bolt"
		jobs.jobs[0].Units, jobs.jobs[1].Units = 1, 1
		c.data = &fakeData{jobs: jobs, svc: svc}
		o.Token, o.Tenants, o.JobData = operatorToken, c.reg, c.data
		o.Offers = func(context.Context) ([]Offer, error) { return []Offer{{Class: "a100", FirmUSD: 2}}, nil }
		o.RotateVault = func(context.Context) (int, error) { return 3, nil }
		if set != nil {
			set(o)
		}
	})
	for _, name := range []string{"acme", "bolt"} {
		if _, err := c.reg.Add(t.Context(), compute.Tenant{Name: name, SpendLimit: 1_000_000}, "test"); err != nil {
			t.Fatal(err)
		}
		c.issue(name, name, 0)
	}
	return c
}

func (c *clients) issue(as, name string, good time.Duration) {
	c.t.Helper()
	tk, shown, err := c.reg.Issue(c.t.Context(), name, "laptop", good, "test")
	if err != nil {
		c.t.Fatal(err)
	}
	c.token[as], c.ids[as] = shown, tk.ID
}

// as makes a request with a token.
func (c *clients) as(token, method, path, body string) (int, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 90*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("Content-Type") == "text/event-stream" {
		return res.StatusCode, ""
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	if res.StatusCode >= 400 && res.Header.Get("Content-Type") != "application/problem+json" {
		c.t.Errorf("%s %s: %d is a %q", method, path, res.StatusCode, res.Header.Get("Content-Type"))
	}
	return res.StatusCode, string(b)
}

// bodies are what an operation needs to get past its validation.
var bodies = map[string]string{
	"submit": `{"task":"run: x"}`, "checkJob": `{"task":"run: x"}`, "exec": `{"argv":["id"]}`, "curtail": `{"limit_kw":4000,"for_s":1800}`, "previewCurtailment": `{"limit_kw":4000,"for_s":1800}`,
	"addTenant": `{"name":"evil","trusted":true}`, "setTenant": `{"trusted":true}`, "issueToken": `{}`, "pin": `{"mode":"sleep"}`,
	"previewFleet": `{"selector":"class=s19","action":"sleep"}`, "orderFleet": `{"selector":"class=s19","action":"sleep","token":"t1"}`,
}

type operations map[string]map[string]struct {
	ID    string `json:"operationId"`
	Class string `json:"x-access"`
}

// TestEveryRouteKeepsTenantsApart asks every route that the API has, by its own
// document, with every kind of wrong token and with another tenant's.
func TestEveryRouteKeepsTenantsApart(t *testing.T) {
	c := newClients(t, nil)
	c.issue("expired", "acme", time.Second)
	c.issue("revoked", "acme", 0)
	if _, err := c.reg.Revoke(t.Context(), c.ids["revoked"], "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.reg.Add(t.Context(), compute.Tenant{Name: "gone"}, "test"); err != nil {
		t.Fatal(err)
	}
	c.issue("disabled", "gone", 0)
	disabled := true
	if _, err := c.reg.Change(t.Context(), "gone", tenant.Change{Disabled: &disabled}, "test"); err != nil {
		t.Fatal(err)
	}
	c.wall = c.wall.Add(time.Hour)
	half := c.token["acme"][:len(c.token["acme"])/2]
	strangers := map[string]string{
		"no token": "", "expired": c.token["expired"], "revoked": c.token["revoked"], "disabled": c.token["disabled"],
		"malformed": tenant.Prefix + "x", "half": half, "ID of a good one": tenant.Prefix + c.ids["acme"] + "_", "a name": "acme", "wrong": "wrong-operator-token",
	}
	doc := decode[struct{ Paths operations }](t, c.want(200, "GET", "/openapi.json", ""))
	n := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			n++
			method = strings.ToUpper(method)
			if !slices.Contains([]string{forOperator, forTenant, forJob, forAll}, op.Class) {
				t.Errorf("%s %s (%s) has no class: declare it in access.go", method, path, op.ID)
			}
			at := func(id string) string {
				return strings.NewReplacer("{id}", id, "{name}", "bolt", "{path}", "work/out").Replace(path)
			}
			before := fmt.Sprint(c.site.ordered, c.site.pins, c.site.fleet, c.jobs.submitted, c.data.wiped, c.data.execs, c.reg.List(), c.reg.Tokens("bolt"), c.reg.Tokens("acme"))
			for who, token := range strangers {
				c.srv.attempts = attempts{}
				if status, b := c.as(token, method, at("j-5"), bodies[op.ID]); op.Class != forAll && status != 401 {
					t.Errorf("%s %s with %s: %d %s", method, path, who, status, b)
				}
			}
			status, b := c.as(c.token["acme"], method, at("j-3"), bodies[op.ID]) // bolt's
			switch op.Class {
			case forOperator:
				if status != 403 {
					t.Errorf("%s %s as a tenant: %d %s", method, path, status, b)
				}
			case forJob:
				none, nb := c.as(c.token["acme"], method, at("j-9"), bodies[op.ID]) // nobody's
				nobodys, _ := c.as(c.token["acme"], method, at("j-2"), bodies[op.ID])
				if status != 404 || none != 404 || nobodys != 404 || strings.ReplaceAll(nb, "j-9", "j-3") != b {
					t.Errorf("%s %s of another tenant: %d %s, of one that does not exist %d %s", method, path, status, b, none, nb)
				}
				if own, b := c.as(c.token["acme"], method, at("j-5"), bodies[op.ID]); own >= 400 {
					t.Errorf("%s %s of its own: %d %s", method, path, own, b)
				}
			default:
				if status >= 400 {
					t.Errorf("%s %s as a tenant: %d %s", method, path, status, b)
				}
				if strings.Contains(b, "bolt") || strings.Contains(b, "j-3") {
					t.Errorf("%s %s tells acme of bolt: %s", method, path, b)
				}
			}
			if after := fmt.Sprint(c.site.ordered, c.site.pins, c.site.fleet, c.jobs.submitted, c.data.wiped, c.data.execs, c.reg.List(), c.reg.Tokens("bolt"), c.reg.Tokens("acme")); op.Class == forOperator && after != before {
				t.Errorf("%s %s had an effect", method, path)
			}
			if status, b := c.as(operatorToken, method, at("j-3"), bodies[op.ID]); (status == 401 || status == 403) && op.ID != "self" {
				t.Errorf("%s %s as the operator: %d %s", method, path, status, b)
			}
		}
	}
	if n < 40 {
		t.Fatalf("%d operations: the test sees too little", n)
	}
	for _, path := range []string{"/metrics", "/prometheus/api/v1/query?query=up", "/prometheus", "/api/v1/nothing", "/api/v2/site", "/api", "/api/"} {
		if status, b := c.as(c.token["acme"], "GET", path, ""); status != 403 && status != 404 {
			t.Errorf("%s as a tenant: %d %s", path, status, b)
		}
	}
	for _, w := range c.data.wiped {
		if w != "j-5 by acme/laptop" && w != "j-3 by api" {
			t.Errorf("wiped: %s", w)
		}
	}
	for _, s := range c.jobs.submitted {
		if s.Tenant != "" && (s.Tenant != "acme" || s.By != "acme/laptop") {
			t.Errorf("submitted as %+v", s)
		}
	}
}

func TestATenantCannotSayThatItIsAnother(t *testing.T) {
	c := newClients(t, nil)
	if status, b := c.as(c.token["acme"], "POST", "/api/v1/jobs", `{"task":"run: x","by":"bolt"}`); status != 201 {
		t.Fatal(status, b)
	}
	if s := c.jobs.submitted[0]; s.Tenant != "acme" || s.By != "acme/laptop" {
		t.Errorf("%+v", s)
	}
	if status, _ := c.as(c.token["acme"], "GET", "/api/v1/jobs?tenant=bolt", ""); status != 422 {
		t.Errorf("a filter that there is not: %d", status)
	}
	_, b := c.as(c.token["acme"], "GET", "/api/v1/jobs/j-5/placements", "")
	if strings.Contains(b, "h2") || strings.Contains(b, "h4") || !strings.Contains(b, "us-tx") || !strings.Contains(b, "full") || !strings.Contains(b, "h1") {
		t.Errorf("placements for a tenant: %s", b)
	}
	if _, b := c.as(operatorToken, "GET", "/api/v1/jobs/j-5/placements", ""); !strings.Contains(b, `"h4":"full"`) {
		t.Errorf("placements for the operator: %s", b)
	}
	self := TenantInfo{}
	_, b = c.as(c.token["acme"], "GET", "/api/v1/tenant", "")
	if err := json.Unmarshal([]byte(b), &self); err != nil || self.Name != "acme" || self.Held != 2 || self.Spending.Limit != 1_000_000 || self.Spending.State != compute.SpendWithin {
		t.Errorf("%s: %+v, %v", b, self, err)
	}
}

func TestTokensOverTheAPI(t *testing.T) {
	c := newClients(t, nil)
	status, b := c.as(operatorToken, "POST", "/api/v1/tenants", `{"name":"carl","regions":["DE-HE"],"max_units":4,"by":"ops"}`)
	if got := decode[compute.Tenant](t, []byte(b)); status != 201 || got.Version != 1 || got.MaxUnits != 4 || got.Trusted {
		t.Fatalf("%d %s", status, b)
	}
	status, b = c.as(operatorToken, "POST", "/api/v1/tenants/carl/tokens", `{"name":"ci","expires_s":3600}`)
	got := decode[IssuedToken](t, []byte(b))
	if status != 201 || !tenant.Looks(got.Secret) || got.ExpiresAt == nil {
		t.Fatalf("%d %s", status, b)
	}
	if status, b := c.as(got.Secret, "GET", "/api/v1/jobs", ""); status != 200 || strings.TrimSpace(b) != `{"items":[],"next":""}` {
		t.Errorf("its jobs: %d %s", status, b)
	}
	if _, b := c.as(operatorToken, "GET", "/api/v1/tenants/carl/tokens", ""); strings.Contains(b, got.Secret) || !strings.Contains(b, got.ID) {
		t.Errorf("the list of tokens: %s", b)
	}
	if status, b := c.as(operatorToken, "PATCH", "/api/v1/tenants/carl", `{"max_units":8,"isolation":"process"}`); status != 422 || !strings.Contains(b, "trusted") {
		t.Errorf("a change that makes no sense: %d %s", status, b)
	}
	if status, b := c.as(operatorToken, "PATCH", "/api/v1/tenants/carl", `{"max_units":8}`); status != 200 || decode[compute.Tenant](t, []byte(b)).Version != 2 {
		t.Errorf("a change: %d %s", status, b)
	}
	if status, _ := c.as(operatorToken, "DELETE", "/api/v1/tokens/"+got.ID, ""); status != 200 {
		t.Errorf("revoked: %d", status)
	}
	if status, b := c.as(got.Secret, "GET", "/api/v1/jobs", ""); status != 401 || !strings.Contains(b, "revoked") {
		t.Errorf("with a revoked one: %d %s", status, b)
	}
}

func TestEventsAreATenantsOwn(t *testing.T) {
	c := newClients(t, func(o *Options) { o.Heartbeat = 20 * time.Millisecond })
	req, _ := http.NewRequestWithContext(t.Context(), "GET", c.url+"/api/v1/events", nil)
	req.Header.Set("Authorization", "Bearer "+c.token["acme"])
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	<-c.site.subbed
	for _, e := range []site.Event{
		{Kind: "status", Data: site.Status{Name: "demo"}},
		{Kind: "decision", Data: site.Decision{ID: 1}},
		{Kind: "alarm", Data: site.Alarm{ID: 1}},
		{Kind: "curtailment", Data: site.Curtailment{ID: "c-1"}},
		{Kind: "job", Data: compute.Job{ID: "j-3", Tenant: "bolt"}},
		{Kind: "job", Data: compute.Job{ID: "j-2"}},
		{Kind: "spending", Data: compute.SpendNotice{Tenant: "bolt"}},
		{Kind: "unknown", Data: nil},
		{Kind: "spending", Data: compute.SpendNotice{Tenant: "acme", Turn: compute.SpendWarn}},
		{Kind: "job", Data: compute.Job{ID: "j-5", Tenant: "acme"}},
	} {
		c.site.publish(e)
	}
	var got []string
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if l, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			got = append(got, l)
		}
		if strings.Contains(lines.Text(), "j-5") {
			break
		}
	}
	if strings.Join(got, " ") != "spending job" {
		t.Errorf("acme heard %v", got)
	}
	// What streams by a token ends when it is revoked.
	if _, err := c.reg.Revoke(t.Context(), c.ids["acme"], "test"); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // to the end, which must come
	}
}

func TestFailedLoginsAreBounded(t *testing.T) {
	c := newClients(t, nil)
	for i := range maxFailures {
		if status, _ := c.as(fmt.Sprintf("guess-number-%d-of-many", i), "GET", "/api/v1/site", ""); status != 401 {
			t.Fatalf("guess %d: %d", i, status)
		}
	}
	if status, b := c.as("another-guess-entirely", "GET", "/api/v1/site", ""); status != 429 || !strings.Contains(b, "wait") {
		t.Errorf("one guess too many: %d %s", status, b)
	}
	if status, _ := c.as(operatorToken, "GET", "/api/v1/site", ""); status != 429 {
		t.Errorf("the right one among too many guesses: %d", status)
	}
	if status, _ := c.as(c.token["acme"], "GET", "/api/v1/jobs", ""); status != 200 {
		t.Errorf("a tenant at the same address: %d", status)
	}
	if status, _ := c.as(c.token["acme"]+"x", "GET", "/api/v1/jobs", ""); status != 429 {
		t.Errorf("a wrong tenant's token: %d", status)
	}
	if status, _ := c.as("", "GET", "/", ""); status != 200 {
		t.Errorf("the page: %d", status)
	}
}

func TestAttempts(t *testing.T) {
	var a attempts
	at := t0
	for range 100 {
		a.failed("10.0.0.1:5000", at)
	}
	if w := a.wait("10.0.0.1:6000", at); w != failureAfter {
		t.Errorf("from another port: %v", w)
	}
	for _, other := range []string{"10.0.0.2:5000", "[2001:db8::1]:1", "nonsense"} {
		if a.wait(other, at) != 0 {
			t.Errorf("%s waits for another's failures", other)
		}
	}
	if a.wait("[::ffff:10.0.0.1]:1", at) == 0 {
		t.Error("the same address in another form")
	}
	if w := a.wait("10.0.0.1:5000", at.Add(failureAfter)); w != 0 {
		t.Errorf("after a while: %v", w)
	}
	a.failed("[2001:db8::1]:1", at)
	for range maxFailures {
		a.failed("[2001:db8::2]:1", at)
	}
	if a.wait("[2001:db8::ffff:1]:1", at) == 0 || a.wait("[2001:db8:0:1::1]:1", at) != 0 {
		t.Error("IPv6 counts by /64")
	}
	for i := range 3 * maxAddresses {
		a.failed(fmt.Sprintf("10.%d.%d.%d:1", 1+i>>16, i>>8&255, i&255), at)
	}
	if n := len(a.from); n > maxAddresses {
		t.Errorf("%d addresses are remembered", n)
	}
}

func TestExecOverTheAPI(t *testing.T) {
	c := newClients(t, nil)
	call := func(body string) (*http.Response, string) {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", c.url+"/api/v1/jobs/j-5/exec", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+c.token["acme"])
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(b)
	}
	if res, out := call(`{"argv":["cat","-"],"input":"aGVsbG8="}`); out != "hello" || res.Trailer.Get(ExitTrailer) != "2" || res.Trailer.Get(ErrorTrailer) != "" {
		t.Errorf("%q, trailers %v", out, res.Trailer)
	}
	if res, _ := call(`{"argv":["fail"]}`); res.Trailer.Get(ExitTrailer) != "" || res.Trailer.Get(ErrorTrailer) != `"the job has ended\nmeanwhile"` {
		t.Errorf("trailers %v", res.Trailer)
	}
	for body, want := range map[string]int{`{"argv":[]}`: 422, `{}`: 422, `{"argv":["x"],"input":"!"}`: 400} {
		if res, b := call(body); res.StatusCode != want && res.StatusCode != 422 {
			t.Errorf("%s: %d %s", body, res.StatusCode, b)
		}
	}
}
