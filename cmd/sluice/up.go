package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/compute"
	"sluice/config"
	"sluice/feed"
	"sluice/history"
	"sluice/server"
	"sluice/site"
	"sluice/store"
	"sluice/ui"
)

// upFlags are the options of `sluice up`.
type upFlags struct {
	demo      bool
	config    string
	speed     float64
	start     string
	listen    string
	data      string
	tokenFile string
	verbose   bool
	instant   bool // virtual devices answer and obey at once; for measurements only
}

func upCmd() *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use:   "up",
		Short: "Run a site until Ctrl-C",
		Long: `Run a site until Ctrl-C. With --demo it is a whole virtual site, 14 MW with 4,000
miners and 240 GPU hosts, over the ERCOT West prices of August 2023; with --config
it is the site that the file describes. A demo's data never mix with a real site's.`,
		Example: "  sluice up --demo\n  sluice up --demo --speed 300 --start 2023-08-25T16:00:00Z\n  sluice up --config sluice.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return up(c.Context(), f, c.OutOrStdout(), c.ErrOrStderr(), c.Flags().Changed("listen"))
		},
	}
	c.Flags().BoolVar(&f.demo, "demo", false, "run the virtual site")
	c.Flags().StringVar(&f.config, "config", "", "run the site of this `FILE` (sluice.yaml)")
	c.Flags().Float64Var(&f.speed, "speed", 60, "demo: virtual seconds per second")
	c.Flags().StringVar(&f.start, "start", "", "demo: where in history to start (`TIME`, RFC 3339), 2023-08-14 to 2023-08-27")
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8420", "`ADDRESS` of the page and the API")
	c.Flags().StringVar(&f.data, "data", "", "data folder `DIR` (default: one for each site under ~/.local/share/sluice)")
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "`FILE` with the token that callers must show; required to listen beyond loopback")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log more")
	return c
}

// parts are what a demo and a real site have of their own; everything else of
// `sluice up` is the same code for both.
type parts struct {
	options   site.Options // without Store and Compute
	clock     *sluice.Clock
	hosts     []compute.Host
	executors map[string]compute.Executor
	joined    *joined         // nil: no other machine joins
	rates     map[string]rate // by class of hosts
	// recorded are the series of the price of power that the forecast may learn
	// from, in a currency of which one is usdPer USD.
	recorded map[feed.Quantity]history.Spec
	usdPer   float64
	// telemetry is what is kept of the readings.
	telemetry config.Telemetry
	privacy   config.Privacy
	tick      time.Duration // wall time of a turn
	poll      time.Duration // wall time of a sweep over all machines
	banner    string
	// containers says which isolations the hosts give, for the banner.
	containers string
	// background runs with the site until ctx ends: feeding it virtual work.
	background func(ctx context.Context, s *running)
	attach     func(s *running) error                     // once the compute service is there
	prepare    []func(dir string, log *slog.Logger) error // before it, with the data folder
	hostPower  func(host string) (sluice.Watts, bool)     // nil: no host has a meter
	hostLimits compute.HostLimits                         // nil: no host has a controller that limits it
	// hostReadings are what hosts measure of themselves.
	hostReadings *hostReadings
	alongside    []func(ctx context.Context, s *running) // as background
	close        func()
}

// rate is what a class of hosts sells its units for, USD per unit and hour.
type rate struct{ firm, spot float64 }

// running is a site with all that it needs.
type running struct {
	parts   *parts
	site    *site.Site
	jobs    *compute.Service
	outlook *outlook
	db      *store.DB
	clients *clients
	records *recorder // nil: none
	log     *slog.Logger
}

