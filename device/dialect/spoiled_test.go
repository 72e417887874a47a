package dialect_test

import (
	"context"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
)

// spoils are the ways in which an endpoint goes wrong.
var spoils = map[string]http.HandlerFunc{
	"missing": http.NotFound,
	"HTML": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!DOCTYPE html><html><body>Firmware</body></html>"))
	},
	"truncated": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"miner": {"x": [1, 2`)) },
	"cut": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000")
		_, _ = w.Write([]byte(`{"miner":`))
	},
	"empty": func(http.ResponseWriter, *http.Request) {},
	"null":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("null")) },
	"a list": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`[[{"fans":[null]}],7,"x"]`))
	},
	"an error": func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "internal", http.StatusInternalServerError)
	},
	"silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
}

// TestSpoiled takes away each endpoint that a device may do without, in each
// way: the rest of the report is there, in time.
func TestSpoiled(t *testing.T) {
	kept := map[string][]string{ // what the fingerprint and the figures checked below need
		"vnish":         {"GET /api/v1/info", "GET /api/v1/summary"},
		"braiins-25.07": {"GET /api/v1/miner/details", "GET /api/v1/miner/stats"},
		"epic":          {"GET /summary"},
		"proto":         {"GET /api/v1/system", "GET /api/v1/mining"},
	}
	figure := map[string][2]float64{"vnish": {2583, 173.87094}, "braiins-25.07": {3137, 142.40081429465002}, "epic": {2166.6174, 99.365848}, "proto": {3447.008523267969, 141.1474350314711}}
	for name, keep := range kept {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := recordings[name]
			var wg sync.WaitGroup
			for how, h := range spoils {
				spoiled := map[string]http.HandlerFunc{}
				for k := range r.web {
					spoiled[k] = h
				}
				for _, k := range keep {
					delete(spoiled, k)
				}
				a := r.serve(t, spoiled)
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					own := devicetest.OwnTime(t)
					_, rep, err := load(t).Identify(ctx, a)
					if err != nil {
						t.Errorf("%s: %v", how, err)
						return
					}
					if rep.PowerW == nil || *rep.PowerW != figure[name][0] || rep.HashrateTHs == nil || math.Abs(*rep.HashrateTHs-figure[name][1]) > 1e-9 {
						t.Errorf("%s: power %v, hashrate %v", how, rep.PowerW, rep.HashrateTHs)
					}
					if took := own(); took > 12*time.Second {
						t.Errorf("%s: took %v", how, took)
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestSilent: a host that takes connections and says nothing costs the deadline
// of its own call; one that is not there costs less.
func TestSilent(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, p, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.Atoi(p)
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	own := devicetest.OwnTime(t)
	start := time.Now()
	_, _, err = load(t).Identify(ctx, device.Address{Host: "127.0.0.1", APIPort: n})
	if took := time.Since(start); sluice.KindOf(err) != sluice.NotFound || took < 200*time.Millisecond || own() > 5*time.Second {
		t.Errorf("%v after %v", err, took)
	}
	_ = l.Close()
	own = devicetest.OwnTime(t)
	_, _, err = load(t).Identify(t.Context(), device.Address{Host: "127.0.0.1", APIPort: n})
	if took := own(); sluice.KindOf(err) != sluice.NotFound || took > 3*time.Second {
		t.Errorf("%v after %v", err, took)
	}
	if want := "port " + p + ": connection refused"; err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), p) != 2 {
		t.Errorf("not once %q: %v", want, err)
	}
}
