package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"sluice/compute"
	"sluice/compute/tenant"
	"sluice/compute/vault"
	"sluice/config"
	"sluice/store"
)

// clients is what a running site has for the clients of its AI division: who they
// are, what is secret of their jobs, and how that ends.
type clients struct {
	tenants    *tenant.Registry
	vault      *vault.Vault
	wiper      *compute.Wiper
	placements compute.PlacementStore
	decided    []compute.Placement // not stored yet
}

// openClients opens the registry and the vault. now is the site's clock; tokens
// and the keys live in the wall's time.
func openClients(ctx context.Context, db *store.DB, p config.Privacy, now func() time.Time) (*clients, error) {
	c := &clients{placements: db.Placements()}
	var err error
	if c.tenants, err = tenant.Open(ctx, db.Tenants(), now, time.Now); err != nil {
		return nil, err
	}
	c.vault, err = vault.Open(vault.Config{Dir: filepath.Join(db.Dir(), "vault"), Master: p.MasterKey, Store: db.Secrets(), Now: time.Now})
	if err != nil {
		return nil, err
	}
	c.wiper, err = compute.NewWiper(ctx, compute.WiperConfig{
		Dir: db.Dir(), Store: db.Wipes(), Vault: c.vault, Retention: time.Duration(p.Retention), Now: now,
	})
	if err != nil {
		return nil, errors.Join(err, c.vault.Close())
	}
	return c, nil
}

// everyone is the registry, and besides it the site's own work: a name that no
// tenant has is the operator's, or of the demo's clients, and trusted as they are.
// Who comes with a token is always in the registry.
type everyone struct{ *tenant.Registry }

func (e everyone) Tenant(name string) (compute.Tenant, bool) {
	if t, ok := e.Registry.Tenant(name); ok {
		return t, true
	}
	return compute.Tenant{Name: name, Trusted: true}, true
}

// keepPlacements stores the decisions where jobs went since the last call.
func (r *running) keepPlacements(ctx context.Context) {
	c := r.clients
	c.decided = append(c.decided, r.jobs.TakePlacements()...)
	err := c.placements.PutPlacement(ctx, c.decided...)
	if err == nil {
		c.decided = nil
	} else if ctx.Err() == nil {
		r.log.Error("decisions where jobs go could not be stored yet", "err", err)
	}
}

// close lets go of the vault.
func (c *clients) close() { _ = c.vault.Close() }

// tend finishes wipes that were cut off, wipes what is over its time and stores
// when tokens were used, until ctx ends.
func (r *running) tend(ctx context.Context) {
	sweep := func() {
		err := r.clients.wiper.Resume(ctx)
		_, serr := r.clients.wiper.Sweep(ctx, r.parts.clock.Now(), r.jobs.Ended())
		if err = errors.Join(err, serr); err != nil && ctx.Err() == nil {
			r.log.Error("data of ended jobs could not be wiped yet", "err", err)
		}
	}
	sweep()
	n := 0
	every(ctx, time.Second, func() {
		r.keepPlacements(ctx)
		if n++; n%5 != 0 {
			return
		}
		if err := r.clients.tenants.Flush(ctx); err != nil && ctx.Err() == nil {
			r.log.Debug("tokens", "err", err)
		}
		if n%300 == 0 {
			sweep()
		}
	})
	ctx = context.WithoutCancel(ctx)
	r.keepPlacements(ctx)
	_ = r.clients.tenants.Flush(ctx)
}
