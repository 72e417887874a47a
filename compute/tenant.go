package compute

import (
	"time"

	"sluice"
)

// Tenant is a client of the AI division and what it may do. The zero values of
// its limits mean no limit.
type Tenant struct {
	Name    string `json:"name"`
	Trusted bool   `json:"trusted"` // its jobs may run as processes of a host

	// Policy: no attested match, no placement, for a job, its checkpoint and its logs.
	Isolation Isolation         `json:"isolation,omitempty"` // at least this; "" is container, process where Trusted
	Regions   []string          `json:"regions,omitempty"`   // one of these; empty: any
	Labels    map[string]string `json:"labels,omitempty"`    // that every host must have
	Egress    Egress            `json:"egress,omitempty"`    // "" is internet, open where Trusted
	// EgressAllow is what its jobs may reach besides, where Egress is internet or none; each is a Reach.
	EgressAllow []string `json:"egress_allow,omitempty"`

	Weight      float64      `json:"weight,omitempty"`       // of its fair share; 0 counts as 1
	MaxPriority int          `json:"max_priority,omitempty"` // that its jobs may ask for
	MaxUnits    int          `json:"max_units,omitempty"`    // GPUs and CPU slots that it holds at once
	MaxQueued   int          `json:"max_queued,omitempty"`   // jobs that wait
	SpendLimit  sluice.Money `json:"spend_limit_micro_usd,omitempty"`

	Version   int       `json:"version"` // of this policy, counted up by each change
	CreatedAt time.Time `json:"created_at,omitzero"`
	Disabled  bool      `json:"disabled,omitempty"`
}

// Tenants is what is known of the clients. Spent is what was posted to a tenant
// since the begin of the period that its spending limit counts.
type Tenants interface {
	Tenant(name string) (Tenant, bool)
	Spent(name string) sluice.Money
}

// Placement is the record of a decision where a job goes: what was asked, by
// which policy, and what became of each host.
type Placement struct {
	Job           string            `json:"job"`
	Run           string            `json:"run,omitempty"` // empty: none was found
	At            time.Time         `json:"at"`
	Tenant        string            `json:"tenant"`
	PolicyVersion int               `json:"policy_version"`
	Asked         Resources         `json:"asked"`
	Isolation     Isolation         `json:"isolation"`
	Regions       []string          `json:"regions,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	Hosts         []string          `json:"hosts,omitempty"`   // chosen, by rank
	Refused       map[string]string `json:"refused,omitempty"` // host → why; hosts with the same reason may be joined by commas
}
