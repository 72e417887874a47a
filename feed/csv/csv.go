// Package csv is a feed of series from CSV files: one file, or all *.csv and
// *.csv.gz of a folder.
//
// The first row names the columns. One column is the time (ts_utc, time,
// timestamp, from or ts), RFC 3339 with its zone: the interval's start. Each
// quantity has a column of its own name unless Options.Columns names another; a
// reserve's is reserve_usd_per_mw_h/NAME. A blank is a missing value.
//
// Rules for what is not as it should be. All of it is told by Note with file and
// line.
//   - A value that is no number, or that no such quantity can have (see
//     feed.Plausible), is left out.
//   - Where a time stands twice, the later row counts, and the later file by name.
//   - A gap is not filled: a value holds for one interval and then ages.
package csv

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/feed"
)

// Options describe the files.
type Options struct {
	Path    string // a file or a folder
	Columns map[feed.Quantity]string
	// Interval is how long a value holds. 0: the most frequent distance between
	// the times of that quantity.
	Interval time.Duration
	// Lead is how long before a UTC day begins its day-ahead prices are known, of
	// energy and of reserves; 0 means 6h: from 18:00 of the day before. A real-time price counts as known
	// from the start of its interval, as on a live ticker; every other value too.
	Lead time.Duration
	// USDPer converts prices of energy and reserves from another currency; 0 means 1.
	USDPer float64
}

// Source reads the files again when they change.
type Source struct {
	o Options

	mu     sync.Mutex
	read   string // names, sizes and times of what was read
	series map[feed.Quantity][]feed.Point
	note   string
	err    error
}

const (
	defaultLead = 6 * time.Hour
	// window is how much of the past is given: enough for the newest value of a
	// series that has ended, without handing years to the book each minute.
	window = 7 * 24 * time.Hour
	// maxFiles bounds a folder.
	maxFiles = 1000
)

// New makes a source; nothing is read before Fetch.
func New(o Options) *Source {
	if o.Lead == 0 {
		o.Lead = defaultLead
	}
	if o.USDPer == 0 {
		o.USDPer = 1
	}
	return &Source{o: o}
}

// Note says what was left out of the files.
func (s *Source) Note() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.note
}

// Fetch returns what was published by now: the last week, and what lies ahead.
func (s *Source) Fetch(ctx context.Context, now time.Time) (map[feed.Quantity][]feed.Point, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	files, stamp, err := list(s.o.Path)
	if err != nil {
		return nil, err
	}
	if stamp != s.read {
		s.series, s.note, s.err = load(ctx, files, s.o)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.read = stamp
	}
	if s.err != nil {
		return nil, s.err
	}
	out := map[feed.Quantity][]feed.Point{}
	for q, ps := range s.series {
		if cut := known(ps, now); len(cut) > 0 {
			out[q] = cut
		}
	}
	return out, nil
}

// known returns the points published by now that still matter, the last one at
// least.
func known(ps []feed.Point, now time.Time) []feed.Point {
	var out []feed.Point
	first, _ := slices.BinarySearchFunc(ps, now.Add(-window), func(p feed.Point, t time.Time) int { return p.From.Compare(t) })
	for first > 0 && (first == len(ps) || ps[first].Published.After(now)) {
		first--
	}
	for _, p := range ps[first:] {
		if !p.Published.After(now) {
			out = append(out, p)
		}
	}
	return out
}

// list returns the files, and a text that changes when one of them does.
func list(path string) ([]string, string, error) {
	unread := func(err error) error {
		return sluice.Errorf(sluice.Unavailable, "check the feed's path", "the CSV files: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, "", unread(err)
	}
	if !info.IsDir() {
		return []string{path}, mark(info), nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, "", unread(err)
	}
	var files []string
	var stamp strings.Builder
	for _, e := range entries { // by name
		if n := e.Name(); e.IsDir() || strings.HasPrefix(n, ".") || !(strings.HasSuffix(n, ".csv") || strings.HasSuffix(n, ".csv.gz")) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // gone since
		}
		files = append(files, filepath.Join(path, e.Name()))
		stamp.WriteString(mark(info))
	}
	switch {
	case len(files) == 0:
		return nil, "", sluice.Errorf(sluice.Unavailable, "put *.csv or *.csv.gz files there", "the folder %s has no CSV files", path)
	case len(files) > maxFiles:
		return nil, "", sluice.Errorf(sluice.Unavailable, "", "the folder %s has %d CSV files; %d is the most", path, len(files), maxFiles)
	}
	return files, stamp.String(), nil
}

func mark(i fs.FileInfo) string {
	return fmt.Sprintf("%s %d %d\n", i.Name(), i.Size(), i.ModTime().UnixNano())
}
