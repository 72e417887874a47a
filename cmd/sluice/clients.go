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
}

// openClients opens the registry and the vault. now is the site's clock; tokens
// and the keys live in the wall's time.
func openClients(ctx context.Context, db *store.DB, p config.Privacy, now func() time.Time, also ...compute.Eraser) (*clients, error) {
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
		Dir: db.Dir(), Store: db.Wipes(), Vault: c.vault, Also: also, Retention: time.Duration(p.Retention), Now: now,
	})
	if err != nil {
		return nil, errors.Join(err, c.vault.Close())
	}
	return c, nil
}

// residents is the tenants as the jobs see them: those of the registry, and under
// any other name the site itself. Only the operator can submit under such a name.
type residents struct{ *tenant.Registry }

func (r residents) Tenant(name string) (compute.Tenant, bool) {
	if t, ok := r.Registry.Tenant(name); ok {
		return t, true
	}
	return compute.Tenant{Name: name, Trusted: true, MaxPriority: maxPriority}, true
}

// maxPriority is the highest that a job file can ask for.
const maxPriority = 1000

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
	every(ctx, 5*time.Second, func() {
		if err := r.clients.tenants.Flush(ctx); err != nil && ctx.Err() == nil {
			r.log.Debug("tokens", "err", err)
		}
		if n++; n%60 == 0 {
			sweep()
		}
	})
	_ = r.clients.tenants.Flush(context.WithoutCancel(ctx))
}
