package antminer

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"strings"
)

// challenge is a server's demand for digest credentials (RFC 7616), kept to
// answer the next requests without asking again.
type challenge struct {
	realm, nonce, opaque, algorithm string
	qop                             bool // auth is offered; without it the answer is RFC 2069's
	count                           uint32
}

// parseChallenge returns the first digest challenge of the headers that can be
// answered, nil where there is none.
func parseChallenge(h http.Header) *challenge {
	for _, line := range h.Values("WWW-Authenticate") {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.EqualFold(scheme, "Digest") {
			continue
		}
		p := authParams(rest)
		c := &challenge{realm: p["realm"], nonce: p["nonce"], opaque: p["opaque"], algorithm: p["algorithm"]}
		offered, has := p["qop"]
		for q := range strings.SplitSeq(offered, ",") {
			c.qop = c.qop || strings.EqualFold(strings.TrimSpace(q), "auth")
		}
		if c.nonce == "" || c.hash() == nil || (has && !c.qop) {
			continue
		}
		return c
	}
	return nil
}

// authParams reads key=value and key="quoted value" pairs.
func authParams(s string) map[string]string {
	out := map[string]string{}
	for s = strings.TrimLeft(s, " ,"); s != ""; s = strings.TrimLeft(s, " ,") {
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			break
		}
		key = strings.ToLower(strings.TrimSpace(key))
		rest = strings.TrimLeft(rest, " ")
		var val strings.Builder
		if strings.HasPrefix(rest, `"`) {
			i := 1
			for ; i < len(rest) && rest[i] != '"'; i++ {
				if rest[i] == '\\' && i+1 < len(rest) {
					i++
				}
				val.WriteByte(rest[i])
			}
			s = rest[min(i+1, len(rest)):]
		} else {
			v, r, _ := strings.Cut(rest, ",")
			val.WriteString(strings.TrimSpace(v))
			s = r
		}
		out[key] = val.String()
	}
	return out
}

func (c *challenge) hash() hash.Hash {
	switch strings.ToUpper(c.algorithm) {
	case "", "MD5":
		return md5.New()
	case "SHA-256":
		return sha256.New()
	}
	return nil
}

func (c *challenge) digest(parts ...string) string {
	h := c.hash()
	h.Write([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(h.Sum(nil))
}

// authorize returns the Authorization header for one request.
func (c *challenge) authorize(method, uri, user, password string) string {
	var r [8]byte
	_, _ = rand.Read(r[:]) // does not fail since Go 1.24
	c.count++
	return c.answer(method, uri, user, password, hex.EncodeToString(r[:]), c.count)
}

func (c *challenge) answer(method, uri, user, password, cnonce string, count uint32) string {
	ha1 := c.digest(user, c.realm, password)
	ha2 := c.digest(method, uri)
	nc := fmt.Sprintf("%08x", count)
	response := c.digest(ha1, c.nonce, ha2)
	if c.qop {
		response = c.digest(ha1, c.nonce, nc, cnonce, "auth", ha2)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"`,
		quote(user), quote(c.realm), quote(c.nonce), uri, response)
	if c.algorithm != "" {
		b.WriteString(", algorithm=" + c.algorithm)
	}
	if c.opaque != "" {
		b.WriteString(`, opaque="` + quote(c.opaque) + `"`)
	}
	if c.qop {
		fmt.Fprintf(&b, `, qop=auth, nc=%s, cnonce="%s"`, nc, cnonce)
	}
	return b.String()
}

var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "")

func quote(s string) string { return quoted.Replace(s) }

// Answer returns the Authorization header that answers the digest challenge of
// a reply's headers, false where there is none that can be answered.
func Answer(h http.Header, method, uri, user, password string) (string, bool) {
	c := parseChallenge(h)
	if c == nil {
		return "", false
	}
	return c.authorize(method, uri, user, password), true
}
