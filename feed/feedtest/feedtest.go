// Package feedtest is the suite that every feed passes: the contract of
// feed.Source, and for those that ask over HTTP what a wire can do to them.
package feedtest

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/feed"
)

// Contract holds a source to the contract at an instant at which it has
// something to say.
func Contract(t *testing.T, src feed.Source, now time.Time) {
	t.Run("gives something", func(t *testing.T) {
		got, err := src.Fetch(context.Background(), now)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, ps := range got {
			n += len(ps)
		}
		if os, ok := src.(feed.OrderSource); ok {
			orders, err := os.FetchOrders(context.Background(), now)
			if err != nil {
				t.Fatal(err)
			}
			n += len(orders)
		}
		if n == 0 {
			t.Error("neither points nor orders")
		}
	})
	t.Run("points keep the contract at any now", func(t *testing.T) {
		for _, d := range []time.Duration{
			0, time.Second, 7 * time.Minute, 26 * time.Hour, 400 * 24 * time.Hour,
			-time.Second, -7 * time.Minute, -26 * time.Hour, -400 * 24 * time.Hour,
		} {
			check(t, src, now.Add(d))
		}
		check(t, src, now) // asking earlier must not have harmed it
	})
	t.Run("the same is said twice", func(t *testing.T) {
		a, err := src.Fetch(context.Background(), now)
		if err != nil {
			t.Fatal(err)
		}
		b, err := src.Fetch(context.Background(), now)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("first %v, then %v", a, b)
		}
	})
	t.Run("a cancelled context ends it", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := src.Fetch(ctx, now); err == nil {
			t.Error("Fetch goes on")
		}
		if os, ok := src.(feed.OrderSource); ok {
			if _, err := os.FetchOrders(ctx, now); err == nil {
				t.Error("FetchOrders goes on")
			}
		}
	})
	t.Run("several goroutines may ask", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				check(t, src, now.Add(time.Duration(i)*time.Second))
			}()
		}
		wg.Wait()
	})
}

// check asks at now; at an instant of which the source knows nothing an error is
// as good as an answer.
func check(t *testing.T, src feed.Source, now time.Time) {
	got, err := src.Fetch(context.Background(), now)
	if err != nil && got != nil {
		t.Errorf("at %s both points and an error: %v", now, err)
	}
	for q, ps := range got {
		if q.Unit() == "" && q != feed.Difficulty {
			t.Errorf("%q is no quantity", q)
		}
		if bad := wrong(ps, now); bad != "" {
			t.Errorf("at %s, %s: %s", now, q, bad)
		}
	}
	if os, ok := src.(feed.OrderSource); ok {
		orders, _ := os.FetchOrders(context.Background(), now)
		for _, o := range orders {
			if o.ID == "" || o.Origin == "" || !o.From.Before(o.To) || o.LimitKW < 0 || math.IsNaN(o.LimitKW) || o.Published.IsZero() || o.Published.After(now) {
				t.Errorf("at %s the order %+v breaks the contract", now, o)
			}
		}
	}
}

func wrong(ps []feed.Point, now time.Time) string {
	for i, p := range ps {
		switch {
		case p.Published.After(now):
			return fmt.Sprintf("%+v is not published yet", p)
		case p.Published.IsZero() || p.From.IsZero():
			return fmt.Sprintf("%+v has no time", p)
		case !p.To.IsZero() && !p.From.Before(p.To):
			return fmt.Sprintf("%+v is empty", p)
		case math.IsNaN(p.Value) || math.IsInf(p.Value, 0):
			return fmt.Sprintf("%+v has no value", p)
		case p.Origin == "":
			return fmt.Sprintf("%+v has no origin", p)
		case i > 0 && p.From.Before(ps[i-1].From):
			return fmt.Sprintf("%+v is not in order", p)
		case i > 0 && !p.To.IsZero() && p.From.Before(ps[i-1].To) && !p.From.Equal(ps[i-1].From):
			return fmt.Sprintf("%+v begins before %+v ends", p, ps[i-1])
		}
	}
	return ""
}

// Wire describes a source that asks over HTTP.
type Wire struct {
	// New makes a source that asks the server at the URL, with the user and
	// password "operator" and "hunter2" where the origin takes some.
	New func(url string) feed.Source
	// Good is the origin as it works.
	Good http.Handler
	Now  time.Time
}

