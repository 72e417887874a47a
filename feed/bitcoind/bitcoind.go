// Package bitcoind is a feed of the bitcoin network from one's own node, over
// JSON-RPC. It gives difficulty, subsidy and fees; a node knows no price.
package bitcoind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/feed"
)

// Options say where the node answers and how it is asked.
type Options struct {
	URL string // http://127.0.0.1:8332
	// User and Password, or CookieFile, which bitcoind rewrites at each start.
	User, Password string
	CookieFile     string
}

// Source asks one node.
type Source struct {
	url    string
	client *feed.Client

	mu   sync.Mutex
	fees map[int64]int64 // satoshi by height, of blocks too deep to be reorganised
	note string
}

const (
	recent = 24 // blocks over which fees are averaged: about four hours
	unsure = 6  // the newest blocks may be reorganised
)

// New makes a source.
func New(o Options) *Source {
	s := &Source{url: o.URL, client: feed.NewClient(), fees: map[int64]int64{}}
	s.client.Auth = func(r *http.Request) error {
		user, password := o.User, o.Password
		if o.CookieFile != "" {
			var err error
			if user, password, err = cookie(o.CookieFile); err != nil {
				return err
			}
		}
		r.SetBasicAuth(user, password)
		return nil
	}
	return s
}

func cookie(path string) (user, password string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", sluice.Errorf(sluice.Unavailable, "is bitcoind running, and may sluice read its cookie?", "the cookie of bitcoind: %v", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", "", sluice.Errorf(sluice.Unavailable, "", "the cookie of bitcoind: %v", err)
	}
	user, password, ok := strings.Cut(strings.TrimSpace(string(data)), ":")
	if !ok {
		return "", "", sluice.Errorf(sluice.Unavailable, "cookie_file is bitcoind's .cookie", "%s is no cookie of bitcoind", path)
	}
	return user, password, nil
}

// Note says what a person should know of the newest fetch.
func (s *Source) Note() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.note
}

type request struct {
	Version string `json:"jsonrpc"`
	ID      int64  `json:"id"`
	Method  string `json:"method"`
	Params  []any  `json:"params"`
}

type reply struct {
	ID     int64           `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// Fetch returns the difficulty, the subsidy of the next block and the mean fees
// of the last 24 blocks. Where the node cannot give the fees (a pruned node
// without the blocks) they are left out, and Note says so.
func (s *Source) Fetch(ctx context.Context, now time.Time) (map[feed.Quantity][]feed.Point, error) {
	var r reply
	if err := s.client.PostJSON(ctx, s.url, request{"1.0", 0, "getblockchaininfo", []any{}}, &r); err != nil {
		return nil, err
	}
	var info struct {
		Blocks     int64   `json:"blocks"`
		Difficulty float64 `json:"difficulty"`
		Syncing    bool    `json:"initialblockdownload"`
	}
	if err := r.into(&info); err != nil {
		return nil, sluice.Errorf(sluice.Unavailable, "", "getblockchaininfo of %s: %v", feed.Bare(s.url), err)
	}
	if info.Syncing {
		return nil, sluice.Errorf(sluice.Unavailable, "wait until it has caught up", "bitcoind at %s is still downloading the chain", feed.Bare(s.url))
	}
	if info.Blocks <= 0 || info.Blocks > 100_000_000 || !feed.Plausible(feed.Difficulty, info.Difficulty) {
		return nil, sluice.Errorf(sluice.Unavailable, "", "bitcoind at %s gives the difficulty %g at the height %d", feed.Bare(s.url), info.Difficulty, info.Blocks)
	}
	origin := func(method string) string { return "bitcoind " + feed.Bare(s.url) + " " + method }
	point := func(v float64, method string) []feed.Point {
		return []feed.Point{{From: now, Value: v, Published: now, Origin: origin(method)}}
	}
	out := map[feed.Quantity][]feed.Point{
		feed.Difficulty: point(info.Difficulty, "getblockchaininfo"),
		feed.Subsidy:    point(feed.SubsidyAt(info.Blocks+1), "getblockchaininfo"),
	}
	fees, err := s.recentFees(ctx, info.Blocks)
	var rpc *rpcError
	switch {
	case errors.As(err, &rpc): // the node works, and does not have this
		s.say("no fees: " + err.Error())
	case err != nil:
		return nil, err
	default:
		s.say("")
		out[feed.Fees] = point(fees, "getblockstats")
	}
	return out, nil
}

func (s *Source) say(note string) {
	s.mu.Lock()
	s.note = note
	s.mu.Unlock()
}

type rpcError struct{ msg string }

func (e *rpcError) Error() string { return e.msg }

func (r reply) into(v any) error {
	if r.Error != nil {
		return &rpcError{fmt.Sprintf("error %d, %.200s", r.Error.Code, r.Error.Message)}
	}
	if len(r.Result) == 0 {
		return errors.New("the answer has no result")
	}
	return json.Unmarshal(r.Result, v)
}

// recentFees returns the mean fees per block in BTC. Blocks already known are not
// asked for again: getblockstats reads the whole block from the node's disk.
func (s *Source) recentFees(ctx context.Context, tip int64) (float64, error) {
	s.mu.Lock()
	known := map[int64]int64{}
	for h, f := range s.fees {
		if h > tip-recent && h <= tip-unsure {
			known[h] = f
		}
	}
	s.mu.Unlock()
	first := max(1, tip-recent+1)
	var batch []request
	for h := first; h <= tip; h++ {
		if _, ok := known[h]; !ok {
			batch = append(batch, request{"1.0", h, "getblockstats", []any{h, []string{"totalfee"}}})
		}
	}
	var replies []reply
	if err := s.client.PostJSON(ctx, s.url, batch, &replies); err != nil {
		return 0, err
	}
	for _, r := range replies {
		var stats struct {
			TotalFee *int64 `json:"totalfee"`
		}
		if err := r.into(&stats); err != nil {
			return 0, fmt.Errorf("getblockstats of the block %d: %w", r.ID, err)
		}
		if stats.TotalFee == nil || *stats.TotalFee < 0 || r.ID < first || r.ID > tip {
			return 0, sluice.Errorf(sluice.Unavailable, "", "getblockstats of %s gives no fees of the block %d", feed.Bare(s.url), r.ID)
		}
		known[r.ID] = *stats.TotalFee
	}
	n := tip - first + 1
	if int64(len(known)) != n {
		return 0, sluice.Errorf(sluice.Unavailable, "", "getblockstats of %s answers for %d of %d blocks", feed.Bare(s.url), len(known), n)
	}
	var sum float64
	for _, f := range known {
		sum += float64(f)
	}
	s.mu.Lock()
	s.fees = known
	s.mu.Unlock()
	fees := sum / float64(n) / 1e8
	if !feed.Plausible(feed.Fees, fees) {
		return 0, sluice.Errorf(sluice.Unavailable, "", "getblockstats of %s gives %g BTC of fees a block", feed.Bare(s.url), fees)
	}
	return fees, nil
}
