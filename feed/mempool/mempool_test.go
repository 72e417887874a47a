package mempool

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sluice/feed"
	"sluice/feed/feedtest"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func good() http.Handler {
	mux := http.NewServeMux()
	for path, body := range map[string]string{
		pathPrices:   `{"time":1772366400,"USD":67321,"EUR":57012,"GBP":49820,"CAD":91811,"CHF":52411,"AUD":94633,"JPY":10512345}`,
		pathHashrate: `{"hashrates":[{"timestamp":1772236800,"avgHashrate":1.0e21}],"difficulty":[{"time":1771940000,"height":938448,"difficulty":144398401518101,"adjustment":1.1473}],"currentHashrate":1.05e21,"currentDifficulty":144398401518101.0}`,
		pathHeight:   "938901",
		pathRewards:  `{"startBlock":938758,"endBlock":938901,"totalReward":"45360000000","totalFee":"360000000","totalTx":"512345"}`,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
	}
	return mux
}

func TestSuite(t *testing.T) {
	feedtest.HTTP(t, feedtest.Wire{New: func(u string) feed.Source { return New(u) }, Good: good(), Now: now})
}

func TestValues(t *testing.T) {
	srv := httptest.NewServer(good())
	defer srv.Close()
	got, err := New(srv.URL+"/").Fetch(context.Background(), now.Add(5*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for q, want := range map[feed.Quantity]float64{
		feed.BTCPrice: 67321, feed.Difficulty: 144398401518101, feed.Subsidy: 3.125, feed.Fees: 0.025,
	} {
		if ps := got[q]; len(ps) != 1 || math.Abs(ps[0].Value-want) > 1e-9 {
			t.Errorf("%s: %v, want %g", q, ps, want)
		}
	}
	// The price is as old as the instance says.
	if at := got[feed.BTCPrice][0].Published; !at.Equal(now) {
		t.Errorf("the price is of %s, not of %s", at, now)
	}
}

func TestTheNextBlockPays(t *testing.T) {
	if got, err := parseHeight([]byte("839999\n")); err != nil || got != 3.125 {
		t.Errorf("the block after 839999 pays %g (%v)", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"startBlock":1,"endBlock":144,"totalFee":"360000000"}`), []byte("938901"))
	f.Add([]byte(`{"startBlock":1,"endBlock":144,"totalFee":360000000}`), []byte("-1"))
	f.Add([]byte(`{"startBlock":-9223372036854775808,"endBlock":9223372036854775807,"totalFee":"1e400"}`), []byte("1e9"))
	f.Fuzz(func(t *testing.T, stats, height []byte) {
		var r rewardStats
		if json.Unmarshal(stats, &r) == nil {
			if v, err := r.feesPerBlock(); err == nil && (v < 0 || math.IsNaN(v) || math.IsInf(v, 0)) {
				t.Errorf("%s gives %g", stats, v)
			}
		}
		if v, err := parseHeight(height); err == nil && (v < 0 || v > 50) {
			t.Errorf("%q gives %g", height, v)
		}
	})
}
