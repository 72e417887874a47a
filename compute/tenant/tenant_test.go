package tenant_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/tenant"
	"sluice/store"
)

// clock is a wall whose time a test steps.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *clock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func ptr[T any](v T) *T { return &v }

// office is a registry over a real database that can be opened again.
type office struct {
	t   *testing.T
	dir string
	db  *store.DB
	*clock
	*tenant.Registry
}

func open(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir(), clock: &clock{at: time.Date(2026, 1, 31, 23, 0, 0, 0, time.UTC)}}
	o.restart()
	t.Cleanup(func() { _ = o.db.Close() })
	return o
}

func (o *office) restart() {
	o.t.Helper()
	if o.db != nil {
		if err := o.db.Close(); err != nil {
			o.t.Fatal(err)
		}
	}
	var err error
	if o.db, err = store.Open(o.t.Context(), o.dir, store.Options{}); err != nil {
		o.t.Fatal(err)
	}
	if o.Registry, err = tenant.Open(o.t.Context(), o.db.Tenants(), o.Now, o.Now); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) add(t compute.Tenant) compute.Tenant {
	o.t.Helper()
	t, err := o.Add(o.t.Context(), t, "ops")
	if err != nil {
		o.t.Fatal(err)
	}
	return t
}

func TestTenantsAreKeptWithTheirVersions(t *testing.T) {
	o := open(t)
	acme := o.add(compute.Tenant{Name: "acme", Regions: []string{"eu-de"}, Labels: map[string]string{"cert": "iso27001"}, MaxUnits: 8, SpendLimit: 500_000_000})
	if acme.Version != 1 || acme.CreatedAt.IsZero() {
		t.Errorf("%+v", acme)
	}
	if _, err := o.Add(t.Context(), compute.Tenant{Name: "acme"}, "ops"); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("added twice: %v", err)
	}
	same, err := o.Change(t.Context(), "acme", tenant.Change{MaxUnits: ptr(8), Regions: &[]string{"eu-de"}}, "ops")
	if err != nil || same.Version != 1 {
		t.Errorf("a change of nothing: %+v, %v", same, err)
	}
	got, err := o.Change(t.Context(), "acme", tenant.Change{MaxUnits: ptr(16), Labels: &map[string]string{}, Disabled: ptr(true), EgressAllow: &[]string{"10.1.2.0/24:443"}}, "ops")
	if err != nil || got.Version != 2 || got.MaxUnits != 16 || len(got.Labels) != 0 || !got.Disabled || got.SpendLimit != 500_000_000 {
		t.Errorf("changed: %+v, %v", got, err)
	}
	if _, err := o.Change(t.Context(), "none", tenant.Change{}, "ops"); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("changed nobody: %v", err)
	}
	o.restart()
	if again, ok := o.Tenant("acme"); !ok || again.Version != 2 || again.MaxUnits != 16 || !again.Disabled || len(again.EgressAllow) != 1 || again.EgressAllow[0] != "10.1.2.0/24:443" {
		t.Errorf("after a restart: %+v", again)
	}
	var versions int
	if err := o.db.Read().QueryRow(`SELECT count(*) FROM tenant_versions WHERE name = 'acme'`).Scan(&versions); err != nil || versions != 2 {
		t.Errorf("%d versions kept, %v", versions, err)
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		t    compute.Tenant
		want string
	}{
		{compute.Tenant{Name: ""}, "no name"},
		{compute.Tenant{Name: "Acme"}, "no name"},
		{compute.Tenant{Name: "../x"}, "no name"},
		{compute.Tenant{Name: "operator"}, "no name"},
		{compute.Tenant{Name: "a", Isolation: "process"}, "trusted"},
		{compute.Tenant{Name: "a", Isolation: "jail"}, "jail"},
		{compute.Tenant{Name: "a", Egress: "host"}, "trusted"},
		{compute.Tenant{Name: "a", Egress: "some"}, "some"},
		{compute.Tenant{Name: "a", EgressAllow: []string{"10.0.0.1/8"}}, "did you mean 10.0.0.0/8"},
		{compute.Tenant{Name: "a", Egress: "open", EgressAllow: []string{"10.0.0.0/8"}}, "its egress is open"},
		{compute.Tenant{Name: "a", Trusted: true, EgressAllow: []string{"10.0.0.0/8"}}, "its egress is open"},
		{compute.Tenant{Name: "a", MaxUnits: -1}, "0 or more"},
		{compute.Tenant{Name: "a", Regions: []string{"eu de"}}, "region"},
		{compute.Tenant{Name: "a", Labels: map[string]string{"a b": "c"}}, "label"},
	} {
		err := tenant.Validate(c.t)
		if sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.t, err, c.want)
		}
	}
	for _, good := range []compute.Tenant{{Name: "a"}, {Name: "a", Trusted: true, Isolation: "process", Egress: "host"}, {Name: "acme-2.eu_x", Isolation: "sandbox", Egress: "none"}, {Name: "b", EgressAllow: []string{"10.0.0.0/8:80"}}} {
		if err := tenant.Validate(good); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}

