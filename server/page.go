package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// notBuilt is the page of a binary without the dashboard.
const notBuilt = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sluice</title></head>
<body><h1>Sluice is running</h1>
<p>The dashboard was not built into this binary. Build it with <code>make ui</code> and then the binary with <code>make build</code>.</p>
<p>The site itself is all here: <a href="/api/v1/site">/api/v1/site</a>, <a href="/openapi.json">/openapi.json</a>, <a href="/metrics">/metrics</a>, or <code>sluice status</code> in a terminal.</p>
</body></html>
`

// types are what a dashboard is made of. The system's table is not asked first:
// it differs between machines, and nosniff makes a wrong type fatal.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".woff2": "font/woff2",
	".json": "application/json", ".webmanifest": "application/manifest+json", ".txt": "text/plain; charset=utf-8",
}

// page serves the dashboard and answers for every path that nothing else has.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/api" || strings.HasPrefix(r.URL.Path, "/api/") || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
		s.noRoute(w, r)
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if name == "" {
		name = "index.html"
	}
	b, err := s.asset(name)
	if err != nil {
		if name != "index.html" {
			writeProblem(w, http.StatusNotFound, "there is no page "+clip(r.URL.Path), "the dashboard is at /")
			return
		}
		b = []byte(notBuilt)
	}
	t := types[path.Ext(name)]
	if t == "" {
		t = mime.TypeByExtension(path.Ext(name))
	}
	if t == "" {
		t = "application/octet-stream"
	}
	w.Header().Set("Content-Type", t)
	if strings.HasPrefix(name, "assets/") {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // their names carry their digest
	} else {
		sum := sha256.Sum256(b)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:12])+`"`)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (s *Server) asset(name string) ([]byte, error) {
	if s.o.Page == nil || !fs.ValidPath(name) {
		return nil, fs.ErrNotExist
	}
	return fs.ReadFile(s.o.Page, name) // an error for a folder: nothing is listed
}

// noRoute answers 405 where another method would have found a route, else 404.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = m
		if _, pattern := s.mux.Handler(other); pattern != "/" {
			allow = append(allow, m)
		}
	}
	if len(allow) > 0 {
		w.Header().Set("Allow", strings.Join(allow, ", "))
		writeProblem(w, http.StatusMethodNotAllowed, r.Method+" is not possible here", "possible: "+strings.Join(allow, ", "))
		return
	}
	writeProblem(w, http.StatusNotFound, "there is no "+clip(r.URL.Path), "GET /openapi.json lists what there is")
}