func up(ctx context.Context, f upFlags, out, errOut io.Writer, listenSet bool) error {
	if err := f.check(); err != nil {
		return err
	}
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: level}))
	var cfg *config.Config
	name := demoName
	if !f.demo {
		var err error
		if cfg, err = loadConfig(f.config); err != nil {
			return err
		}
		name = cfg.Site.Name
		if !listenSet && cfg.Server.Listen != "" {
			f.listen = cfg.Server.Listen
		}
		if f.tokenFile == "" {
			f.tokenFile = cfg.Server.TokenFile
		}
	}
	token, err := f.token()
	if err != nil {
		return err
	}
	// The port first: nothing is touched when somebody else has it.
	l, err := listen(ctx, f.listen)
	if err != nil {
		return err
	}
	defer l.Close()
	dir, err := dataDir(f.data, f.demo, name)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, dir, store.Options{Demo: f.demo, Site: name})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var p *parts
	if f.demo {
		p, err = demoParts(ctx, f, db)
	} else {
		p, err = realParts(cfg)
	}
	if err != nil {
		return err
	}
	defer func() { p.close() }()
	if cfg != nil {
		if err := p.withFabric(ctx, cfg, db, log); err != nil {
			return err
		}
	}
	if cfg != nil { // only now: a start that is refused says why in one line
		for i, w := range cfg.Warnings {
			if i == 3 && len(cfg.Warnings) > 4 {
				fmt.Fprintf(errOut, "sluice: and %d warnings more: sluice config check %s lists them\n", len(cfg.Warnings)-i, f.config)
				break
			}
			fmt.Fprintln(errOut, "sluice: warning: "+w.Error())
		}
	}
	r, err := begin(ctx, p, db, log)
	if err != nil {
		return err
	}
	return r.serve(ctx, l, token, out)
}

func (f *upFlags) check() error {
	switch {
	case f.demo == (f.config != ""):
		return sluice.Errorf(sluice.Invalid, "`sluice up --demo` runs the virtual site, `sluice up --config sluice.yaml` a real one", "give either --demo or --config")
	case !f.demo && f.start != "":
		return sluice.Errorf(sluice.Invalid, "", "--start is of the demo only: a real site runs now")
	case f.speed < 0.1 || f.speed > 3600:
		return sluice.Errorf(sluice.Invalid, "give 0.1 to 3600 virtual seconds per second", "--speed %g", f.speed)
	}
	return nil
}

// token reads the token that callers must show; without a file only loopback is
// served.
func (f *upFlags) token() (string, error) {
	if f.tokenFile != "" {
		return server.ReadToken(f.tokenFile)
	}
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return "", sluice.Errorf(sluice.Invalid, "give host:port, such as 127.0.0.1:8420", "--listen %q: %v", f.listen, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", sluice.Errorf(sluice.Invalid, "write a token into a file of mode 0600 and give it with --token-file", "--listen %s is not loopback: everybody who can reach it could run the site", f.listen)
	}
	return "", nil
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "is Sluice running already? give another address with --listen", "cannot listen on %s: %v", addr, rootCause(err))
	}
	return l, nil
}

// rootCause is the innermost error: what a person needs of a chain of net errors.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// dataDir is where the site keeps its state.
func dataDir(given string, demo bool, name string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	base := os.Getenv("XDG_DATA_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", sluice.Errorf(sluice.Invalid, "give a data folder with --data", "there is no home folder: %v", err)
		}
		base = filepath.Join(home, ".local", "share")
	}
	if demo {
		return filepath.Join(base, "sluice", "demo"), nil
	}
	return filepath.Join(base, "sluice", "site-"+regexp.MustCompile(`[^A-Za-z0-9._-]+`).ReplaceAllString(name, "_")), nil
}

// begin makes a running site of its parts: jobs that still run are attached
// again, then the controller takes up where it was left.
func begin(ctx context.Context, p *parts, db *store.DB, log *slog.Logger) (*running, error) {
	r := &running{parts: p, db: db, log: log}
	for _, prepare := range p.prepare {
		if err := prepare(db.Dir(), log); err != nil {
			return nil, err
		}
	}
	now := p.clock.Now()
	var err error
	if r.clients, err = openClients(ctx, db, p.privacy, p.clock.Now, p.farErasers(db)...); err != nil {
		return nil, err
	}
	r.jobs = compute.New(compute.Config{
		Hosts: p.hosts, Executors: p.executors, Store: db.Jobs(), Dir: db.Dir(), Path: os.Getenv("PATH"),
		Tenants: residents{r.clients.tenants}, Vault: r.clients.vault, Placements: r.clients.placements,
		Now: p.clock.Now, Price: p.rateOf, HostPower: p.hostPower, HostLimits: p.hostLimits, OnChange: func(j compute.Job) {
			if r.site != nil {
				r.site.JobChanged(j)
			}
		},
	})
	if err := r.jobs.Recover(ctx, now); err != nil {
		return nil, err
	}
	if p.attach != nil {
		if err := p.attach(r); err != nil {
			return nil, err
		}
	}
	o := p.options
	o.Compute, o.Store, o.Log = r.jobs, db.Site(), log
	o.Wall, o.Now, o.Speed = p.clock.Wall, p.clock.Now, p.clock.Speed()
	// Feeds first: a plan without prices is none.
	if err := o.Feeds.Refresh(ctx, now); err != nil {
		log.Warn("some feeds do not answer yet", "err", err)
	}
	r.outlook = newOutlook(o, db, p.recorded, p.usdPer, log)
	o.Expect, o.Forecast = r.outlook.Expect, r.outlook.Forecast
	s, err := site.New(ctx, o, now)
	if err != nil {
		return nil, err
	}
	r.site = s
	if r.records, err = newRecorder(p, db.Dir(), log); err != nil {
		return nil, err
	}
	return r, nil
}

