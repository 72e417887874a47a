package compute_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/compute"
)

func TestCheckNamesTheLimitAndTheMend(t *testing.T) {
	acme := compute.Tenant{Name: "acme", MaxPriority: 3, MaxUnits: 8, MaxQueued: 2, SpendLimit: 500_000_000}
	for _, c := range []struct {
		name   string
		t      compute.Tenant
		spent  sluice.Money
		queued int
		r      compute.LimitRequest
		kind   sluice.Kind
		say    []string
	}{
		{"priority", acme, 0, 0, compute.LimitRequest{Priority: 4}, sluice.Invalid, []string{"priority 4", "3", "max_priority"}},
		{"units", acme, 0, 0, compute.LimitRequest{Units: 9}, sluice.Invalid, []string{"9 units", "8", "max_units"}},
		{"queued", acme, 0, 2, compute.LimitRequest{}, sluice.Conflict, []string{"2 jobs", "max_queued"}},
		{"array", acme, 0, 0, compute.LimitRequest{Jobs: 3}, sluice.Conflict, []string{"max_queued"}},
		{"isolation", acme, 0, 0, compute.LimitRequest{Isolation: "process"}, sluice.Invalid, []string{"container", "process"}},
		{"spent", acme, 500_000_000, 0, compute.LimitRequest{}, sluice.Conflict, []string{"500", "calendar month"}},
		{"disabled", compute.Tenant{Name: "acme", Disabled: true}, 0, 0, compute.LimitRequest{}, sluice.Conflict, []string{"disabled"}},
	} {
		err := c.t.Check(c.spent, c.queued, c.r)
		e := &sluice.Error{}
		if !errors.As(err, &e) || e.Kind != c.kind || e.Hint == "" {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, s := range c.say {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q does not say %q", c.name, err, s)
			}
		}
	}
	for _, r := range []compute.LimitRequest{{}, {Units: 8, Priority: 3, Jobs: 2}, {Isolation: "container"}, {Isolation: "sandbox"}} {
		if err := acme.Check(499_999_999, 0, r); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if err := (compute.Tenant{Name: "a", Trusted: true}).Check(1<<60, 1<<30, compute.LimitRequest{Units: 1 << 30, Isolation: "process"}); err != nil {
		t.Errorf("no limits: %v", err)
	}
	if why := acme.MayStart(0, 6, 3); !strings.Contains(why, "6 of the 8 units") {
		t.Error(why)
	}
	if why := acme.MayStart(500_000_000, 0, 1); !strings.HasPrefix(why, compute.HeldBySpending) {
		t.Error(why)
	}
	if why := acme.MayStart(0, 5, 3); why != "" {
		t.Error(why)
	}
}

// Whatever is spent: what state it is follows from the amounts alone, and nothing
// starts or is taken on exactly when the limit is reached.
func TestSpendingDecidesWhatStarts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tn := compute.Tenant{Name: "a", SpendLimit: sluice.Money(rapid.Int64Range(0, 1e12).Draw(t, "limit"))}
		spent := sluice.Money(rapid.Int64Range(0, 2e12).Draw(t, "spent"))
		s := tn.Spending(spent, time.Time{})
		want := compute.SpendWithin
		switch {
		case tn.SpendLimit == 0:
			want = compute.SpendFree
		case spent >= tn.SpendLimit:
			want = compute.SpendReached
		case float64(spent) >= 0.8*float64(tn.SpendLimit)-1:
			want = compute.SpendWarned
		}
		if s.State != want || s.Then == "" {
			t.Fatalf("%d of %d is %s, want %s", spent, tn.SpendLimit, s.State, want)
		}
		if why := tn.MayStart(spent, 0, 1); (why != "") != (want == compute.SpendReached) {
			t.Fatalf("may start at %s: %q", want, why)
		}
		if err := tn.Check(spent, 0, compute.LimitRequest{}); (err != nil) != (want == compute.SpendReached) {
			t.Fatalf("may submit at %s: %v", want, err)
		}
	})
}

func TestMonthTurns(t *testing.T) {
	for at, want := range map[string]string{
		"2026-01-31T23:59:59Z":      "2026-02-01T00:00:00Z",
		"2026-12-01T00:00:00Z":      "2027-01-01T00:00:00Z",
		"2026-03-01T00:30:00+02:00": "2026-03-01T00:00:00Z", // still February in UTC
	} {
		a, _ := time.Parse(time.RFC3339, at)
		if got := compute.MonthAfter(a).Format(time.RFC3339); got != want {
			t.Errorf("after %s: %s, want %s", at, got, want)
		}
	}
}
