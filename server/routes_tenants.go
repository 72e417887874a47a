package server

import (
	"context"
	"net/http"
	"time"

	"sluice/compute"
	"sluice/compute/tenant"

	"github.com/danielgtaylor/huma/v2"
)

// TenantName is the tenant that a path names.
type TenantName struct {
	Name string `path:"name" maxLength:"100" doc:"Name of the tenant"`
}

// TenantOrder is a tenant to take on.
type TenantOrder struct {
	Name string `json:"name" minLength:"1" maxLength:"63" doc:"Its name: lower-case letters, digits, dots, dashes and underscores"`
	By   string `json:"by,omitempty" maxLength:"200" doc:"Who takes it on; without: api"`
	tenant.Change
}

// TenantChange is what is to change of a tenant.
type TenantChange struct {
	By string `json:"by,omitempty" maxLength:"200" doc:"Who changes it; without: api"`
	tenant.Change
}

// TenantInfo is a tenant with what it has spent and holds.
type TenantInfo struct {
	compute.Tenant
	Spending compute.Spending `json:"spending" doc:"What it has spent this month against its limit"`
	Bill     []tenant.Month   `json:"bill" nullable:"false" doc:"What was posted to it by calendar month (UTC), the newest first"`
	Held     int              `json:"held_units" doc:"Units that its jobs hold now"`
	Queued   int              `json:"queued_jobs" doc:"Its jobs that wait"`
}

// TokenOrder is a token to issue.
type TokenOrder struct {
	Name     string  `json:"name,omitempty" maxLength:"100" doc:"What it is for, such as laptop"`
	ExpiresS float64 `json:"expires_s,omitempty" minimum:"0" maximum:"3155760000" doc:"How long it is good, in seconds of wall time; 0: until it is revoked"`
	By       string  `json:"by,omitempty" maxLength:"200" doc:"Who issues it; without: api"`
}

// IssuedToken is a new token, which is shown this once.
type IssuedToken struct {
	tenant.Token
	Secret string `json:"token" doc:"The token itself. It is kept nowhere: whoever loses it asks for another"`
}

// Rotated says what a rotation of the vault's master key did.
type Rotated struct {
	Keys int `json:"keys" doc:"Keys of jobs that were wrapped anew"`
}

