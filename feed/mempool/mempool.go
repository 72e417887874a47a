// Package mempool is a feed of the bitcoin network and its price from the REST
// API of a mempool.space instance (the public one, or one's own).
package mempool

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/feed"
)

// Source asks one instance.
type Source struct {
	base   string
	client *feed.Client
}

// New makes a source; base is the instance's URL, such as https://mempool.space.
func New(base string) *Source {
	return &Source{base: strings.TrimRight(base, "/"), client: feed.NewClient()}
}

// paths of the API.
const (
	pathPrices   = "/api/v1/prices"
	pathHashrate = "/api/v1/mining/hashrate/3d"
	pathHeight   = "/api/blocks/tip/height"
	pathRewards  = "/api/v1/mining/reward-stats/144"
)

// Fetch returns BTC's price, the difficulty, the subsidy by the height of the
// chain's tip, and the mean fees of the last 144 blocks.
func (s *Source) Fetch(ctx context.Context, now time.Time) (map[feed.Quantity][]feed.Point, error) {
	var prices struct {
		Time int64   `json:"time"`
		USD  float64 `json:"USD"`
	}
	if err := s.client.GetJSON(ctx, s.base+pathPrices, &prices); err != nil {
		return nil, err
	}
	var hash struct {
		Difficulty float64 `json:"currentDifficulty"`
	}
	if err := s.client.GetJSON(ctx, s.base+pathHashrate, &hash); err != nil {
		return nil, err
	}
	text, err := s.client.Get(ctx, s.base+pathHeight)
	if err != nil {
		return nil, err
	}
	subsidy, err := parseHeight(text)
	if err != nil {
		return nil, sluice.Errorf(sluice.Unavailable, "", "%s: %v", feed.Bare(s.base+pathHeight), err)
	}
	var rewards rewardStats
	if err := s.client.GetJSON(ctx, s.base+pathRewards, &rewards); err != nil {
		return nil, err
	}
	fees, err := rewards.feesPerBlock()
	if err != nil {
		return nil, sluice.Errorf(sluice.Unavailable, "", "%s: %v", feed.Bare(s.base+pathRewards), err)
	}
	at := time.Unix(prices.Time, 0).UTC()
	if prices.Time <= 0 || at.After(now) {
		at = now
	}
	out := map[feed.Quantity][]feed.Point{}
	for _, x := range []struct {
		q    feed.Quantity
		v    float64
		at   time.Time
		path string
	}{
		{feed.BTCPrice, prices.USD, at, pathPrices},
		{feed.Difficulty, hash.Difficulty, now, pathHashrate},
		{feed.Subsidy, subsidy, now, pathHeight},
		{feed.Fees, fees, now, pathRewards},
	} {
		if !feed.Plausible(x.q, x.v) {
			return nil, sluice.Errorf(sluice.Unavailable, "check that the url is that of a mempool instance", "%s gives %g as %s", feed.Bare(s.base+x.path), x.v, x.q)
		}
		out[x.q] = []feed.Point{{From: x.at, Value: x.v, Published: x.at, Origin: feed.Bare(s.base + x.path)}}
	}
	return out, nil
}

func parseHeight(text []byte) (float64, error) {
	h, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || h < 0 || h > 100_000_000 {
		return 0, sluice.Errorf(sluice.Unavailable, "", "%.40q is no block height", text)
	}
	return feed.SubsidyAt(h + 1), nil // of the block that is being mined
}

// rewardStats carries its sums as strings on some versions, as numbers on others.
type rewardStats struct {
	StartBlock int64       `json:"startBlock"`
	EndBlock   int64       `json:"endBlock"`
	TotalFee   json.Number `json:"totalFee"`
}

// feesPerBlock returns the mean fees in BTC.
func (r rewardStats) feesPerBlock() (float64, error) {
	blocks := r.EndBlock - r.StartBlock + 1
	sats, err := strconv.ParseFloat(string(r.TotalFee), 64)
	if err != nil || math.IsNaN(sats) || sats < 0 || blocks <= 0 || blocks > 100_000 {
		return 0, sluice.Errorf(sluice.Unavailable, "", "the fees %.40q of the blocks %d to %d make no sense", r.TotalFee, r.StartBlock, r.EndBlock)
	}
	return sats / float64(blocks) / 1e8, nil
}
