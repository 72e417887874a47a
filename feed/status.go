package feed

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"
)

// Status is what a person should know of one quantity of one feed.
type Status struct {
	Name     string    `json:"name"`
	Quantity Quantity  `json:"quantity"` // empty: orders, or a feed that has given nothing yet
	Value    float64   `json:"value"`
	Unit     string    `json:"unit"`
	AsOf     time.Time `json:"as_of"`
	Origin   string    `json:"origin"`
	Stale    bool      `json:"stale"`
	Error    string    `json:"error,omitempty"` // of the newest fetch, if it failed
	Note     string    `json:"note,omitempty"`  // what a person should know besides
}

// Noter is a Source with something to say about its data, such as the gaps and
// absurd values that it left out.
type Noter interface{ Note() string }

// Status returns the state of each feed by quantity, in the order of the feeds:
// each feed's own value, whether or not another feed is asked before it.
func (b *Book) Status(now time.Time) []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Status
	for _, e := range b.feeds {
		out = append(out, e.status(now)...)
	}
	return out
}

func (e *entry) status(now time.Time) []Status {
	base := Status{Name: e.spec.Name}
	if e.err != nil {
		base.Error = e.err.Error()
		base.Note = fmt.Sprintf("last good %s, next try %s", orNever(e.good), e.next.UTC().Format(time.RFC3339))
	} else if n, ok := e.spec.Source.(Noter); ok {
		base.Note = n.Note()
	}
	var out []Status
	for _, q := range e.quantities() {
		v, ok := e.value(q, now)
		if !ok {
			continue
		}
		s := base
		s.Quantity, s.Value, s.Unit = q, v.Value, q.Unit()
		s.AsOf, s.Origin, s.Stale = v.AsOf, v.Origin, v.Stale
		out = append(out, s)
	}
	if _, ok := e.spec.Source.(OrderSource); ok {
		s := base
		s.Value, s.Unit, s.AsOf = float64(len(live(e.orders, now))), "orders", e.good
		s.Origin = e.spec.Name
		s.Stale = e.good.IsZero() || now.Sub(e.good) > e.spec.MaxAge
		out = append(out, s)
	}
	if len(out) == 0 {
		base.Stale = true
		if base.Note == "" {
			base.Note = "nothing known yet"
		}
		out = append(out, base)
	}
	return out
}

// quantities are those that the feed may know of: all fixed ones, then the
// reserves that it has given a price of, or states one for, by name.
func (e *entry) quantities() []Quantity {
	var reserves []Quantity
	for q := range e.points {
		if q.Reserve() != "" {
			reserves = append(reserves, q)
		}
	}
	for q := range e.spec.Fallback {
		if q.Reserve() != "" && !slices.Contains(reserves, q) {
			reserves = append(reserves, q)
		}
	}
	slices.Sort(reserves)
	return append(Quantities(), reserves...)
}

func orNever(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

// value is what the feed alone would answer to At.
func (e *entry) value(q Quantity, now time.Time) (Value, bool) {
	p, age, ok := e.at(q, now)
	f, has := e.fallback(q, now)
	if !ok || (has && age > staleFactor*e.spec.MaxAge) {
		return f, has
	}
	v := p.value(q)
	v.Stale = age > e.spec.MaxAge
	return v, true
}

// Orders returns the curtailment orders of all feeds that were published by now
// and have not ended, by start. An ID that several feeds carry counts once. An
// order that its feed no longer carries is withdrawn; one of a feed that is
// silent stands.
func (b *Book) Orders(now time.Time) []Order {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Order
	seen := map[string]bool{}
	for _, e := range b.feeds {
		for _, o := range live(e.orders, now) {
			if !seen[o.ID] {
				seen[o.ID] = true
				out = append(out, o)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Order) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

func live(os []Order, now time.Time) []Order {
	var out []Order
	for _, o := range os {
		if !o.Published.After(now) && o.To.After(now) {
			out = append(out, o)
		}
	}
	return out
}

// Digest returns, for each feed by name, the SHA-256 of what of it is in use at
// now: the points that count now and those published ahead, and its live
// orders. A record that keeps it can later be held against the data.
func (b *Book) Digest(now time.Time) map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[string]string, len(b.feeds))
	for _, e := range b.feeds {
		out[e.spec.Name] = e.digest(now)
	}
	return out
}

// used is the canonical form of a point in a digest. The moment of publication
// is left out: a constant that is fetched again is the same input.
type used struct {
	Quantity  Quantity  `json:"quantity"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Value     float64   `json:"value"`
	Estimated bool      `json:"estimated"`
}

func (e *entry) digest(now time.Time) string {
	h := sha256.New()
	for _, q := range e.quantities() {
		if v, ok := e.value(q, now); ok && v.Estimated && v.Stale { // a fallback, perhaps
			write(h, used{Quantity: q, Value: v.Value, Estimated: true})
		}
		cur, _, ok := e.at(q, now)
		if !ok {
			continue
		}
		write(h, used{q, cur.From.UTC(), cur.To.UTC(), cur.Value, cur.Estimated})
		ps := e.points[q]
		i, _ := slices.BinarySearchFunc(ps, now, func(p Point, t time.Time) int { return p.From.Compare(t) })
		for ; i < len(ps); i++ {
			if p := ps[i]; p.From.After(now) && !p.Published.After(now) {
				write(h, used{q, p.From.UTC(), p.To.UTC(), p.Value, p.Estimated})
			}
		}
	}
	for _, o := range live(e.orders, now) {
		write(h, o)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func write(h hash.Hash, v any) {
	// Structs of times, strings and finite numbers always marshal.
	data, err := json.Marshal(v)
	if err != nil {
		data = []byte(err.Error())
	}
	h.Write(append(data, '\n'))
}
