package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/tenant"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Caller is who makes a request. The zero Caller is nobody, and may do nothing.
type Caller struct {
	Operator bool   // whoever runs the site
	Tenant   string // a client, by the token that it showed
	Token    string // the token's public ID
	Name     string // the token's name

	shown string // the token itself, to be asked again while a stream lasts
}

// Sees says whether what belongs to a tenant may be seen and touched.
func (c Caller) Sees(tenant string) bool {
	return c.Operator || c.Tenant != "" && c.Tenant == tenant
}

// By names the caller for the record; given is what it says of itself, which
// counts for the operator only.
func (c Caller) By(given string) string {
	if c.Tenant == "" {
		return who(given)
	}
	if c.Name == "" {
		return c.Tenant
	}
	return c.Tenant + "/" + c.Name
}

type callerKey struct{}

// WithCaller puts the caller of a request into its context.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns who makes the request that the context belongs to; nobody
// where no request put one there.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Access classes of operations. One without a class is the operator's.
const (
	forOperator = "operator" // the operator alone
	forTenant   = "tenant"   // any tenant; the handler shows what is its own
	forJob      = "job"      // the tenant whose job the path names
	forAll      = "all"      // no token is asked for
)

// access declares the class of each operation, by its ID. A test holds that each
// route has one.
var access = map[string]string{
	"status": forOperator, "decisions": forOperator, "decision": forOperator, "alarms": forOperator, "history": forOperator,
	"machines": forOperator, "machine": forOperator, "pin": forOperator, "release": forOperator,
	"responses": forOperator, "curves": forOperator, "promise": forOperator, "previewFleet": forOperator, "orderFleet": forOperator,
	"curtail": forOperator, "previewCurtailment": forOperator, "curtailments": forOperator, "curtailment": forOperator, "cancelCurtailment": forOperator,
	"balance": forOperator, "entries": forOperator, "export": forOperator, "backup": forOperator,
	"hosts": forOperator, "host-token": forOperator, "host-revoke": forOperator, "host-lost": forOperator,
	"metrics": forOperator, "healthz": forAll,

	"tenants": forOperator, "tenant": forOperator, "addTenant": forOperator, "setTenant": forOperator,
	"tokens": forOperator, "issueToken": forOperator, "revokeToken": forOperator,
	"rotateVault": forOperator, "wipes": forOperator,

	"listen": forTenant, "self": forTenant, "offers": forTenant,
	"jobs": forTenant, "submit": forTenant, "checkJob": forTenant,
	"job": forJob, "cancelJob": forJob, "logs": forJob, "exec": forJob, "files": forJob, "file": forJob, "download": forJob,
	"wipe": forJob, "placements": forJob,
}

// accessNote is the extension of an operation that tells its class.
const accessNote = "x-access"

// admit lets a caller through to an operation, or answers for it. It stands
// before every operation of the API.
func (s *Server) admit(hc huma.Context, next func(huma.Context)) {
	c, op := CallerOf(hc.Context()), hc.Operation()
	if c.Operator {
		next(hc)
		return
	}
	_, w := humago.Unwrap(hc)
	class := access[op.OperationID]
	switch {
	case class == forAll:
	case c.Tenant == "":
		sendProblem(w, newProblem(http.StatusUnauthorized, "this site asks for a token", "give the command --token-file FILE"))
		return
	case class == forTenant:
	case class == forJob:
		if p := s.foreign(hc.Context(), hc.Param("id")); p != nil {
			sendProblem(w, p)
			return
		}
	default:
		sendProblem(w, newProblem(http.StatusForbidden, "only the operator of the site may do that", "a tenant sees its own jobs and what they cost: sluice job list"))
		return
	}
	next(hc)
}

// foreign answers nil for a job that the caller may see, and for any other the
// same as for one that does not exist.
func (s *Server) foreign(ctx context.Context, id string) *Problem {
	if s.o.Jobs == nil {
		return asProblem(absent("jobs"))
	}
	j, err := s.o.Jobs.Get(ctx, id)
	if err == nil && CallerOf(ctx).Sees(j.Tenant) {
		return nil
	}
	if err != nil && sluice.KindOf(err) != sluice.NotFound {
		return asProblem(err)
	}
	return newProblem(http.StatusNotFound, "you have no job "+clip(id), "sluice job list shows your jobs")
}

// tenantPaths says whether a path may lead a tenant to an operation, which is then
// judged by its class, or shows nothing of the site.
func tenantPaths(path string) bool { return open(path) || strings.HasPrefix(path, "/api/") }

// Owned is what an event is about when it is of one tenant alone.
type Owned interface{ ForTenant() string }

// mayHear says whether an event may be told to a caller.
func (c Caller) mayHear(data any) bool {
	if c.Operator {
		return true
	}
	switch v := data.(type) {
	case compute.Job:
		return c.Sees(v.Tenant)
	case Owned:
		return c.Sees(v.ForTenant())
	}
	return false
}

// stillIn says whether the caller would be let in again now.
func (s *Server) stillIn(c Caller) bool {
	if c.Tenant == "" || s.o.Tenants == nil {
		return true
	}
	t, _, err := s.o.Tenants.Authenticate(c.shown)
	return err == nil && t.Name == c.Tenant
}

// masked hides from a tenant what a decision says of hosts that are not its own
// jobs': their names, not the reasons.
func masked(c Caller, ps []compute.Placement) []compute.Placement {
	if c.Operator {
		return ps
	}
	out := slices.Clone(ps)
	for i := range out {
		var reasons []string
		for _, why := range out[i].Refused {
			reasons = append(reasons, why)
		}
		slices.Sort(reasons)
		out[i].Refused = map[string]string{}
		for n, why := range slices.Compact(reasons) {
			out[i].Refused[hostsNo(n)] = why
		}
	}
	return out
}

func hostsNo(n int) string { return "hosts " + string(rune('A'+n%26)) + strings.Repeat("'", n/26) }

// Tenants is who the clients are, as the server needs it. A *tenant.Registry is one.
type Tenants interface {
	// Authenticate returns whose token it is, or with Invalid why it opens nothing.
	Authenticate(token string) (compute.Tenant, tenant.Token, error)
	Get(name string) (compute.Tenant, error)
	List() []compute.Tenant
	Add(ctx context.Context, t compute.Tenant, by string) (compute.Tenant, error)
	Change(ctx context.Context, name string, c tenant.Change, by string) (compute.Tenant, error)
	Spending(t compute.Tenant) compute.Spending
	Bill(ctx context.Context, name string) ([]tenant.Month, error)
	Tokens(name string) []tenant.Token
	Revoke(ctx context.Context, id, by string) (tenant.Token, error)
	// Issue returns a new token, which is good for so long (0: for ever), and what
	// its holder shows.
	Issue(ctx context.Context, name, label string, good time.Duration, by string) (tenant.Token, string, error)
}
