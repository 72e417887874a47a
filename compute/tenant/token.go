package tenant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
)

// Prefix begins every token, so that people and scanners for leaked secrets know
// one when they see it. Then come its public ID and its secret: slt_ID_SECRET.
const Prefix = "slt_"

// MaxTokens is how many tokens a tenant may have that are in force.
const MaxTokens = 100

// Token is what is known of a token. The token itself is shown once, when it is
// issued, and kept as a SHA-256 hash. One fast hash is right for it, other than
// for a password: its secret is 256 random bits, so there is nothing to guess
// that salt or slowness would make dearer, and callers do not wait for it.
type Token struct {
	ID        string     `json:"id"`
	Tenant    string     `json:"tenant"`
	Name      string     `json:"name,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	CreatedBy string     `json:"created_by,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"` // wall time, like all times of a token
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	RevokedBy string     `json:"revoked_by,omitempty"`
	UsedAt    *time.Time `json:"used_at,omitempty"` // to the minute or so
}

// InForce says whether the token opens anything at that instant of wall time.
func (t Token) InForce(at time.Time) bool {
	return t.RevokedAt == nil && (t.ExpiresAt == nil || at.Before(*t.ExpiresAt))
}

// Issue makes a token for the tenant that is good for so long, 0 for ever, and
// returns it with what its holder shows; nobody can read that again.
// Errors: NotFound, Invalid, Conflict where it has too many.
func (r *Registry) Issue(ctx context.Context, tenant, name string, good time.Duration, by string) (Token, string, error) {
	r.write.Lock()
	defer r.write.Unlock()
	if _, err := r.Get(tenant); err != nil {
		return Token{}, "", err
	}
	if good < 0 || len(name) > 100 {
		return Token{}, "", sluice.Errorf(sluice.Invalid, "such as --expires 720h --name laptop", "a token's name is up to 100 characters and it expires in the future")
	}
	now := r.wall().UTC().Truncate(time.Second)
	n := 0
	for _, t := range r.Tokens(tenant) {
		if t.InForce(now) {
			n++
		}
	}
	if n >= MaxTokens {
		return Token{}, "", sluice.Errorf(sluice.Conflict, "revoke one that is not used: sluice tenant tokens "+tenant, "tenant %s has %d tokens in force", tenant, n)
	}
	id, secret := make([]byte, 6), make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	_, _ = rand.Read(secret)
	rec := Record{Token: Token{ID: hex.EncodeToString(id), Tenant: tenant, Name: name, CreatedAt: now, CreatedBy: by}}
	if good > 0 {
		at := now.Add(good)
		rec.ExpiresAt = &at
	}
	shown := Prefix + rec.ID + "_" + base64.RawURLEncoding.EncodeToString(secret)
	rec.Hash = sha256.Sum256([]byte(shown))
	if err := r.store.PutToken(ctx, rec); err != nil {
		return Token{}, "", fmt.Errorf("storing a token of %s: %w", tenant, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens[rec.ID] = &rec
	return rec.Token, shown, nil
}

// Tokens returns the tenant's tokens, the newest first.
func (r *Registry) Tokens(tenant string) []Token {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := []Token{}
	for _, rec := range r.tokens {
		if rec.Tenant == tenant {
			out = append(out, rec.Token)
		}
	}
	slices.SortFunc(out, func(a, b Token) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// Revoke ends a token at once; one that is revoked already stays so. Error: NotFound.
func (r *Registry) Revoke(ctx context.Context, id, by string) (Token, error) {
	r.write.Lock()
	defer r.write.Unlock()
	r.mu.RLock()
	old := r.tokens[id]
	r.mu.RUnlock()
	if old == nil {
		return Token{}, sluice.Errorf(sluice.NotFound, "sluice tenant tokens NAME shows them", "there is no token %q", clip(id))
	}
	if old.RevokedAt != nil {
		return old.Token, nil
	}
	rec, now := *old, r.wall().UTC()
	rec.RevokedAt, rec.RevokedBy = &now, by
	if err := r.store.PutToken(ctx, rec); err != nil {
		return Token{}, fmt.Errorf("revoking token %s: %w", id, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens[id] = &rec
	return rec.Token, nil
}

// Looks says whether a text has the form of a tenant's token, good or not.
func Looks(text string) bool { return strings.HasPrefix(text, Prefix) }

// nobody is compared against where there is no such token, so that the time to
// refuse tells nothing of which IDs there are.
var nobody = &Record{}

// Authenticate returns whose token it is. The token is found by its public ID and
// its hash compared in constant time. Only who shows the right secret learns that
// it has expired, or why else it opens nothing. All errors are Invalid.
func (r *Registry) Authenticate(text string) (compute.Tenant, Token, error) {
	unknown := sluice.Errorf(sluice.Invalid, "ask the operator of the site for a new one", "this token is not known here")
	id, _, _ := strings.Cut(strings.TrimPrefix(text, Prefix), "_")
	given := sha256.Sum256([]byte(text))
	r.mu.RLock()
	rec := r.tokens[id]
	if rec == nil {
		rec = nobody
	}
	right := subtle.ConstantTimeCompare(given[:], rec.Hash[:]) == 1 && rec != nobody
	token := rec.Token
	t, ok := r.tenants[token.Tenant]
	last := r.used[id]
	r.mu.RUnlock()
	now := r.wall()
	switch {
	case !right || !ok:
		return compute.Tenant{}, Token{}, unknown
	case token.RevokedAt != nil:
		return compute.Tenant{}, token, sluice.Errorf(sluice.Invalid, "ask the operator of the site for a new one", "this token was revoked")
	case !token.InForce(now):
		return compute.Tenant{}, token, sluice.Errorf(sluice.Invalid, "ask the operator of the site for a new one", "this token expired at %s", token.ExpiresAt.UTC().Format(time.RFC3339))
	case t.Disabled:
		return compute.Tenant{}, token, sluice.Errorf(sluice.Invalid, "ask the operator of the site", "the tenant %s is disabled", t.Name)
	}
	if now.Sub(last) >= time.Minute && (token.UsedAt == nil || now.Sub(*token.UsedAt) >= time.Minute) {
		r.mu.Lock()
		r.used[id] = now.UTC()
		r.mu.Unlock()
	}
	return t, token, nil
}

// Flush stores when tokens were last used. A request does not wait for the disk
// to be told that; call this every few seconds.
func (r *Registry) Flush(ctx context.Context) error {
	r.write.Lock()
	defer r.write.Unlock()
	r.mu.RLock()
	at := maps.Clone(r.used)
	r.mu.RUnlock()
	if len(at) == 0 {
		return nil
	}
	if err := r.store.MarkUsed(ctx, at); err != nil {
		return fmt.Errorf("storing when tokens were used: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, t := range at {
		if rec := r.tokens[id]; rec != nil {
			next := *rec
			next.UsedAt = &t
			r.tokens[id] = &next
		}
		if r.used[id].Equal(t) {
			delete(r.used, id)
		}
	}
	return nil
}
