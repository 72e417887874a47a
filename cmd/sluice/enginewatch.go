package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"sluice"
	"sluice/compute"
)

// How often an engine is looked at: whether it answers, where its containers have
// started, and else whether they start now.
const (
	engineEvery   = 15 * time.Second
	engineTrial   = 2 * time.Minute // at most, for one container
	beingTried    = "its container engine is being tried"
	cannotConnect = "jobs in containers that may reach a network do not start here"
)

// tryable is an engine that can be tried.
type tryable interface {
	Try(ctx context.Context, i compute.Isolation, e compute.Egress) error
	Answers(ctx context.Context, i compute.Isolation) error
}

// engineWatch tries whether an engine starts containers, and goes on looking:
// jobs for it wait for as long as it does not, with its reason.
type engineWatch struct {
	engine     tryable
	isolations []compute.Isolation
	extra      bool   // nobody asked for its sandboxes: that it has none is no news
	where      string // the host
	log        *slog.Logger
	hold       func(i compute.Isolation, why string)
	said       map[compute.Isolation]string // what a person has been told is wrong
	linked     string                       // and of the network
}

// watchEngine makes the site's jobs wait for the engine.
func (p *parts) watchEngine(w *engineWatch) {
	before := p.attach
	p.attach = func(r *running) error {
		w.log = r.log
		w.hold = func(i compute.Isolation, why string) {
			_ = r.jobs.HoldBack(w.where, i, why) // a host of the configuration is known
		}
		w.holdAll()
		if before != nil {
			return before(r)
		}
		return nil
	}
	p.alongside = append(p.alongside, func(ctx context.Context, _ *running) { w.run(ctx) })
}

// holdAll keeps back what has not been tried yet.
func (w *engineWatch) holdAll() {
	for _, i := range w.isolations {
		w.hold(i, beingTried)
	}
}

// run looks until ctx ends.
func (w *engineWatch) run(ctx context.Context) {
	starts := map[compute.Isolation]bool{}
	for ctx.Err() == nil {
		for _, i := range w.isolations {
			starts[i] = w.look(ctx, i, starts[i])
		}
		select {
		case <-ctx.Done():
		case <-time.After(engineEvery):
		}
	}
}

// look says whether containers start now.
func (w *engineWatch) look(ctx context.Context, i compute.Isolation, started bool) bool {
	try, cancel := context.WithTimeout(ctx, engineTrial)
	defer cancel()
	var err error
	if started {
		err = w.engine.Answers(try, i)
	} else {
		err = w.engine.Try(try, i, compute.EgressNone)
	}
	if ctx.Err() != nil {
		return started
	}
	if err != nil {
		w.hold(i, "its containers do not start: "+err.Error())
		if w.extra && i == compute.IsolationSandbox && sluice.KindOf(err) == sluice.Invalid {
			w.log.Debug("no sandboxes here", "host", w.where, "err", err)
			return false
		}
		if !slices.Contains(slices.Collect(maps.Values(w.said)), err.Error()) { // one engine may be that of all
			w.log.Error("jobs in containers wait: they do not start here", "host", w.where, "isolation", i, "err", err)
		}
		w.said[i] = err.Error()
		return false
	}
	w.hold(i, "")
	if w.said[i] != "" {
		w.log.Warn("jobs in containers start again", "host", w.where, "isolation", i)
		w.said[i] = ""
	}
	if !started && i == compute.IsolationContainer {
		w.tryNetwork(try)
	}
	return true
}

// tryNetwork says what is wrong with the network that tenants have by default. It
// keeps nothing back: others may need none.
func (w *engineWatch) tryNetwork(ctx context.Context) {
	err := w.engine.Try(ctx, compute.IsolationContainer, compute.EgressInternet)
	switch {
	case err == nil || ctx.Err() != nil:
		w.linked = ""
	case w.linked != err.Error():
		w.linked = err.Error()
		w.log.Error(cannotConnect, "host", w.where, "err", err)
	}
}
