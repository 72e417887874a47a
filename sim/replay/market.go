// Package replay owns the history that the demo runs over, as facts embedded in
// the binary: two weeks of ERCOT West prices and of the bitcoin network around a
// scarcity event in August 2023, a stream of AI jobs cut from a real trace, and
// the GPU rates of that month. README.md names the sources.
package replay

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"sluice"
	"sluice/feed"
)

//go:embed data/ercot_west_2023-08.csv
var marketCSV []byte

const marketOrigin = "ERCOT West and bitcoin, August 2023 (replayed)"

// columns of the file that become series.
var columns = []feed.Quantity{feed.RealTimePrice, feed.DayAheadPrice, feed.BTCPrice, feed.Difficulty, feed.Subsidy}

var market = sync.OnceValue(func() map[feed.Quantity][]feed.Point {
	m, err := parseMarket(marketCSV)
	if err != nil {
		panic("replay: the embedded history is broken: " + err.Error()) // a test reads it
	}
	return m
})

// Source gives the history as a feed. A real-time price, like the bitcoin
// figures, is known from the start of its hour; the day-ahead prices of an ERCOT
// operating day (midnight to midnight Central) from 13:30 Central of the day
// before. Before Range, Fetch fails and says the range; after it the history comes
// again, and its points say so.
func Source() feed.Source { return source{} }

// Range returns the first and the last instant (exclusive) of the history.
func Range() (from, to time.Time) {
	ps := market()[feed.RealTimePrice]
	return ps[0].From, ps[len(ps)-1].To
}

type source struct{}

// Fetch returns what was known at now: the last day, and the day-ahead prices out.
func (source) Fetch(ctx context.Context, now time.Time) (map[feed.Quantity][]feed.Point, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	from, to := Range()
	if now.Before(from) {
		return nil, sluice.Errorf(sluice.Invalid, "start within it", "the replayed history is from %s to %s, and it is %s",
			from.Format(time.RFC3339), to.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	// A demo that runs on after the last hour sees the same two weeks again.
	again := now.Sub(from) / to.Sub(from) * to.Sub(from)
	now = now.Add(-again)
	out := map[feed.Quantity][]feed.Point{}
	for q, ps := range market() {
		i, _ := slices.BinarySearchFunc(ps, now.Add(-24*time.Hour), func(p feed.Point, t time.Time) int { return p.To.Compare(t) })
		for _, p := range ps[i:] {
			if !p.Published.After(now) {
				out[q] = append(out[q], later(p, again))
			}
		}
	}
	return out, nil
}

// later is the point in another pass over the history.
func later(q feed.Point, d time.Duration) feed.Point {
	if d > 0 {
		q.From, q.To, q.Published = q.From.Add(d), q.To.Add(d), q.Published.Add(d)
		q.Origin += fmt.Sprintf(", %d days on", int(d.Hours()/24))
	}
	return q
}

func parseMarket(data []byte) (map[feed.Quantity][]feed.Point, error) {
	in := csv.NewReader(bytes.NewReader(data))
	in.Comment = '#'
	header, err := in.Read()
	if err != nil {
		return nil, err
	}
	out := map[feed.Quantity][]feed.Point{}
	for {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		from, err := time.Parse(time.RFC3339, rec[0])
		if err != nil {
			return nil, err
		}
		line, _ := in.FieldPos(0)
		for _, q := range columns {
			i := slices.Index(header, string(q))
			if i < 0 {
				return nil, fmt.Errorf("no column %s", q)
			}
			v, err := strconv.ParseFloat(rec[i], 64)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			out[q] = append(out[q], feed.Point{
				From: from, To: from.Add(time.Hour), Value: v,
				Published: known(q, from), Origin: fmt.Sprintf("%s, line %d", marketOrigin, line),
			})
		}
	}
}

// cdt is Central time in August.
const cdt = 5 * time.Hour

func known(q feed.Quantity, from time.Time) time.Time {
	if q != feed.DayAheadPrice {
		return from
	}
	midnight := from.Add(-cdt).Truncate(24 * time.Hour).Add(cdt) // of the operating day
	return midnight.Add(-24*time.Hour + 13*time.Hour + 30*time.Minute)
}
