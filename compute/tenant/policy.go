package tenant

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"sluice"
	"sluice/compute"
)

// Change is what is to change of a tenant; nil leaves a field as it is.
type Change struct {
	Trusted     *bool              `json:"trusted,omitempty" doc:"Its jobs may run as processes of a host"`
	Isolation   *compute.Isolation `json:"isolation,omitempty" enum:",process,container,sandbox" doc:"Least isolation; empty: container, process where trusted"`
	Regions     *[]string          `json:"regions,omitempty" maxItems:"100" doc:"Its jobs run in one of these; empty: anywhere"`
	Labels      *map[string]string `json:"labels,omitempty" maxProperties:"100" doc:"That every host must have"`
	Egress      *compute.Egress    `json:"egress,omitempty" enum:",none,internet,open,host" doc:"What its jobs may reach; empty: internet, open where trusted"`
	EgressAllow *[]string          `json:"egress_allow,omitempty" maxItems:"100" doc:"What its jobs may reach besides, where egress is internet or none, such as 10.1.2.0/24:8000-8010"`
	Weight      *float64           `json:"weight,omitempty" minimum:"0" maximum:"1000000" doc:"Of its fair share; 0 counts as 1"`
	MaxPriority *int               `json:"max_priority,omitempty" minimum:"0" maximum:"1000000" doc:"Highest priority that its jobs may ask for"`
	MaxUnits    *int               `json:"max_units,omitempty" minimum:"0" maximum:"10000000" doc:"GPUs and CPU slots that it holds at once; 0: no limit"`
	MaxQueued   *int               `json:"max_queued,omitempty" minimum:"0" maximum:"10000000" doc:"Jobs that wait; 0: no limit"`
	SpendLimit  *sluice.Money      `json:"spend_limit_micro_usd,omitempty" minimum:"0" doc:"In a calendar month (UTC), in millionths of a US dollar; 0: no limit"`
	Disabled    *bool              `json:"disabled,omitempty" doc:"Its tokens open nothing, and none of its jobs starts"`
}

// Apply returns the tenant with the change.
func (c Change) Apply(t compute.Tenant) compute.Tenant {
	set(&t.Trusted, c.Trusted)
	set(&t.Isolation, c.Isolation)
	set(&t.Egress, c.Egress)
	set(&t.Weight, c.Weight)
	set(&t.MaxPriority, c.MaxPriority)
	set(&t.MaxUnits, c.MaxUnits)
	set(&t.MaxQueued, c.MaxQueued)
	set(&t.SpendLimit, c.SpendLimit)
	set(&t.Disabled, c.Disabled)
	if c.Regions != nil {
		t.Regions = slices.Clone(*c.Regions)
	}
	if c.EgressAllow != nil {
		t.EgressAllow = slices.Clone(*c.EgressAllow)
	}
	if c.Labels != nil {
		t.Labels = maps.Clone(*c.Labels)
	}
	return t
}

func set[T any](field *T, v *T) {
	if v != nil {
		*field = *v
	}
}

func same(a, b compute.Tenant) bool {
	norm := func(t *compute.Tenant) {
		if len(t.Regions) == 0 {
			t.Regions = nil
		}
		if len(t.EgressAllow) == 0 {
			t.EgressAllow = nil
		}
		if len(t.Labels) == 0 {
			t.Labels = nil
		}
	}
	norm(&a)
	norm(&b)
	return reflect.DeepEqual(a, b)
}

var (
	nameForm  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	labelForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?$`)
)

// Operator is the name that the operator's own jobs go by where they have no
// other: no tenant has it.
const Operator = "operator"

// Validate says with Invalid what is wrong with a tenant.
func Validate(t compute.Tenant) error {
	bad := func(hint, format string, args ...any) error {
		return sluice.Errorf(sluice.Invalid, hint, "tenant "+clip(t.Name)+": "+format, args...)
	}
	if !nameForm.MatchString(t.Name) || t.Name == Operator {
		return bad("lower-case letters, digits, dots, dashes and underscores, up to 63, and not "+Operator, "this is no name for a tenant")
	}
	switch t.Isolation {
	case "", compute.IsolationContainer, compute.IsolationSandbox:
	case compute.IsolationNone:
		if !t.Trusted {
			return bad("mark it trusted, or ask for container or sandbox", "only a trusted tenant's jobs may run as processes of a host")
		}
	default:
		return bad("one of process, container, sandbox", "there is no isolation %q", t.Isolation)
	}
	switch t.Egress {
	case "", compute.EgressNone, compute.EgressInternet, compute.EgressOpen:
	case compute.EgressHost:
		if !t.Trusted {
			return bad("mark it trusted, or choose none, internet or open", "only a trusted tenant's jobs may use the host's own network")
		}
	default:
		return bad("one of none, internet, open, host", "there is no egress policy %q", t.Egress)
	}
	if e := t.Reaches(); len(t.EgressAllow) > 0 && e != compute.EgressNone && e != compute.EgressInternet {
		return bad("set egress to internet or none, or take egress_allow away", "egress_allow adds to internet and none; its egress is %s", e)
	}
	for _, s := range t.EgressAllow {
		if _, err := compute.ParseReach(s); err != nil {
			return fmt.Errorf("tenant %s: egress_allow: %w", clip(t.Name), err)
		}
	}
	if !(t.Weight >= 0 && t.Weight <= 1e6) || t.MaxPriority < 0 || t.MaxUnits < 0 || t.MaxQueued < 0 || t.SpendLimit < 0 {
		return bad("0 means no limit", "limits and weight are 0 or more")
	}
	for _, r := range t.Regions {
		if !labelForm.MatchString(r) {
			return bad("such as eu-de", "%q is no region", clip(r))
		}
	}
	for k, v := range t.Labels {
		if !labelForm.MatchString(k) || v != "" && !labelForm.MatchString(v) {
			return bad("letters, digits and . _ - /", "%q is no label", clip(k+"="+v))
		}
	}
	return nil
}

// clip shortens what a stranger sent, and makes it fit for a message.
func clip(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
