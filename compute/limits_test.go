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
		err := c.t.Check(c.spent, 0, c.queued, c.r)
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
	for _, r := range []compute.LimitRequest{{}, {Units: 8, Priority: 3, Jobs: 2}, {Isolation: "container"}} {
		if err := acme.Check(499_999_999, 8, 0, r); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	// Nothing filters what a sandbox sends: it gets no network or all of it.
	for egress, taken := range map[compute.Egress]bool{"": false, compute.EgressInternet: false, compute.EgressNone: true, compute.EgressOpen: true} {
		for _, tenant := range []compute.Tenant{{Name: "a", Egress: egress, Isolation: "sandbox"}, {Name: "a", Egress: egress}} {
			err := tenant.Check(0, 0, 0, compute.LimitRequest{Isolation: "sandbox"})
			if (err == nil) != taken || err != nil && !strings.Contains(err.Error(), "the network of a sandbox cannot be filtered") {
				t.Errorf("egress %q: %v", egress, err)
			}
		}
	}
	if err := (compute.Tenant{Name: "a", Trusted: true}).Check(1<<60, 1<<30, 1<<30, compute.LimitRequest{Units: 1 << 30, Isolation: "process"}); err != nil {
		t.Errorf("no limits: %v", err)
	}
	if why, ok := acme.MayStart(0, 6, 3); ok || !strings.Contains(why, "6 units of the 8") {
		t.Error(why)
	}
	if why, ok := acme.MayStart(500_000_000, 0, 1); ok || !strings.HasPrefix(why, compute.HeldBySpending) {
		t.Error(why)
	}
	if why, ok := acme.MayStart(0, 5, 3); !ok {
		t.Error(why)
	}
}

// Whatever is spent and whichever way it moves: within, warned and reached follow
// from the amounts alone, a stop is told exactly when the limit is crossed, and a
// release when it no longer is.
func TestWatchTellsEachCrossingOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := sluice.Money(rapid.Int64Range(1, 1e9).Draw(t, "limit"))
		var w compute.SpendWatch
		stopped, warnings := false, 0
		for range 20 {
			spent := sluice.Money(rapid.Int64Range(0, 2e9).Draw(t, "spent"))
			if rapid.IntRange(0, 9).Draw(t, "raise") == 0 {
				limit *= 2
			}
			tn := compute.Tenant{Name: "a", SpendLimit: limit}
			turn, s := w.Look(tn, spent), tn.Spending(spent, time.Time{})
			if (s.State == compute.SpendReached) != (spent >= limit) {
				t.Fatalf("%d of %d is %s", spent, limit, s.State)
			}
			switch turn {
			case compute.SpendStop:
				if stopped {
					t.Fatal("stopped twice")
				}
				stopped = true
			case compute.SpendRelease:
				if !stopped {
					t.Fatal("released what was not stopped")
				}
				stopped = false
			case compute.SpendWarn:
				warnings++
				if s.State != compute.SpendWarned {
					t.Fatalf("warned of %s", s.State)
				}
			}
			if stopped != (s.State == compute.SpendReached) {
				t.Fatalf("stopped %t at %d of %d", stopped, spent, limit)
			}
			if _, ok := tn.MayStart(spent, 0, 1); ok == stopped {
				t.Fatalf("may start %t, stopped %t", ok, stopped)
			}
			if w.Look(tn, spent) != compute.SpendNone {
				t.Fatal("told twice")
			}
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
