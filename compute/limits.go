package compute

import (
	"cmp"
	"fmt"
	"time"

	"sluice"
)

// WarnShare is the share of the spending limit at which a tenant is warned.
const WarnShare = 0.8

// HeldBySpending begins why a job of a tenant waits that has reached its spending limit.
const HeldBySpending = "held: spending limit"

// LimitRequest is what a job asks for, as far as its tenant's limits go.
type LimitRequest struct {
	Units     int       // GPUs or CPU slots, over all nodes
	Priority  int       // 0: the lowest
	Isolation Isolation // that the task names; "" leaves it to the policy
	Jobs      int       // that it becomes: those of an array; 0 counts as 1
}

// Check says whether the tenant may submit, before anything is stored. spent is
// of the month, what runs and is not posted yet included; held are the units
// that its jobs hold now, which do not count here (a job may wait for them);
// queued are its jobs that wait. Errors name the limit and the mend: Invalid for
// what no waiting would mend, Conflict for what it may.
func (t Tenant) Check(spent sluice.Money, held, queued int, r LimitRequest) error {
	jobs := max(r.Jobs, 1)
	switch {
	case t.Disabled:
		return sluice.Errorf(sluice.Conflict, "ask the operator of the site", "tenant %s is disabled", t.Name)
	case r.Isolation != "" && !r.Isolation.AtLeast(t.Floor()):
		return sluice.Errorf(sluice.Invalid, fmt.Sprintf("take isolation out of the task, or ask for %s or more", t.Floor()),
			"tenant %s runs its jobs in a %s at least, not as a %s", t.Name, t.Floor(), r.Isolation)
	case t.floorWith(r.Isolation) == IsolationSandbox && (t.Reaches() == EgressInternet || len(t.EgressAllow) > 0):
		// Its packets come from a network stack of its own, past every filter of the host.
		return sluice.Errorf(sluice.Invalid, "ask the operator to set the tenant's egress to none without egress_allow, or ask for the isolation container",
			"the network of a sandbox cannot be filtered, and tenant %s may reach only some of it", t.Name)
	case r.Priority > t.MaxPriority:
		return sluice.Errorf(sluice.Invalid, fmt.Sprintf("give a priority of %d or less, or ask the operator to raise max_priority", t.MaxPriority),
			"priority %d is more than the %d that tenant %s may ask for", r.Priority, t.MaxPriority, t.Name)
	case t.MaxUnits > 0 && r.Units > t.MaxUnits:
		return sluice.Errorf(sluice.Invalid, "ask for fewer, or ask the operator to raise max_units",
			"%d units are more than the %d that tenant %s may hold at once", r.Units, t.MaxUnits, t.Name)
	case t.MaxQueued > 0 && queued+jobs > t.MaxQueued:
		return sluice.Errorf(sluice.Conflict, "wait for some of them to start, cancel some, or ask the operator to raise max_queued",
			"tenant %s has %d jobs that wait and may have %d", t.Name, queued, t.MaxQueued)
	}
	if s := t.Spending(spent, time.Time{}); s.State == SpendReached {
		return sluice.Errorf(sluice.Conflict, "it counts by calendar month (UTC): ask the operator to raise it, or submit in the next",
			"tenant %s has spent %s of its limit of %s this month", t.Name, spent, t.SpendLimit)
	}
	return nil
}

// floorWith is the isolation of a job that asks for i, or for nothing.
func (t Tenant) floorWith(i Isolation) Isolation { return cmp.Or(i, t.Floor()) }

// inShare limits a run that is kept apart from its host, and that asks for nothing, to
// its units' part of the host: who names no amount may not take everybody's.
func (s *RunSpec) inShare(h Host) {
	if h.Units <= 0 || s.Isolation != IsolationContainer && s.Isolation != IsolationSandbox {
		return
	}
	part := min(1, float64(s.Units)/float64(h.Units))
	if s.CPULimit == 0 {
		s.CPULimit = part * float64(h.CPUs)
	}
	if s.MemoryLimit == 0 {
		s.MemoryLimit = int64(part * h.MemoryGB * (1 << 30))
	}
	if s.DiskLimit == 0 {
		s.DiskLimit = int64(part * h.DiskGB * (1 << 30))
	}
}