func TestTokens(t *testing.T) {
	o := open(t)
	o.add(compute.Tenant{Name: "acme"})
	o.add(compute.Tenant{Name: "bolt"})
	laptop, shown, err := o.Issue(t.Context(), "acme", "laptop", time.Hour, "ops")
	if err != nil || !tenant.Looks(shown) || len(shown) < 55 {
		t.Fatalf("%+v, %v", laptop, err)
	}
	ci, forever, err := o.Issue(t.Context(), "acme", "ci", 0, "ops")
	if err != nil || ci.ExpiresAt != nil || ci.ID == laptop.ID || forever == shown {
		t.Fatalf("%+v, %v", ci, err)
	}
	who := func(text string) string {
		tn, _, err := o.Authenticate(text)
		if err != nil {
			if sluice.KindOf(err) != sluice.Invalid || strings.Contains(err.Error(), text) && text != "" {
				t.Errorf("%v", err)
			}
			return "nobody: " + strings.Split(err.Error(), " (")[0]
		}
		return tn.Name
	}
	if got := who(shown); got != "acme" {
		t.Error(got)
	}
	// Whatever else is shown is nobody's, and nothing tells which part was right.
	other := tenant.Prefix + ci.ID + strings.TrimPrefix(shown, tenant.Prefix+laptop.ID)
	for _, bad := range []string{"", tenant.Prefix, shown[:len(shown)-1], shown + "x", strings.ToUpper(shown), other, tenant.Prefix + laptop.ID + "_", "Bearer " + shown, tenant.Prefix + "ffffffffffff_" + strings.Repeat("A", 43)} {
		if got := who(bad); got != "nobody: this token is not known here" {
			t.Errorf("%q: %s", bad, got)
		}
	}
	o.step(59 * time.Minute)
	if got := who(shown); got != "acme" {
		t.Error(got)
	}
	o.step(time.Minute)
	if got := who(shown); !strings.Contains(got, "expired at 2026-02-01T00:00:00Z") {
		t.Error(got)
	}
	if err := o.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.restart()
	if got := who(forever); got != "acme" {
		t.Error(got)
	}
	for _, tk := range o.Tokens("acme") {
		if tk.ID == laptop.ID && (tk.UsedAt == nil || !tk.UsedAt.Equal(time.Date(2026, 1, 31, 23, 59, 0, 0, time.UTC))) {
			t.Errorf("last used %v", tk.UsedAt)
		}
	}
	if _, err := o.Change(t.Context(), "acme", tenant.Change{Disabled: ptr(true)}, "ops"); err != nil {
		t.Fatal(err)
	}
	if got := who(forever); !strings.Contains(got, "disabled") {
		t.Error(got)
	}
	if _, err := o.Change(t.Context(), "acme", tenant.Change{Disabled: ptr(false)}, "ops"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Revoke(t.Context(), ci.ID, "ops"); err != nil {
		t.Fatal(err)
	}
	if got := who(forever); !strings.Contains(got, "revoked") {
		t.Error(got)
	}
	o.restart()
	if got := who(forever); !strings.Contains(got, "revoked") {
		t.Error(got)
	}
	if _, err := o.Revoke(t.Context(), "none", "ops"); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("revoked nothing: %v", err)
	}
	if _, _, err := o.Issue(t.Context(), "none", "", 0, "ops"); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("a token for nobody: %v", err)
	}
	if len(o.Tokens("bolt")) != 0 {
		t.Error("bolt has tokens")
	}
	for range tenant.MaxTokens {
		if _, _, err = o.Issue(t.Context(), "bolt", "", 0, "ops"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := o.Issue(t.Context(), "bolt", "", 0, "ops"); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("one too many: %v", err)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	db, err := store.Open(context.Background(), b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	r, err := tenant.Open(context.Background(), db.Tenants(), time.Now, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := r.Add(context.Background(), compute.Tenant{Name: "a"}, ""); err != nil {
		b.Fatal(err)
	}
	_, shown, _ := r.Issue(context.Background(), "a", "", 0, "")
	for b.Loop() {
		if _, _, err := r.Authenticate(shown); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzAuthenticate(f *testing.F) {
	r, err := tenant.Open(context.Background(), nobody{}, time.Now, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("slt_")
	f.Add("slt_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if _, _, err := r.Authenticate(text); err == nil {
			t.Errorf("%q opened an empty registry", text)
		}
	})
}

// nobody is an empty store.
type nobody struct{ tenant.Store }

func (nobody) LoadTenants(context.Context) ([]compute.Tenant, error) { return nil, nil }
func (nobody) LoadTokens(context.Context) ([]tenant.Record, error)   { return nil, nil }
