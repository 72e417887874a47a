package fabric

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"sluice"
)

// tokenMark begins every join token, so that one that leaks is found by a search.
const tokenMark = "sluice-join"

const secretBytes = 32

// JoinToken is what a host shows to join. Its text holds the secret: it is shown
// once and stored nowhere on the site's side.
type JoinToken struct {
	Host     string
	Secret   string // base64url of 32 random bytes
	CA       string // SHA-256 of the authority's certificate, hex; empty with External
	External bool   // the server is a cluster of the operator's own
}

// NewToken makes a token for a host.
func NewToken(host, ca string, external bool) (JoinToken, error) {
	if err := CheckHost(host); err != nil {
		return JoinToken{}, err
	}
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b)
	return JoinToken{Host: host, Secret: base64.RawURLEncoding.EncodeToString(b), CA: ca, External: external}, nil
}

// Text is the token as it is copied to the host.
func (t JoinToken) Text() string {
	kind, ca := "e", t.CA
	if t.External {
		kind = "x"
	}
	if ca == "" {
		ca = "-"
	}
	return strings.Join([]string{tokenMark, t.Host, kind, t.Secret, ca}, ".")
}

// String hides the secret, so that no log has it by mistake.
func (t JoinToken) String() string { return tokenMark + "." + t.Host + ".[secret]" }

// ParseToken reads the text of a token. Its errors never quote it.
func ParseToken(text string) (JoinToken, error) {
	bad := func(why string) (JoinToken, error) {
		return JoinToken{}, sluice.Errorf(sluice.Invalid, "sluice host token NAME on the site makes one; copy the whole line", "the join token %s", why)
	}
	if len(text) > 512 {
		return bad("is too long")
	}
	p := strings.Split(strings.TrimSpace(text), ".")
	n := len(p)
	if n < 5 || p[0] != tokenMark {
		return bad("is not one: it begins with " + tokenMark)
	}
	t := JoinToken{Host: strings.Join(p[1:n-3], "."), Secret: p[n-2], CA: p[n-1], External: p[n-3] == "x"}
	secret, err := base64.RawURLEncoding.DecodeString(t.Secret)
	ca, caErr := hex.DecodeString(t.CA)
	switch {
	case CheckHost(t.Host) != nil:
		return bad("names no host")
	case p[n-3] != "e" && p[n-3] != "x":
		return bad("is of a kind that this version does not know")
	case err != nil || len(secret) != secretBytes:
		return bad("is not complete")
	case t.External && t.CA == "-":
		t.CA = ""
	case t.External || caErr != nil || len(ca) != sha256.Size || strings.ToLower(t.CA) != t.CA:
		return bad("is not complete at its end")
	}
	return t, nil
}

// ReadToken reads a token's file: one line, readable by its owner alone.
func ReadToken(path string) (JoinToken, error) {
	f, err := os.Open(path)
	if err != nil {
		return JoinToken{}, sluice.Errorf(sluice.Invalid, "write the line that sluice host token printed into it", "the token's file: %v", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return JoinToken{}, sluice.Errorf(sluice.Invalid, "chmod 600 "+path, "the token's file %s can be read by others", path)
	}
	line, err := bufio.NewReader(io.LimitReader(f, 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return JoinToken{}, sluice.Errorf(sluice.Invalid, "", "the token's file: %v", err)
	}
	return ParseToken(line)
}

// TokenRecord is what the site keeps of a token.
type TokenRecord struct {
	ID        string    `json:"id"` // names it without telling it
	Host      string    `json:"host"`
	Hash      [32]byte  `json:"-"` // SHA-256 of the secret: 256 random bits need no slow hash
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // to join by for the first time; zero: never
	JoinedAt  time.Time `json:"joined_at,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	By        string    `json:"by,omitempty"`
}

// Record returns what is stored of a new token. Errors: none.
func (t JoinToken) Record(now, expires time.Time, by string) TokenRecord {
	h := t.hash()
	return TokenRecord{ID: hex.EncodeToString(h[:6]), Host: t.Host, Hash: h, CreatedAt: now.UTC(), ExpiresAt: expires, By: by}
}

func (t JoinToken) hash() [32]byte { return sha256.Sum256([]byte(t.Secret)) }

// Valid says whether the token holds at that time.
func (r TokenRecord) Valid(now time.Time) bool {
	return r.RevokedAt.IsZero() && (!r.JoinedAt.IsZero() || r.ExpiresAt.IsZero() || now.Before(r.ExpiresAt))
}

// matches compares in constant time.
func (r TokenRecord) matches(secret string) bool {
	h := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(h[:], r.Hash[:]) == 1
}

// Tokens keeps the records. Package store implements it.
type Tokens interface {
	// PutToken inserts or replaces a record by its ID.
	PutToken(ctx context.Context, r TokenRecord) error
	LoadTokens(ctx context.Context) ([]TokenRecord, error)
	// RevokeTokens revokes all tokens of a host and says how many those were.
	RevokeTokens(ctx context.Context, host string, at time.Time) (int, error)
}
