package telemetry

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/util/compression"
)

// record appends batches of two series.
func record(t testing.TB, d *DB, from, n int) {
	t.Helper()
	a, b := d.Series("a", "k", "1"), d.Series("a", "k", "2")
	for i := from; i < from+n; i++ {
		mustAppend(t, d, start.Add(time.Duration(i)*10*time.Second), Sample{a, float64(i)}, Sample{b, float64(-i)})
	}
}

// TestRemoteWriteSurvivesAnOutage kills the receiver in the middle and starts it
// again: it ends up with everything, as does one whose sender was restarted.
func TestRemoteWriteSurvivesAnOutage(t *testing.T) {
	d := testDB(t)
	peer := startPrometheus(t)
	o := RemoteOptions{URL: peer.url() + "/api/v1/write", Every: 20 * time.Millisecond, Retry: 20 * time.Millisecond, Backlog: 24 * time.Hour, Batch: 30}
	run := func() (*Remote, func()) {
		r, err := NewRemote(d, o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()
		return r, func() { cancel(); <-done }
	}
	sent := func(r *Remote, n uint64) {
		t.Helper()
		await(t, "all is sent", func() error {
			if r.sent.Load() < n {
				return errors.New("not yet")
			}
			return nil
		})
	}
	r, end := run()
	record(t, d, 0, 1) // where sending begins
	sent(r, 2)
	record(t, d, 1, 50)
	sent(r, 102)
	peer.stop()
	record(t, d, 51, 100)
	await(t, "an attempt fails", func() error {
		if r.failures.Load() == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	end() // the sender is restarted in the middle of the outage
	r, end = run()
	defer end()
	peer.start()
	record(t, d, 151, 50)
	sent(r, 200) // at least once: some may come twice
	form := url.Values{"query": {`sum by (k) (count_over_time(a[1h])) + 0 * max by (k) (a)`}, "time": {start.Add(2001 * time.Second).Format(time.RFC3339)}}
	await(t, "the receiver has all 201 samples of each series", func() error {
		_, e := ask(t, http.MethodGet, peer.url(), "/api/v1/query", form)
		if n := strings.Count(string(e.Data), `"201"`); n != 2 {
			return errors.New(string(e.Data))
		}
		return nil
	})
	if r.skippedMS.Load() != 0 {
		t.Errorf("%d ms were skipped", r.skippedMS.Load())
	}
}

// sink is a receiver whose answers a test decides.
type sink struct {
	mu      sync.Mutex
	answer  func(n int, samples map[string][]prompb.Sample) int
	n       int
	got     map[string][]prompb.Sample
	headers http.Header
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers = r.Header
	body, _ := io.ReadAll(r.Body)
	raw, err := compression.Decode(compression.Snappy, body, nil)
	var q prompb.WriteRequest
	if err != nil || q.Unmarshal(raw) != nil {
		http.Error(w, "not a write request", http.StatusBadRequest)
		return
	}
	in := map[string][]prompb.Sample{}
	for _, ts := range q.Timeseries {
		for _, l := range ts.Labels {
			if l.Name == "k" {
				in[l.Value] = append(in[l.Value], ts.Samples...)
			}
		}
	}
	s.n++
	if code := s.answer(s.n, in); code != http.StatusNoContent {
		http.Error(w, "no: secret-of-the-receiver", code)
		return
	}
	for k, v := range in {
		s.got[k] = append(s.got[k], v...)
	}
	w.WriteHeader(http.StatusNoContent)
}

func newSink(t testing.TB, answer func(n int, samples map[string][]prompb.Sample) int) (*sink, string) {
	s := &sink{answer: answer, got: map[string][]prompb.Sample{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

// sender is a remote that begins with the first batch.
func sender(t testing.TB, d *DB, o RemoteOptions) *Remote {
	t.Helper()
	o.Retry = time.Millisecond
	r, err := NewRemote(d, o)
	if err != nil {
		t.Fatal(err)
	}
	r.mark = mark{Sent: start.UnixMilli() - 1, Until: start.UnixMilli() - 1}
	return r
}

func TestWhatTheReceiverAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer                   func(n int, in map[string][]prompb.Sample) int
		got                      map[string]int
		sent, rejected, failures uint64
	}{
		"takes all": {func(int, map[string][]prompb.Sample) int { return 204 }, map[string]int{"1": 3, "2": 3}, 6, 0, 0},
		"is down for a while": {func(n int, _ map[string][]prompb.Sample) int {
			return []int{0, 500, 503, 429, 401, 404, 302, 204}[min(n, 7)]
		}, map[string]int{"1": 3, "2": 3}, 6, 0, 6},
		"refuses one series": {func(_ int, in map[string][]prompb.Sample) int {
			if in["2"] != nil {
				return 400
			}
			return 204
		}, map[string]int{"1": 3}, 3, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := testDB(t)
			record(t, d, 0, 3)
			s, u := newSink(t, c.answer)
			r := sender(t, d, RemoteOptions{URL: u})
			r.sync(t.Context())
			got := map[string]int{}
			for k, v := range s.got {
				got[k] = len(v)
			}
			if !reflect.DeepEqual(got, c.got) || r.sent.Load() != c.sent || r.rejected.Load() != c.rejected || r.failures.Load() != c.failures {
				t.Errorf("got %v, sent %d, rejected %d, failures %d", got, r.sent.Load(), r.rejected.Load(), r.failures.Load())
			}
		})
	}
}

func TestALateBatchIsSentToo(t *testing.T) {
	d := testDB(t)
	record(t, d, 0, 10)
	s, u := newSink(t, func(int, map[string][]prompb.Sample) int { return 204 })
	r := sender(t, d, RemoteOptions{URL: u})
	r.sync(t.Context())
	mustAppend(t, d, start.Add(45*time.Second), Sample{d.Series("a", "k", "late"), 7})
	r.sync(t.Context())
	if got := s.got["late"]; len(got) != 1 || got[0].Value != 7 {
		t.Errorf("got %v", got)
	}
}

func TestTheBacklogIsBounded(t *testing.T) {
	d := testDB(t)
	record(t, d, 0, 100)
	s, u := newSink(t, func(int, map[string][]prompb.Sample) int { return 204 })
	r := sender(t, d, RemoteOptions{URL: u, Backlog: 5 * time.Minute})
	r.sync(t.Context())
	if n := len(s.got["1"]); n != 30 || s.got["1"][0].Timestamp != start.Add(700*time.Second).UnixMilli() {
		t.Errorf("%d samples sent", n)
	}
	if skipped := r.skippedMS.Load(); skipped != 690_001 {
		t.Errorf("%d ms skipped", skipped)
	}
}

func TestSecretsGoToTheReceiverOnly(t *testing.T) {
	d := testDB(t)
	record(t, d, 0, 1)
	s, u := newSink(t, func(int, map[string][]prompb.Sample) int { return 204 })
	token := func() (string, error) { return "hush", nil }
	sender(t, d, RemoteOptions{URL: u, Token: token}).sync(t.Context())
	if a := s.headers.Get("Authorization"); a != "Bearer hush" {
		t.Errorf("Authorization %q", a)
	}
	sender(t, d, RemoteOptions{URL: u, User: "me", Password: token}).sync(t.Context())
	if user, p, _ := (&http.Request{Header: s.headers}).BasicAuth(); user != "me" || p != "hush" {
		t.Errorf("basic %q %q", user, p)
	}
	if v, e := s.headers.Get("X-Prometheus-Remote-Write-Version"), s.headers.Get("Content-Encoding"); v != "0.1.0" || e != "snappy" {
		t.Errorf("version %q, encoding %q", v, e)
	}
	// A redirect is not followed: it would carry the token elsewhere.
	other, elsewhere := newSink(t, func(int, map[string][]prompb.Sample) int { return 204 })
	redirect := httptest.NewServer(http.RedirectHandler(elsewhere, http.StatusTemporaryRedirect))
	defer redirect.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	sender(t, d, RemoteOptions{URL: redirect.URL, Token: token}).sync(ctx)
	if other.n != 0 {
		t.Error("a redirect was followed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	r := sender(t, d, RemoteOptions{URL: "http://" + l.Addr().String() + "/write?key=hush"})
	if err := r.post(t.Context(), request{}, 0); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("error %v", err)
	}
	for _, bad := range []string{"", "ftp://x/", "https://a:b@host/", "http://", "%"} {
		if _, err := NewRemote(d, RemoteOptions{URL: bad}); err == nil || strings.Contains(err.Error(), "a:b") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestADamagedMarkIsNoReasonToStop(t *testing.T) {
	d := testDB(t)
	record(t, d, 0, 5)
	s, u := newSink(t, func(int, map[string][]prompb.Sample) int { return 204 })
	for _, text := range []string{"{", `{"sent_ms":-5}`, `{"sent_ms":9,"until_ms":3}`, `{"sent_ms":"x"}`} {
		r := sender(t, d, RemoteOptions{URL: u})
		if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := NewRemote(d, RemoteOptions{URL: u})
		if err != nil || r.mark != (mark{}) {
			t.Fatalf("%q: %v, %v", text, err, r.mark)
		}
		r.sync(t.Context())
	}
	if n := len(s.got["1"]); n != 5+1+1+1 { // what this process has recorded, then the newest batch each time
		t.Errorf("%d samples", n)
	}
}
