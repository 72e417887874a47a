package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/compute/tenant"
)

// policy lets the page load from its own server only: what it shows (names of
// jobs, texts of errors) comes from many hands.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"

// guard lets through who may come in.
//
// Without a token everything rests on the connection being local. A web page
// that the operator visits runs on this machine too, so it is kept out by what
// browsers cannot forge: the Host that it believes to talk to (a name of its
// own, where it rebinds DNS to 127.0.0.1), the Origin it comes from, and the
// content type that a form cannot send.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if !open(r.URL.Path) {
			h.Set("Cache-Control", "no-store")
		}
		caller, p := s.caller(r)
		if p == nil {
			p = s.refuse(r)
		}
		if p != nil {
			switch p.Status {
			case http.StatusUnauthorized:
				h.Set("WWW-Authenticate", `Bearer realm="sluice"`)
			case http.StatusTooManyRequests:
				h.Set("Retry-After", strconv.Itoa(int(failureAfter.Seconds())))
			}
			sendProblem(w, p)
			return
		}
		next.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), caller)))
	})
}

// open says whether a path shows nothing of the site: the page itself (which
// must load before it can ask for the token), its parts, and the description of
// the API.
func open(path string) bool {
	return path != "/metrics" && path != "/api" && !strings.HasPrefix(path, "/api/") &&
		path != queryPrefix && !strings.HasPrefix(path, queryPrefix+"/")
}

// caller returns who makes the request, or why nobody may by what it shows. A
// tenant is known by its token; the operator by the site's own, or where there is
// none by coming from this machine.
func (s *Server) caller(r *http.Request) (Caller, *Problem) {
	if s.o.Token == "" {
		if p := local(r); p != nil {
			return Caller{}, p
		}
	}
	if open(r.URL.Path) {
		return Caller{}, nil
	}
	shown, has := bearer(r)
	refused := func(text, hint string) (Caller, *Problem) {
		if !has {
			return Caller{}, newProblem(http.StatusUnauthorized, text, hint)
		}
		now := time.Now()
		if s.attempts.wait(r.RemoteAddr, now) > 0 {
			return Caller{}, newProblem(http.StatusTooManyRequests, "too many failed logins from this address", "wait a while; is the token right?")
		}
		s.attempts.failed(r.RemoteAddr, now)
		return Caller{}, newProblem(http.StatusUnauthorized, text, hint)
	}
	if has && tenant.Looks(shown) {
		if s.o.Tenants == nil {
			return refused("this site has no tenants", "")
		}
		// A tenant's secret cannot be guessed: whoever has it is let in, however
		// often others have failed from the same address.
		t, k, err := s.o.Tenants.Authenticate(shown)
		if err != nil {
			p := asProblem(err)
			return refused(p.Detail, p.Hint)
		}
		if !tenantPaths(r.URL.Path) {
			return Caller{}, newProblem(http.StatusForbidden, "only the operator of the site may see that", "")
		}
		return Caller{Tenant: t.Name, Token: k.ID, Name: k.Name, shown: shown}, nil
	}
	if s.o.Token == "" {
		return Caller{Operator: true}, nil
	}
	// The operator's token may be weak: too many guesses are not even compared.
	if has && s.attempts.wait(r.RemoteAddr, time.Now()) == 0 && s.authorized(shown) {
		return Caller{Operator: true}, nil
	}
	return refused("this site asks for a token", "send it as Authorization: Bearer, or give the command --token-file FILE")
}

// refuse returns what about a request is wrong whoever makes it, or nil.
func (s *Server) refuse(r *http.Request) *Problem {
	if o := r.Header.Get("Origin"); o != "" {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) || (s.o.Token == "" && u.Scheme != "http") {
			return newProblem(http.StatusForbidden, "requests from the web page "+clip(o)+" are refused", "")
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		// A link from elsewhere may open the page, which then asks by itself.
		if !open(r.URL.Path) {
			return newProblem(http.StatusForbidden, "requests from another web page are refused", "")
		}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return jsonOnly(r)
	}
	return nil
}

// local refuses what does not come from this machine, by this server's own name.
func local(r *http.Request) *Problem {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !loopback(addr) {
		return newProblem(http.StatusForbidden, "without a token this site answers on loopback only", "")
	}
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = strings.Trim(r.Host, "[]"), "80"
	}
	_, own, _ := net.SplitHostPort(addr.String())
	ip, err := netip.ParseAddr(host)
	named := err == nil && ip.Zone() == "" && ip.IsLoopback() || strings.EqualFold(host, "localhost")
	if !named || port != own {
		return newProblem(http.StatusForbidden, "the Host "+clip(r.Host)+" is not this server",
			"use http://127.0.0.1:"+own)
	}
	return nil
}

// bearer returns the token that a request shows, and whether it shows any.
func bearer(r *http.Request) (string, bool) {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	given = strings.TrimSpace(given)
	return given, strings.EqualFold(scheme, "Bearer") && given != ""
}

// authorized compares in constant time; the digests make the lengths equal.
func (s *Server) authorized(given string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s.o.Token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// jsonOnly refuses writes in any form that a cross-site form can send.
func jsonOnly(r *http.Request) *Problem {
	ct := r.Header.Get("Content-Type")
	if ct == "" && r.ContentLength == 0 {
		return nil
	}
	t, _, err := mime.ParseMediaType(ct)
	if err == nil && t == "application/x-www-form-urlencoded" && strings.HasPrefix(r.URL.Path, queryPrefix+"/") {
		return nil // Prometheus' API takes queries so, and there is nothing there to change
	}
	if err != nil || t != "application/json" {
		return newProblem(http.StatusUnsupportedMediaType, "the body must be JSON", "send Content-Type: application/json")
	}
	return nil
}

// clip shortens what a stranger sent before it goes into a message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
