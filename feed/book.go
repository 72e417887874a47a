package feed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice"
)

// Spec is one feed of a Book.
type Spec struct {
	Name   string
	Source Source // nil: nothing but the fallbacks
	// Refresh is the site time between fetches, default 1m. After a failure it
	// doubles, up to 16 times.
	Refresh time.Duration
	// MaxAge is the age above which a value is stale, default 15m. An interval
	// ages from its end, an observation from its publication.
	MaxAge time.Duration
	// Fallback is what counts where there is no value, or only one that is more
	// than four times MaxAge old.
	Fallback map[Quantity]float64
	// Timeout bounds one fetch in wall time, default 15s.
	Timeout time.Duration
}

const (
	defaultRefresh = time.Minute
	defaultMaxAge  = 15 * time.Minute
	defaultTimeout = 15 * time.Second
	maxBackoff     = 16 // times Refresh
	// staleFactor: a stale value beats a stated fallback while it is younger
	// than this many maximum ages. Just past its age it is the better guess; a
	// dead feed must not rule the site for days.
	staleFactor = 4
	// maxPoints bounds what one source may make the book hold of a quantity:
	// 35 years of hours, or three of 5-minute intervals.
	maxPoints = 310_000
	maxOrders = 1000
)

// Book caches the feeds of a site. All methods are safe for concurrent use and
// only Refresh does I/O.
type Book struct {
	mu    sync.Mutex
	feeds []*entry
}

// entry is one feed's state; the book's mutex guards all but spec.
type entry struct {
	spec     Spec
	points   map[Quantity][]Point // sorted by From, then Published
	orders   []Order
	err      error     // of the newest fetch
	fails    int       // in a row
	tried    time.Time // newest fetch, site time
	good     time.Time // newest fetch that succeeded
	next     time.Time // not before
	fetching bool
}

// NewBook makes a book of the feeds, which are asked in this order. It fetches
// nothing.
func NewBook(specs []Spec) *Book {
	b := &Book{}
	for _, s := range specs {
		if s.Refresh <= 0 {
			s.Refresh = defaultRefresh
		}
		if s.MaxAge <= 0 {
			s.MaxAge = defaultMaxAge
		}
		if s.Timeout <= 0 {
			s.Timeout = defaultTimeout
		}
		b.feeds = append(b.feeds, &entry{spec: s, points: map[Quantity][]Point{}})
	}
	return b
}

// Refresh fetches the feeds that are due at the site time now, in parallel, each
// within its own timeout, and returns when all of them have answered or failed.
// A feed that fails keeps its last good points and is tried again later and
// later. The error joins the failures of this call; the book is usable either way.
func (b *Book) Refresh(ctx context.Context, now time.Time) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	due := b.due(now)
	for i, e := range due {
		refresh := func() {
			points, orders, err := fetch(ctx, e.spec, now)
			b.mu.Lock()
			e.store(points, orders, err, now)
			b.mu.Unlock()
			if err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("feed %s: %w", e.spec.Name, err))
				mu.Unlock()
			}
		}
		if i == len(due)-1 {
			refresh() // one feed of a backtest needs no other thread
			break
		}
		wg.Go(refresh)
	}
	wg.Wait()
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

func (b *Book) due(now time.Time) []*entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*entry
	for _, e := range b.feeds {
		// A clock that went back (another start of the demo) is no reason to wait.
		if e.fetching || (now.Before(e.next) && !now.Before(e.tried)) {
			continue
		}
		e.fetching = true
		out = append(out, e)
	}
	return out
}

func fetch(ctx context.Context, s Spec, now time.Time) (map[Quantity][]Point, []Order, error) {
	if s.Source == nil {
		return nil, nil, nil // nothing but fallbacks
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	points, err := s.Source.Fetch(ctx, now)
	if err != nil {
		return nil, nil, err
	}
	for q, ps := range points {
		if points[q], err = tidy(q, ps); err != nil {
			return nil, nil, err
		}
	}
	os, ok := s.Source.(OrderSource)
	if !ok {
		return points, nil, nil
	}
	orders, err := os.FetchOrders(ctx, now)
	if err != nil {
		return nil, orders, err
	}
	if len(orders) > maxOrders {
		return nil, nil, sluice.Errorf(sluice.Unavailable, "", "%d orders are more than the %d that are read", len(orders), maxOrders)
	}
	return points, orders, nil
}

// tidy holds every source to the contract, since what follows relies on it.
func tidy(q Quantity, ps []Point) ([]Point, error) {
	if len(ps) > maxPoints {
		return nil, sluice.Errorf(sluice.Unavailable, "cut the file or the time asked for", "%d points of %s are more than the %d that are kept", len(ps), q, maxPoints)
	}
	out := make([]Point, 0, len(ps))
	for _, p := range ps {
		if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
			return nil, sluice.Errorf(sluice.Unavailable, "", "%s gives a value of %s that is no number", p.Origin, q)
		}
		if !p.To.IsZero() && !p.From.Before(p.To) {
			return nil, sluice.Errorf(sluice.Unavailable, "", "%s gives an interval of %s that ends before it begins", p.Origin, q)
		}
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b Point) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		return a.Published.Compare(b.Published)
	})
	return out, nil
}

func (e *entry) store(points map[Quantity][]Point, orders []Order, err error, now time.Time) {
	e.fetching = false
	e.tried = now
	e.err = err
	if orders != nil {
		e.orders = orders
	}
	if err != nil {
		e.fails++
		e.next = now.Add(e.spec.Refresh * time.Duration(min(maxBackoff, 1<<min(e.fails, 10))))
		return
	}
	e.fails = 0
	e.good = now
	e.next = now.Add(e.spec.Refresh)
	e.orders = orders
	for q, ps := range points {
		if len(ps) > 0 { // a quantity that is missing this time keeps its last good points, and ages
			e.points[q] = follow(e.points[q], ps)
		}
	}
}

// follow takes over from the points of the fetch before what a reader needs that
// asks for a moment ago: a turn that began before this fetch, or an interval that
// has just ended. What is only said again was known before, and an observation
// holds until the next.
func follow(old, ps []Point) []Point {
	i := 0
	for j := range ps {
		p := &ps[j]
		for i < len(old) && old[i].From.Before(p.From) {
			i++
		}
		alone := (j == 0 || !ps[j-1].From.Equal(p.From)) && (j == len(ps)-1 || !ps[j+1].From.Equal(p.From))
		if alone && i < len(old) && old[i].From.Equal(p.From) && old[i].To.Equal(p.To) && old[i].Value == p.Value &&
			old[i].Published.Before(p.Published) {
			p.Published = old[i].Published
		}
	}
	if n := len(old); n > 0 && old[n-1].To.IsZero() && old[n-1].From.Before(ps[0].From) {
		ps = append([]Point{old[n-1]}, ps...)
	}
	return ps
}
