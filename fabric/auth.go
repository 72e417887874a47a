package fabric

import (
	"context"
	"crypto/subtle"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/time/rate"
)

// Bounds of joining. A site whose hosts all return at once is let in within
// seconds; somebody who guesses is not.
const (
	joinRate      = 200 // connections a second, of all
	joinBurst     = 1000
	failRate      = 1 // failed ones a second, of one address
	failBurst     = 10
	maxAddresses  = 10_000
	maxIDsPerHost = 16
	siteUser      = "site"
)

// gate lets agents into the embedded server. It is a server.Authentication.
type gate struct {
	now    func() time.Time
	secret string // of the site's own connection, in this process
	store  Tokens
	joined func(TokenRecord)

	mu     sync.Mutex
	tokens map[string][]TokenRecord // by host
	ids    map[string][]uint64      // of connections, by host
	all    *rate.Limiter
	failed map[string]*rate.Limiter // by address
}

func newGate(ctx context.Context, store Tokens, now func() time.Time, secret string) (*gate, error) {
	g := &gate{
		now: now, secret: secret, store: store, tokens: map[string][]TokenRecord{}, ids: map[string][]uint64{},
		all: rate.NewLimiter(joinRate, joinBurst), failed: map[string]*rate.Limiter{},
	}
	recs, err := store.LoadTokens(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range recs {
		g.tokens[r.Host] = append(g.tokens[r.Host], r)
	}
	return g, nil
}

// Check decides about a connection and what it may say.
func (g *gate) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if c.GetTLSConnectionState() == nil {
		// Without TLS there is only the pipe within this process.
		if o.Username != siteUser || subtle.ConstantTimeCompare([]byte(o.Password), []byte(g.secret)) != 1 {
			return false
		}
		c.RegisterUser(&server.User{Username: siteUser})
		return true
	}
	address := ""
	if a := c.RemoteAddress(); a != nil {
		address, _, _ = net.SplitHostPort(a.String())
	}
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.failed[address]; !g.all.AllowN(now, 1) || l != nil && l.TokensAt(now) < 1 {
		return false
	}
	if !g.admit(o.Username, o.Password, c.GetID(), now) {
		g.failure(address, now)
		return false
	}
	r := RightsOf(o.Username)
	c.RegisterUser(&server.User{Username: o.Username, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: r.Publish},
		Subscribe: &server.SubjectPermission{Allow: r.Subscribe},
		Response:  &server.ResponsePermission{MaxMsgs: 1, Expires: 5 * time.Minute},
	}})
	return true
}

// admit checks a secret against all tokens of the host. Callers hold mu.
func (g *gate) admit(host, secret string, id uint64, now time.Time) bool {
	found := -1
	recs := g.tokens[host]
	for i, r := range recs {
		if r.matches(secret) && r.Valid(now) {
			found = i
		}
	}
	if found < 0 {
		return false
	}
	if recs[found].JoinedAt.IsZero() {
		recs[found].JoinedAt = now.UTC()
		if g.joined != nil {
			go g.joined(recs[found])
		}
	}
	g.ids[host] = append(g.ids[host], id)
	if n := len(g.ids[host]) - maxIDsPerHost; n > 0 {
		g.ids[host] = slices.Delete(g.ids[host], 0, n)
	}
	return true
}

func (g *gate) failure(address string, now time.Time) {
	l := g.failed[address]
	if l == nil {
		if len(g.failed) >= maxAddresses {
			clear(g.failed)
		}
		l = rate.NewLimiter(failRate, failBurst)
		g.failed[address] = l
	}
	l.AllowN(now, 1)
}

// put stores a token and lets it in.
func (g *gate) put(ctx context.Context, r TokenRecord) error {
	if err := g.store.PutToken(ctx, r); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.tokens[r.Host], func(x TokenRecord) bool { return x.ID == r.ID })
	if i >= 0 {
		g.tokens[r.Host][i] = r
	} else {
		g.tokens[r.Host] = append(g.tokens[r.Host], r)
	}
	return nil
}

// revoke revokes all tokens of a host and returns the connections to cut.
func (g *gate) revoke(ctx context.Context, host string) (tokens int, ids []uint64, err error) {
	now := g.now().UTC()
	n, err := g.store.RevokeTokens(ctx, host, now)
	if err != nil {
		return 0, nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.tokens[host] {
		if r := &g.tokens[host][i]; r.RevokedAt.IsZero() {
			r.RevokedAt = now
		}
	}
	ids = g.ids[host]
	delete(g.ids, host)
	return n, ids, nil
}

// admitted says whether a host has a token that holds.
func (g *gate) admitted(host string) bool {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.tokens[host], func(r TokenRecord) bool { return r.Valid(now) })
}

// of returns what is known of a host's tokens.
func (g *gate) of(host string) []TokenRecord {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.tokens[host])
}