// MayStart says whether a job of so many units may start now, or why not: the
// reason that the job shows while it waits. held are the units that the tenant's
// jobs hold now.
func (t Tenant) MayStart(spent sluice.Money, held, units int) (why string, ok bool) {
	switch {
	case t.Disabled:
		return "held: the tenant is disabled", false
	case t.Spending(spent, time.Time{}).State == SpendReached:
		return fmt.Sprintf("%s: %s of %s spent this month; it goes on when the limit is raised or the month turns", HeldBySpending, spent, t.SpendLimit), false
	case t.MaxUnits > 0 && held+units > t.MaxUnits:
		return fmt.Sprintf("waits for its tenant's own jobs: %s holds %d units of the %d that it may", t.Name, held, t.MaxUnits), false
	}
	return "", true
}

// SpendState is how far a tenant is from its spending limit.
type SpendState string

// States of spending.
const (
	SpendFree    SpendState = "no limit"
	SpendWithin  SpendState = "within"
	SpendWarned  SpendState = "warned"  // WarnShare of it is spent
	SpendReached SpendState = "reached" // its jobs write a checkpoint and stop, and wait
)

// Spending is what a tenant has spent in a month against its limit.
type Spending struct {
	Spent sluice.Money `json:"spent_micro_usd"`
	Limit sluice.Money `json:"limit_micro_usd,omitempty"`
	State SpendState   `json:"state"`
	Share float64      `json:"share"`              // of the limit, 1 when it is reached; 0 without one
	Turns *time.Time   `json:"turns_at,omitempty"` // when the count begins anew, site time
	Then  string       `json:"then"`               // what happens at the limit, for a person
}

// Spending judges what is spent. now is site time; zero leaves Turns out.
func (t Tenant) Spending(spent sluice.Money, now time.Time) Spending {
	s := Spending{Spent: spent, Limit: t.SpendLimit, State: SpendFree, Then: "there is no spending limit: the job runs on"}
	if !now.IsZero() {
		turns := MonthAfter(now)
		s.Turns = &turns
	}
	if t.SpendLimit <= 0 {
		return s
	}
	s.Share = float64(spent) / float64(t.SpendLimit)
	warn := sluice.Money(float64(t.SpendLimit) * WarnShare)
	s.State = SpendWithin
	s.Then = fmt.Sprintf("at %s a warning; at %s the job gets its notice to write a checkpoint, stops, and waits until the limit is raised or the month turns", warn, t.SpendLimit)
	switch {
	case spent >= t.SpendLimit:
		s.State = SpendReached
		s.Then = "the limit is reached: jobs have written a checkpoint and wait until it is raised or the month turns"
	case spent >= warn:
		s.State = SpendWarned
	}
	return s
}

// MonthAfter is when the calendar month (UTC) of an instant ends.
func MonthAfter(now time.Time) time.Time {
	y, m, _ := now.UTC().Date()
	return time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
}

// SpendTurn is what a change of a tenant's spending asks for.
type SpendTurn string

// Turns of spending.
const (
	SpendNone    SpendTurn = ""
	SpendWarn    SpendTurn = "warn"    // tell the tenant: WarnShare of the limit is spent
	SpendStop    SpendTurn = "stop"    // checkpoint and stop what runs; it waits, HeldBySpending
	SpendRelease SpendTurn = "release" // what is held may start again
)

// SpendWatch remembers how far each tenant was when it was looked at last, so that
// each warning and stop is told once. The zero SpendWatch has seen nobody: a tenant
// that is over a bound is told of it at the first look, so that a restart forgets
// no stop. It is not safe for concurrent use.
type SpendWatch struct{ last map[string]SpendState }

// Look returns what is to be done about a tenant now.
func (w *SpendWatch) Look(t Tenant, spent sluice.Money) SpendTurn {
	if w.last == nil {
		w.last = map[string]SpendState{}
	}
	was, now := w.last[t.Name], t.Spending(spent, time.Time{}).State
	w.last[t.Name] = now
	switch {
	case now == was:
		return SpendNone
	case now == SpendReached:
		return SpendStop
	case was == SpendReached:
		return SpendRelease // also where it is only just below the limit again
	case now == SpendWarned:
		return SpendWarn
	}
	return SpendNone
}

// SpendNotice is the event that a tenant's spending has crossed a bound; its kind is
// "spending".
type SpendNotice struct {
	Tenant string    `json:"tenant"`
	Turn   SpendTurn `json:"turn"`
	Spending
}

// ForTenant says whom it is for.
func (n SpendNotice) ForTenant() string { return n.Tenant }

// Floor is the least isolation that the tenant's jobs run in.
func (t Tenant) Floor() Isolation {
	switch {
	case t.Isolation != "":
		return t.Isolation
	case t.Trusted:
		return IsolationNone
	}
	return IsolationContainer
}
