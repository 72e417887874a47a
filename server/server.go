// Package server owns the HTTP side of a running site: the API under /api/v1
// with its OpenAPI document, server-sent events, metrics, health, the page, and
// who may reach them. It holds no state of the site: all it shows comes through
// the interfaces of this file, which the wiring satisfies.
package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"sluice"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
)

// Options describe a server. Site and Now are required; without Jobs, Books or
// Backup their routes answer 503.
type Options struct {
	Site   Site
	Jobs   Jobs
	Hosts  Hosts // nil: no other machines join
	Books  Books
	Backup Backup
	Now    func() time.Time // site time

	// Tenants are the clients that may call; nil: only the operator may. JobData is
	// what lies with their jobs, Offers what they may buy, RotateVault the change of
	// the master key of their secrets; without, their routes answer 503.
	Tenants     Tenants
	JobData     JobData
	Offers      func(ctx context.Context) ([]Offer, error)
	RotateVault func(ctx context.Context) (int, error)
	// Query answers Prometheus' HTTP API below /prometheus; nil: 503. It only reads.
	Query http.Handler
	// Figures are shown on /metrics besides the site's own.
	Figures []prometheus.Collector

	Page    fs.FS  // the built dashboard; nil or without index.html: a page says how to build it
	Token   string // bearer token that callers must show; empty: loopback callers only
	Version string // of the program, for the OpenAPI document
	TempDir string // where a backup lies while it is sent; empty: the system's

	// Timeouts of a connection, in wall time. Zero takes the default. Streams
	// (events, logs, exports, backups) are exempt from Read and Write: there each
	// single write must end within Write.
	ReadTimeout  time.Duration // of a request with its body, default 30 s
	WriteTimeout time.Duration // of a response, default 30 s
	IdleTimeout  time.Duration // between requests, default 2 min
	Heartbeat    time.Duration // of comments in a stream of events, default 15 s

	Log *slog.Logger // what net/http itself has to say; nil: nothing
}

// Server answers over HTTP for one site.
type Server struct {
	o        Options
	mux      *http.ServeMux
	api      huma.API
	spec     []byte // the OpenAPI document
	turns    *turns // what took how long
	figures  *prometheus.Registry
	streams  chan struct{}
	held     held // by tenant
	attempts attempts
	stop     context.Context // ends the streams
	halt     context.CancelFunc
}

// maxStreams bounds the events, logs and exports that are open at once: each
// holds a connection and a goroutine for as long as its client likes.
const maxStreams = 64

// shutdownGrace is how long running requests may take to end at a shutdown.
const shutdownGrace = 5 * time.Second

// New makes a server. It fails with Invalid when a required option is missing.
func New(o Options) (*Server, error) {
	if o.Site == nil || o.Now == nil {
		return nil, sluice.Errorf(sluice.Invalid, "set server.Options.Site and Now", "making the server: no site or no clock")
	}
	o.ReadTimeout = orElse(o.ReadTimeout, 30*time.Second)
	o.WriteTimeout = orElse(o.WriteTimeout, 30*time.Second)
	o.IdleTimeout = orElse(o.IdleTimeout, 2*time.Minute)
	o.Heartbeat = orElse(o.Heartbeat, 15*time.Second)
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, mux: http.NewServeMux(), turns: newTurns(), streams: make(chan struct{}, maxStreams)}
	s.stop, s.halt = context.WithCancel(context.Background())
	s.api = humago.New(s.mux, apiConfig(o.Version))
	s.api.UseMiddleware(s.admit)
	s.siteRoutes()
	s.machineRoutes()
	s.fleetRoutes()
	s.curtailmentRoutes()
	s.jobRoutes()
	s.jobDataRoutes()
	s.tenantRoutes()
	s.bookRoutes()
	s.hostRoutes()
	s.eventRoutes()
	spec, err := describe(s.api.OpenAPI())
	if err != nil {
		return nil, err
	}
	s.spec = spec
	s.mux.HandleFunc("GET /openapi.json", s.openAPI)
	s.mux.Handle("GET /metrics", s.metrics())
	s.mux.Handle(queryPrefix+"/", s.query())
	s.mux.HandleFunc("GET /healthz", health)
	s.mux.HandleFunc("/", s.page)
	return s, nil
}

func orElse(d, other time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return other
}

// Handler returns the whole server as a handler, access control included. It
// must be served over a real connection: what may be reached without a token
// depends on the address that the connection came in at.
func (s *Server) Handler() http.Handler { return s.guard(s.mux) }

// Serve answers on the listener until ctx ends, then ends the streams, lets
// running requests finish for a few seconds and returns nil. It refuses, with
// Invalid, a listener that is not on loopback when there is no token.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.o.Token == "" && !loopback(l.Addr()) {
		return sluice.Errorf(sluice.Invalid,
			"set server.token_file, or listen on 127.0.0.1", "listening on %s without a token would let anyone in", l.Addr())
	}
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: min(s.o.ReadTimeout, 5*time.Second),
		ReadTimeout:       s.o.ReadTimeout,
		WriteTimeout:      s.o.WriteTimeout,
		IdleTimeout:       s.o.IdleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
	heard := make(chan struct{})
	go func() { defer close(heard); s.turns.listen(s.stop, s.o.Site) }()
	defer func() { <-heard }()
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		s.halt()
		return &sluice.Error{Kind: sluice.Unavailable, Msg: "serving on " + l.Addr().String(), Cause: err}
	case <-ctx.Done():
	}
	s.halt()
	// The parent's context has ended; the grace needs one of its own.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		_ = srv.Close() // whoever still hangs has had the grace
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return &sluice.Error{Kind: sluice.Unavailable, Msg: "serving on " + l.Addr().String(), Cause: err}
	}
	return nil
}

// loopback says whether an address can be reached from this machine only.
func loopback(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

func health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"status":"ok"}` + "\n"))
}

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(s.spec)
}