// HTTP holds a source to the contract over a local server, and then lets the
// server do what servers do.
func HTTP(t *testing.T, w Wire) {
	t.Run("contract", func(t *testing.T) {
		srv := httptest.NewServer(w.Good)
		t.Cleanup(srv.Close)
		Contract(t, w.New(srv.URL), w.Now)
	})
	raw := func(body string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, body) }
	}
	status := func(code int) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, `{"error":"no"}`, code) }
	}
	for name, h := range map[string]http.HandlerFunc{
		"empty answer":     raw(""),
		"garbage":          raw("<html>Access denied</html>"),
		"other JSON":       raw(`{"hello":"world"}`),
		"JSON of a number": raw("17"),
		"null":             raw("null"),
		"wrong types":      raw(`{"USD":"x","currentDifficulty":"y","result":[],"rtSppData":"z","unix_seconds":{},"price":3}`),
		"status 500":       status(500),
		"status 404":       status(404),
		"status 401":       status(401),
		"status 429":       status(429),
		"truncated": func(rw http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			w.Good.ServeHTTP(rec, r)
			body := rec.Body.Bytes()
			rw.Header().Set("Content-Length", fmt.Sprint(len(body)+10))
			_, _ = rw.Write(body[:len(body)/2])
		},
		"cut in the middle": func(rw http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			w.Good.ServeHTTP(rec, r)
			// A height cut in two would still be a number: such a text is made none.
			_, _ = io.WriteString(rw, rec.Body.String()[:rec.Body.Len()/2]+`{"`)
		},
		"oversized": func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(rw, "[")
			chunk := strings.Repeat(" ", 1<<20)
			for range feed.MaxBody>>20 + 1 {
				if _, err := io.WriteString(rw, chunk); err != nil {
					return
				}
			}
		},
		"connection dropped": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			t.Cleanup(srv.Close)
			fails(t, w.New(srv.URL), context.Background(), w.Now, srv.URL)
		})
	}
	t.Run("slow server", func(t *testing.T) {
		asked := make(chan struct{}, 64)
		srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // so that the server notices when the client leaves
			asked <- struct{}{}
			<-r.Context().Done()
		}))
		t.Cleanup(srv.Close)
		ctx, cancel := context.WithCancel(context.Background())
		go func() { <-asked; cancel() }()
		fails(t, w.New(srv.URL), ctx, w.Now, srv.URL)
	})
	t.Run("nobody there", func(t *testing.T) {
		srv := httptest.NewServer(w.Good)
		srv.Close()
		fails(t, w.New(srv.URL), context.Background(), w.Now, srv.URL)
	})
	t.Run("redirect to another host", func(t *testing.T) {
		var visits atomic.Int32
		other := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			visits.Add(1)
			w.Good.ServeHTTP(rw, r)
		}))
		t.Cleanup(other.Close)
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		}))
		t.Cleanup(srv.Close)
		fails(t, w.New(srv.URL), context.Background(), w.Now, srv.URL)
		if visits.Load() > 0 {
			t.Error("it followed")
		}
	})
	t.Run("secrets stay out of errors", func(t *testing.T) {
		srv := httptest.NewServer(status(401))
		t.Cleanup(srv.Close)
		withSecret := strings.Replace(srv.URL, "http://", "http://operator:hunter2@", 1)
		for _, u := range []string{srv.URL, withSecret} {
			fails(t, w.New(u), context.Background(), w.Now, srv.URL)
		}
	})
}

// fails asks for everything and wants an error that names the address and no
// secret, and no order that is not one.
func fails(t *testing.T, src feed.Source, ctx context.Context, now time.Time, url string) {
	t.Helper()
	got, err := src.Fetch(ctx, now)
	if os, ok := src.(feed.OrderSource); ok && err == nil {
		var orders []feed.Order
		if orders, err = os.FetchOrders(ctx, now); len(orders) > 0 {
			t.Errorf("orders came out of it: %v", orders)
		}
	}
	if err == nil {
		t.Fatalf("no error; it gives %v", got)
	}
	if len(got) > 0 {
		t.Errorf("points came out of it: %v", got)
	}
	if !strings.Contains(err.Error(), url) {
		t.Errorf("the error does not name %s: %v", url, err)
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "operator") {
		t.Errorf("the error gives a secret away: %v", err)
	}
}
