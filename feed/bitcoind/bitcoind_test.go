package bitcoind

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/feed"
	"sluice/feed/feedtest"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// node answers as bitcoind 27 does.
type node struct {
	mu     sync.Mutex
	tip    int64
	auth   string // wanted, user:password
	pruned bool
	ibd    bool
	asked  []int64 // heights of getblockstats
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	user, password, _ := r.BasicAuth()
	if user+":"+password != n.auth {
		w.Header().Set("WWW-Authenticate", `Basic realm="jsonrpc"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	body, _ := io.ReadAll(r.Body)
	if body[0] == '{' {
		fmt.Fprintf(w, `{"result":{"chain":"main","blocks":%d,"headers":%d,"bestblockhash":"00","difficulty":144398401518101.1,"time":1772366000,"mediantime":1772364000,"verificationprogress":0.99999,"initialblockdownload":%v,"chainwork":"00","size_on_disk":1,"pruned":%v,"warnings":""},"error":null,"id":0}`, n.tip, n.tip, n.ibd, n.pruned)
		return
	}
	var batch []struct {
		ID     int64 `json:"id"`
		Params []any `json:"params"`
	}
	if err := json.Unmarshal(body, &batch); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	var out []string
	for i := len(batch) - 1; i >= 0; i-- { // a batch may be answered in any order
		h := int64(batch[i].Params[0].(float64))
		n.asked = append(n.asked, h)
		if n.pruned {
			out = append(out, fmt.Sprintf(`{"result":null,"error":{"code":-1,"message":"Block not available (pruned data)"},"id":%d}`, batch[i].ID))
			continue
		}
		out = append(out, fmt.Sprintf(`{"result":{"totalfee":%d},"error":null,"id":%d}`, 2_000_000+h%2*1_000_000, batch[i].ID))
	}
	fmt.Fprintf(w, "[%s]", strings.Join(out, ","))
}

func TestSuite(t *testing.T) {
	feedtest.HTTP(t, feedtest.Wire{
		New:  func(u string) feed.Source { return New(Options{URL: u, User: "operator", Password: "hunter2"}) },
		Good: &node{tip: 938901, auth: "operator:hunter2"}, Now: now,
	})
}

func TestValuesAndBlocksAskedOnce(t *testing.T) {
	n := &node{tip: 938901, auth: "__cookie__:abc"}
	srv := httptest.NewServer(n)
	defer srv.Close()
	cookie := filepath.Join(t.TempDir(), ".cookie")
	if err := os.WriteFile(cookie, []byte("__cookie__:abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(Options{URL: srv.URL, CookieFile: cookie})
	got, err := s.Fetch(context.Background(), now)
	if err != nil {
		t.Fatal(err)
	}
	for q, want := range map[feed.Quantity]float64{feed.Difficulty: 144398401518101.1, feed.Subsidy: 3.125, feed.Fees: 0.025} {
		if ps := got[q]; len(ps) != 1 || ps[0].Value != want {
			t.Errorf("%s: %v, want %g", q, ps, want)
		}
	}
	if len(n.asked) != recent {
		t.Errorf("%d blocks were asked for, want %d", len(n.asked), recent)
	}
	n.asked, n.tip = nil, n.tip+1
	if _, err := s.Fetch(context.Background(), now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	// The new block, and those that may be reorganised.
	if len(n.asked) != unsure {
		t.Errorf("after one more block %d were asked for, want %d", len(n.asked), unsure)
	}
}

func TestPrunedNodeHasNoFees(t *testing.T) {
	srv := httptest.NewServer(&node{tip: 938901, auth: "u:p", pruned: true})
	defer srv.Close()
	s := New(Options{URL: srv.URL, User: "u", Password: "p"})
	got, err := s.Fetch(context.Background(), now)
	if err != nil {
		t.Fatal(err)
	}
	if len(got[feed.Difficulty]) != 1 || got[feed.Fees] != nil {
		t.Errorf("got %v", got)
	}
	if !strings.Contains(s.Note(), "pruned data") {
		t.Errorf("the note is %q", s.Note())
	}
}

func TestSyncingNodeIsNotBelieved(t *testing.T) {
	srv := httptest.NewServer(&node{tip: 300_000, auth: "u:p", ibd: true})
	defer srv.Close()
	if _, err := New(Options{URL: srv.URL, User: "u", Password: "p"}).Fetch(context.Background(), now); err == nil || !strings.Contains(err.Error(), "downloading") {
		t.Errorf("got %v", err)
	}
}

func TestBadCookie(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("secret-without-colon"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "absent"), bad} {
		_, err := New(Options{URL: "http://127.0.0.1:1", CookieFile: path}).Fetch(context.Background(), now)
		if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "secret-without") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`[{"result":{"totalfee":5},"error":null,"id":938901}]`), true)
	f.Add([]byte(`{"result":{"blocks":5,"difficulty":1},"error":null,"id":0}`), false)
	var server fuzzed
	srv := httptest.NewServer(&server)
	defer srv.Close()
	s := New(Options{URL: srv.URL, User: "u", Password: "p"})
	f.Fuzz(func(t *testing.T, body []byte, batch bool) {
		server.set(body, batch)
		got, err := s.Fetch(context.Background(), now)
		if err != nil {
			return
		}
		for q, ps := range got {
			if !feed.Plausible(q, ps[0].Value) {
				t.Errorf("%s gives %s %g", body, q, ps[0].Value)
			}
		}
	})
}

// fuzzed answers one of the two questions with the given body.
type fuzzed struct {
	mu    sync.Mutex
	body  []byte
	batch bool
}

func (z *fuzzed) set(body []byte, batch bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.body, z.batch = body, batch
}

func (z *fuzzed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in, _ := io.ReadAll(r.Body)
	z.mu.Lock()
	defer z.mu.Unlock()
	if (in[0] == '[') == z.batch {
		_, _ = w.Write(z.body)
		return
	}
	fmt.Fprint(w, `{"result":{"blocks":938901,"difficulty":5},"error":null,"id":0}`)
}
