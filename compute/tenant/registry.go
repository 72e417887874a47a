// Package tenant owns who the clients of the AI division are: the registry of
// tenants with their policies, and the tokens that prove a caller to be one of
// them. What follows from a policy for a job is in package compute (limits.go).
package tenant

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/compute"
)

// Store keeps tenants and tokens. Every method that changes something is durable
// when it returns.
type Store interface {
	LoadTenants(ctx context.Context) ([]compute.Tenant, error)
	// PutTenant inserts or replaces a tenant and keeps the version, with who made
	// it and when, among all that were.
	PutTenant(ctx context.Context, t compute.Tenant, by string, at time.Time) error
	LoadTokens(ctx context.Context) ([]Record, error)
	// PutToken inserts or replaces a token.
	PutToken(ctx context.Context, r Record) error
	// MarkUsed notes when tokens were last used, by their IDs.
	MarkUsed(ctx context.Context, at map[string]time.Time) error
	// Spent is what was posted to the tenant in the calendar month (UTC) of at,
	// credits taken off. It is asked often and must be cheap.
	Spent(ctx context.Context, tenant string, at time.Time) (sluice.Money, error)
	// Bill is what was posted to the tenant by month, the newest first.
	Bill(ctx context.Context, tenant string) ([]Month, error)
}

// Month is what a tenant was charged in a calendar month (UTC).
type Month struct {
	Month string       `json:"month"` // 2026-01
	Spent sluice.Money `json:"spent_micro_usd"`
}

// Record is a token as it is stored: what the token itself is cannot be had from it.
type Record struct {
	Token
	Hash [sha256.Size]byte
}

// Registry holds all tenants and tokens in memory, in step with its Store. It is
// the compute.Tenants of a site. All methods may be called from any goroutine.
type Registry struct {
	store Store
	now   func() time.Time // site time: which month counts
	wall  func() time.Time // of tokens

	write sync.Mutex // one change at a time; taken before mu

	mu      sync.RWMutex
	tenants map[string]compute.Tenant
	tokens  map[string]*Record   // by ID
	used    map[string]time.Time // by ID, not stored yet
	spent   map[string]sluice.Money
}

var _ compute.Tenants = (*Registry)(nil)

// Open reads the registry. now is the site's clock, by which the month of a
// spending limit turns; wall is the wall's, by which tokens expire.
func Open(ctx context.Context, s Store, now, wall func() time.Time) (*Registry, error) {
	r := &Registry{
		store: s, now: now, wall: wall,
		tenants: map[string]compute.Tenant{}, tokens: map[string]*Record{},
		used: map[string]time.Time{}, spent: map[string]sluice.Money{},
	}
	ts, err := s.LoadTenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the tenants: %w", err)
	}
	for _, t := range ts {
		r.tenants[t.Name] = t
	}
	recs, err := s.LoadTokens(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the tokens: %w", err)
	}
	for _, rec := range recs {
		r.tokens[rec.ID] = &rec
	}
	return r, nil
}

// Tenant returns a tenant.
func (r *Registry) Tenant(name string) (compute.Tenant, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	t, ok := r.tenants[name]
	return t, ok
}

// Get returns a tenant, or NotFound.
func (r *Registry) Get(name string) (compute.Tenant, error) {
	t, ok := r.Tenant(name)
	if !ok {
		return t, sluice.Errorf(sluice.NotFound, "sluice tenant list shows them", "there is no tenant %q", name)
	}
	return t, nil
}

// List returns all tenants, sorted by name.
func (r *Registry) List() []compute.Tenant {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]compute.Tenant, 0, len(r.tenants))
	for _, t := range r.tenants {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b compute.Tenant) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Add takes a tenant on, as version 1. Errors: Invalid; Conflict where the name
// is taken.
func (r *Registry) Add(ctx context.Context, t compute.Tenant, by string) (compute.Tenant, error) {
	r.write.Lock()
	defer r.write.Unlock()
	if _, taken := r.Tenant(t.Name); taken {
		return compute.Tenant{}, sluice.Errorf(sluice.Conflict, "change it with sluice tenant set "+t.Name, "there is a tenant %q already", t.Name)
	}
	t.Version, t.CreatedAt, t.Disabled = 1, r.wall().UTC(), false
	return r.put(ctx, t, by)
}

// Change changes a tenant and counts its version up; a change of nothing returns
// it as it is. Errors: NotFound, Invalid.
func (r *Registry) Change(ctx context.Context, name string, c Change, by string) (compute.Tenant, error) {
	r.write.Lock()
	defer r.write.Unlock()
	old, err := r.Get(name)
	if err != nil {
		return compute.Tenant{}, err
	}
	t := c.Apply(old)
	if same(t, old) {
		return old, nil
	}
	t.Version++
	return r.put(ctx, t, by)
}

func (r *Registry) put(ctx context.Context, t compute.Tenant, by string) (compute.Tenant, error) {
	if err := Validate(t); err != nil {
		return compute.Tenant{}, err
	}
	if err := r.store.PutTenant(ctx, t, by, r.wall().UTC()); err != nil {
		return compute.Tenant{}, fmt.Errorf("storing tenant %s: %w", t.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tenants[t.Name] = t
	return t, nil
}

// Spent is what was posted to the tenant since the begin of the present calendar
// month (UTC, site time). While the store does not answer, it is what it said last.
func (r *Registry) Spent(name string) sluice.Money {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	m, err := r.store.Spent(ctx, name, r.now())
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		return r.spent[name]
	}
	r.spent[name] = m
	return m
}

// Bill is what was posted to the tenant by calendar month, the newest first.
func (r *Registry) Bill(ctx context.Context, name string) ([]Month, error) {
	if _, err := r.Get(name); err != nil {
		return nil, err
	}
	return r.store.Bill(ctx, name)
}

// Spending is what the tenant has spent against its limit now.
func (r *Registry) Spending(t compute.Tenant) compute.Spending {
	return t.Spending(r.Spent(t.Name), r.now())
}