// serve runs the site and its API until ctx ends, then shuts down cleanly.
func (r *running) serve(ctx context.Context, l net.Listener, token string, out io.Writer) error {
	page, built := ui.FS()
	if !built {
		page = nil
	}
	defer r.records.close()
	defer r.clients.close()
	desk := jobDesk{r}
	srv, err := server.New(server.Options{
		Site: r.site, Jobs: desk, JobData: desk, Hosts: r.parts.hostDesk(), Offers: desk.offers, Tenants: r.clients.tenants, RotateVault: r.clients.vault.Rotate, Books: books{r.db}, Backup: r.db.Backup,
		Now: r.parts.clock.Now, Page: page, Token: token, Version: version, TempDir: filepath.Join(r.db.Dir(), store.BackupDir), Log: r.log,
		Query: r.records.handler(), Figures: r.records.figures(),
	})
	if err != nil {
		return err
	}
	r.records.watch(srv.Gatherer())
	// The site stops before the API does, so that nobody is told of a site that
	// stands still; jobs get their grace in between.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	done := make(chan struct{})
	go func() { defer close(done); r.loops(run) }()
	fmt.Fprint(out, r.parts.banner)
	fmt.Fprintf(out, "  http://%s/\n\n", l.Addr())
	api := make(chan error, 1)
	go func() { api <- srv.Serve(run, l) }()
	select {
	case <-ctx.Done():
	case err = <-api:
	}
	if ctx.Err() != nil {
		fmt.Fprintln(out, "stopping: running jobs get their grace to write a checkpoint; machines stay as they are")
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	serr := r.jobs.Shutdown(grace)
	stop()
	<-done
	r.jobs.Close()
	return errors.Join(err, serr)
}

// loops runs everything that the site needs, until ctx ends.
func (r *running) loops(ctx context.Context) {
	p := r.parts
	var tasks []func(context.Context)
	tasks = append(tasks,
		func(ctx context.Context) { r.site.Run(ctx, p.clock.Now, p.tick) },
		func(ctx context.Context) { r.site.RunPolls(ctx, p.clock.Now, p.poll) },
		func(ctx context.Context) { r.site.RunSensors(ctx, p.clock.Now, p.poll) },
		func(ctx context.Context) { every(ctx, time.Second, func() { r.refreshFeeds(ctx) }) },
		func(ctx context.Context) { r.outlook.run(ctx, p.clock.Now) },
		func(ctx context.Context) { every(ctx, 5*time.Second, func() { r.syncJobs(ctx) }) },
		r.tend,
	)
	if p.options.Webhook != "" {
		tasks = append(tasks, func(ctx context.Context) { sendAlarms(ctx, r.site, p.options.Webhook, p.options.Name, r.log) })
	}
	if r.records != nil {
		tasks = append(tasks, func(ctx context.Context) { r.records.run(ctx, r.site) })
	}
	if p.background != nil {
		tasks = append(tasks, func(ctx context.Context) { p.background(ctx, r) })
	}
	for _, f := range p.alongside {
		tasks = append(tasks, func(ctx context.Context) { f(ctx, r) })
	}
	end := make(chan struct{})
	for _, t := range tasks {
		go func() { t(ctx); end <- struct{}{} }()
	}
	for range tasks {
		<-end
	}
}

func every(ctx context.Context, d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f()
		}
	}
}

func (r *running) refreshFeeds(ctx context.Context) {
	if err := r.parts.options.Feeds.Refresh(ctx, r.parts.clock.Now()); err != nil && ctx.Err() == nil {
		r.log.Debug("feeds", "err", err)
	}
}

func (r *running) syncJobs(ctx context.Context) {
	if err := r.jobs.Sync(ctx); err != nil && ctx.Err() == nil {
		r.log.Error("job states could not be stored yet", "err", err)
	}
}

// cpus is how many CPU slots this machine has.
func cpus() int { return runtime.NumCPU() }