func (s *Server) tenantRoutes() {
	tenants := func() (Tenants, error) {
		if s.o.Tenants == nil {
			return nil, absent("tenants")
		}
		return s.o.Tenants, nil
	}
	info := func(ctx context.Context, name string) (*body[TenantInfo], error) {
		ts, err := tenants()
		if err != nil {
			return nil, err
		}
		t, err := ts.Get(name)
		if err != nil {
			return nil, problem(err)
		}
		i := TenantInfo{Tenant: t, Spending: ts.Spending(t)}
		if i.Bill, err = ts.Bill(ctx, name); err != nil {
			return nil, problem(err)
		}
		if s.o.Jobs != nil {
			js, err := s.o.Jobs.List(ctx, JobFilter{Tenant: name, Limit: 1 << 30})
			if err != nil {
				return nil, problem(err)
			}
			for _, j := range js {
				switch {
				case j.State == compute.Queued:
					i.Queued++
				case !j.State.Ended():
					i.Held += j.Units
				}
			}
		}
		return &body[TenantInfo]{i}, nil
	}

	huma.Register(s.api, operation("tenants", "GET", "/tenants", "tenants", "The tenants", "Sorted by name."),
		func(context.Context, *struct{}) (*body[Page[compute.Tenant]], error) {
			ts, err := tenants()
			if err != nil {
				return nil, err
			}
			all := ts.List()
			return pageOf(all, max(len(all), 1), func(t compute.Tenant) string { return t.Name }), nil
		})

	add := operation("addTenant", "POST", "/tenants", "tenants", "Take a tenant on",
		"It can do nothing yet: issue a token for it. What is not given has no limit, and its jobs run in containers.")
	add.DefaultStatus = http.StatusCreated
	huma.Register(s.api, add, func(ctx context.Context, in *struct{ Body TenantOrder }) (*body[compute.Tenant], error) {
		ts, err := tenants()
		if err != nil {
			return nil, err
		}
		return answer(ts.Add(ctx, in.Body.Apply(compute.Tenant{Name: in.Body.Name}), who(in.Body.By)))
	})

	huma.Register(s.api, operation("tenant", "GET", "/tenants/{name}", "tenants", "One tenant", "With what it has spent and holds."),
		func(ctx context.Context, in *TenantName) (*body[TenantInfo], error) { return info(ctx, in.Name) })

	huma.Register(s.api, operation("setTenant", "PATCH", "/tenants/{name}", "tenants", "Change a tenant",
		"What is not given stays as it is. The change counts from the next placement on; its version is counted up and all versions are kept."),
		func(ctx context.Context, in *struct {
			TenantName
			Body TenantChange
		},
		) (*body[compute.Tenant], error) {
			ts, err := tenants()
			if err != nil {
				return nil, err
			}
			return answer(ts.Change(ctx, in.Name, in.Body.Change, who(in.Body.By)))
		})

	huma.Register(s.api, operation("tokens", "GET", "/tenants/{name}/tokens", "tenants", "Tokens of a tenant", "Without what their holders show, which is kept nowhere."),
		func(_ context.Context, in *TenantName) (*body[Page[tenant.Token]], error) {
			ts, err := tenants()
			if err != nil {
				return nil, err
			}
			if _, err := ts.Get(in.Name); err != nil {
				return nil, problem(err)
			}
			all := ts.Tokens(in.Name)
			return pageOf(all, max(len(all), 1), func(t tenant.Token) string { return t.ID }), nil
		})

	issue := operation("issueToken", "POST", "/tenants/{name}/tokens", "tenants", "Issue a token", "The answer shows it, once.")
	issue.DefaultStatus = http.StatusCreated
	huma.Register(s.api, issue, func(ctx context.Context, in *struct {
		TenantName
		Body TokenOrder
	},
	) (*body[IssuedToken], error) {
		ts, err := tenants()
		if err != nil {
			return nil, err
		}
		good := time.Duration(in.Body.ExpiresS * float64(time.Second))
		t, shown, err := ts.Issue(ctx, in.Name, in.Body.Name, good, who(in.Body.By))
		return answer(IssuedToken{t, shown}, err)
	})

	huma.Register(s.api, operation("revokeToken", "DELETE", "/tokens/{id}", "tenants", "Revoke a token", "At once; what streams by it ends within seconds."),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"100" doc:"ID of the token"`
			By string `query:"by" maxLength:"200" doc:"Who; without: api"`
		},
		) (*body[tenant.Token], error) {
			ts, err := tenants()
			if err != nil {
				return nil, err
			}
			return answer(ts.Revoke(ctx, in.ID, who(in.By)))
		})

	huma.Register(s.api, operation("self", "GET", "/tenant", "tenants", "The tenant that calls", "Its policy and limits, what it has spent and holds."),
		func(ctx context.Context, _ *struct{}) (*body[TenantInfo], error) {
			c := CallerOf(ctx)
			if c.Tenant == "" {
				return nil, newProblem(http.StatusConflict, "the operator is no tenant", "sluice tenant show NAME shows one")
			}
			return info(ctx, c.Tenant)
		})

	huma.Register(s.api, operation("offers", "GET", "/offers", "tenants", "What can be bought", "Classes of units with their prices, and where they are."),
		func(ctx context.Context, _ *struct{}) (*body[Page[Offer]], error) {
			if s.o.Offers == nil {
				return nil, absent("jobs")
			}
			os, err := s.o.Offers(ctx)
			if err != nil {
				return nil, problem(err)
			}
			return pageOf(os, max(len(os), 1), func(o Offer) string { return o.Class }), nil
		})

	huma.Register(s.api, operation("rotateVault", "POST", "/vault/rotate", "tenants", "Change the master key of the vault",
		"The keys of all jobs' secrets are wrapped anew and the old master key is destroyed."),
		func(ctx context.Context, _ *struct{}) (*body[Rotated], error) {
			if s.o.RotateVault == nil {
				return nil, absent("a vault")
			}
			n, err := s.o.RotateVault(ctx)
			return answer(Rotated{n}, err)
		})
}
