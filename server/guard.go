package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
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
		if p := s.refuse(r); p != nil {
			if p.Status == http.StatusUnauthorized {
				h.Set("WWW-Authenticate", `Bearer realm="sluice"`)
			}
			sendProblem(w, p)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// open says whether a path shows nothing of the site: the page itself (which
// must load before it can ask for the token), its parts, and the description of
// the API.
func open(path string) bool {
	return path != "/metrics" && path != "/api" && !strings.HasPrefix(path, "/api/") &&
		path != queryPrefix && !strings.HasPrefix(path, queryPrefix+"/")
}

// refuse returns why the request may not come in, or nil.
func (s *Server) refuse(r *http.Request) *Problem {
	if s.o.Token == "" {
		if p := local(r); p != nil {
			return p
		}
	} else if !open(r.URL.Path) && !s.authorized(r) {
		return newProblem(http.StatusUnauthorized, "this site asks for a token",
			"send it as Authorization: Bearer, or give the command --token-file FILE")
	}
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

// authorized compares in constant time; the digests make the lengths equal.
func (s *Server) authorized(r *http.Request) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	a, b := sha256.Sum256([]byte(strings.TrimSpace(given))), sha256.Sum256([]byte(s.o.Token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && strings.EqualFold(scheme, "Bearer")
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
