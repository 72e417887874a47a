package fabric_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sluice"
	"sluice/fabric"
	"sluice/store"
)

const epoch = "0123456789abcdef0123456789abcdef"

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := time.After(90 * time.Second) // what a closed hub had in its hands comes again after ackWait
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

func newHub(t testing.TB, change func(*fabric.Config), hosts ...string) (*fabric.Hub, *store.DB) {
	t.Helper()
	db, err := store.Open(t.Context(), t.TempDir(), store.Options{Site: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	c := fabric.Config{Dir: filepath.Join(db.Dir(), "fabric"), Listen: "127.0.0.1:0", Hosts: hosts, Tokens: db.Fabric(), Journal: db.Fabric()}
	if change != nil {
		change(&c)
	}
	h, err := fabric.NewHub(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h, db
}

func token(t testing.TB, h *fabric.Hub, host string) fabric.JoinToken {
	t.Helper()
	tok, err := h.Token(context.Background(), host, time.Now().Add(time.Hour), "test")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func dial(t testing.TB, h *fabric.Hub, tok fabric.JoinToken) *fabric.Link {
	t.Helper()
	l, err := fabric.Dial(t.Context(), fabric.LinkConfig{URL: h.Address(), Token: tok})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func beat(t testing.TB, l *fabric.Link) fabric.BeatReply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r, err := l.Beat(ctx, fabric.Beat{Epoch: epoch})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Only the right token of the right host lets in, and only to the right site.
func TestWhoMayJoin(t *testing.T) {
	h, db := newHub(t, nil, "a", "b")
	a := token(t, h, "a")
	if r := beat(t, dial(t, h, a)); r.Refused != "" || r.Key == "" {
		t.Fatalf("%+v", r)
	}
	b, err := os.ReadFile(filepath.Join(db.Dir(), store.FileName))
	wal, _ := os.ReadFile(filepath.Join(db.Dir(), store.FileName+"-wal"))
	if err != nil || bytes.Contains(append(b, wal...), []byte(a.Secret)) {
		t.Fatalf("the secret is in the database (%v)", err)
	}
	wrong, _ := fabric.NewToken("a", a.CA, false)
	other := a
	other.Host = "b"
	for what, tok := range map[string]fabric.JoinToken{"another secret": wrong, "another host's": other} {
		_, err := fabric.Dial(t.Context(), fabric.LinkConfig{URL: h.Address(), Token: tok})
		if !errors.Is(err, fabric.ErrRefused) || strings.Contains(err.Error(), tok.Secret) {
			t.Errorf("%s: %v", what, err)
		}
	}
	elsewhere := a
	elsewhere.CA = strings.Repeat("ab", 32)
	if _, err := fabric.Dial(t.Context(), fabric.LinkConfig{URL: h.Address(), Token: elsewhere}); err == nil || !strings.Contains(err.Error(), "another site") {
		t.Errorf("joined a site that the token does not name: %v", err)
	}
	if _, err := h.Token(t.Context(), "c", time.Time{}, "test"); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("a token of a host that is none: %v", err)
	}
}

// A token is good for joining until it expires, and then for the host that has.
func TestExpiry(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	h, _ := newHub(t, func(c *fabric.Config) { c.Now = clock }, "a", "b")
	a, err := h.Token(t.Context(), "a", now.Add(time.Hour), "test")
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.Token(t.Context(), "b", now.Add(time.Hour), "test")
	if err != nil {
		t.Fatal(err)
	}
	dial(t, h, a).Close()
	mu.Lock()
	now = now.Add(2 * time.Hour)
	mu.Unlock()
	dial(t, h, a)
	if _, err := fabric.Dial(t.Context(), fabric.LinkConfig{URL: h.Address(), Token: b}); !errors.Is(err, fabric.ErrRefused) {
		t.Fatalf("joined with an expired token: %v", err)
	}
}

// Revoking cuts the connection at once and keeps it cut; the other host stays.
func TestRevoke(t *testing.T) {
	h, _ := newHub(t, nil, "a", "b")
	ta := token(t, h, "a")
	a, b := dial(t, h, ta), dial(t, h, token(t, h, "b"))
	beat(t, a)
	beat(t, b)
	if n, err := h.Revoke(t.Context(), "a"); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	until(t, "the connection is cut", func() bool { return !a.Connected() })
	if _, err := fabric.Dial(t.Context(), fabric.LinkConfig{URL: h.Address(), Token: ta}); !errors.Is(err, fabric.ErrRefused) {
		t.Fatalf("joined again: %v", err)
	}
	beat(t, b)
	again := dial(t, h, token(t, h, "a"))
	if r := beat(t, again); r.Refused != "" {
		t.Fatalf("with a new token: %+v", r)
	}
}

// Guesses from one address are let through at a slow rate only.
func TestGuesses(t *testing.T) {
	h, _ := newHub(t, nil, "a")
	good := token(t, h, "a")
	wrong, _ := fabric.NewToken("a", good.CA, false)
	for range 15 {
		if _, err := fabric.Dial(t.Context(), fabric.LinkConfig{URL: h.Address(), Token: wrong}); err == nil {
			t.Fatal("let in")
		}
	}
	if _, err := fabric.Dial(t.Context(), fabric.LinkConfig{URL: h.Address(), Token: good}); !errors.Is(err, fabric.ErrRefused) {
		t.Fatalf("an address that has guessed 15 times is let in at once: %v", err)
	}
	until(t, "it is let in when it has waited", func() bool {
		l, err := fabric.Dial(t.Context(), fabric.LinkConfig{URL: h.Address(), Token: good})
		if err == nil {
			l.Close()
		}
		return err == nil
	})
}

// A second agent with the same token, as after a copy of the machine, is refused
// while the first is heard.
func TestTwoAgents(t *testing.T) {
	h, _ := newHub(t, nil, "a")
	tok := token(t, h, "a")
	beat(t, dial(t, h, tok))
	r, err := dial(t, h, tok).Beat(t.Context(), fabric.Beat{Epoch: strings.Repeat("f", 32)})
	if err != nil || !strings.Contains(r.Refused, "second agent") {
		t.Fatalf("%+v, %v", r, err)
	}
}

// raw connects with a host's own right but no manners.
func raw(t testing.TB, h *fabric.Hub, tok fabric.JoinToken) (*nats.Conn, *sync.Map) {
	t.Helper()
	var errs sync.Map
	nc, err := nats.Connect(h.Address(), nats.UserInfo(tok.Host, tok.Secret), nats.TLSHandshakeFirst(), nats.Secure(insecure()),
		nats.CustomInboxPrefix("_INBOX_sluice."+tok.Host),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs.Store(err.Error(), true) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, &errs
}

// What the agent of A may neither read nor write: B's subjects, inboxes and
// events, the site's inbox, JetStream's API, the server's own account.
func TestAgentsAreApart(t *testing.T) {
	h, db := newHub(t, nil, "a", "b")
	a, errs := raw(t, h, token(t, h, "a"))
	b := dial(t, h, token(t, h, "b"))
	stopped := make(chan string, 10)
	if err := b.Serve(fabric.OpStop, func(o fabric.Order, _ []byte) (any, []byte, error) {
		stopped <- string(o.Body)
		return nil, nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	beat(t, b)
	for _, subject := range []string{
		"sluice.h.b.up.beat", "sluice.h.b.up.>", "sluice.h.b.ev", "sluice.h.b.down.stop", "sluice.h.>", "sluice.h.*.down.>", ">",
		"_INBOX_sluice.b.>", "_INBOX_sluice.>", "_INBOX_sluice_site.>", "_INBOX.>", "$JS.API.>", "$SYS.>", "$JS.EVENT.>",
	} {
		sub, err := a.SubscribeSync(subject)
		if err == nil {
			_ = a.Flush()
			until(t, "the subscription to "+subject+" is refused", func() bool { return refused(errs, `Subscription to "`+subject) })
			_ = sub.Unsubscribe()
		}
	}
	for _, subject := range []string{
		"sluice.h.b.up.beat", "sluice.h.b.ev", "sluice.h.b.down.stop", "sluice.h.a.down.stop", "_INBOX_sluice.b.x", "_INBOX_sluice_site.x",
		"$JS.API.STREAM.DELETE." + fabric.StreamName, "$JS.API.CONSUMER.MSG.NEXT." + fabric.StreamName + ".site", "$JS.ACK.x",
	} {
		if err := a.Publish(subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
		_ = a.Flush()
		until(t, "publishing to "+subject+" is refused", func() bool { return refused(errs, `Publish to "`+subject) })
	}
	// A reply is not checked by the server: the site and its stream must not be made
	// to speak to B in A's name.
	if err := a.PublishRequest("sluice.h.a.up.beat", "sluice.h.b.down.stop", frame(t, fabric.Beat{V: fabric.Version, Epoch: epoch})); err != nil {
		t.Fatal(err)
	}
	if err := a.PublishRequest("sluice.h.a.ev", "sluice.h.b.down.stop", frame(t, fabric.Batch{V: fabric.Version, Epoch: epoch, To: 1, Events: []fabric.Event{{Seq: 1, At: time.Now(), Reading: &fabric.Reading{Name: "x"}}}})); err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(); err != nil {
		t.Fatal(err)
	}
	// What A reports of itself counts; when it is stored, the site has handled all.
	until(t, "A's own event is stored", func() bool {
		e, err := db.Fabric().Events(context.Background(), "a", "", 10)
		return err == nil && len(e) == 1
	})
	if e, _ := db.Fabric().Events(t.Context(), "b", "", 10); len(e) != 0 {
		t.Errorf("events of B: %v", e)
	}
	select {
	case s := <-stopped:
		t.Errorf("B was ordered to stop %q", s)
	default:
	}
	if ok, _ := h.Reach("a"); ok {
		t.Error("a heartbeat with another's reply counts")
	}
}

func refused(errs *sync.Map, text string) bool {
	found := false
	errs.Range(func(k, _ any) bool {
		found = found || strings.Contains(strings.ToLower(k.(string)), strings.ToLower(text))
		return !found
	})
	return found
}

// frame packs a message as the fabric does, for short ones.
func frame(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	n := len(b)
	return append([]byte{byte(n&0x7f | 0x80), byte(n >> 7)}, b...)
}

// An order without the site's key is refused by whoever serves as an agent does,
// and events come again after a failure of the database, once each.
func TestEventsOnce(t *testing.T) {
	j := &failing{fail: 3}
	h, db := newHub(t, func(c *fabric.Config) { j.Journal = c.Journal; c.Journal = j }, "a")
	l := dial(t, h, token(t, h, "a"))
	publish := func(after, to uint64) {
		b := fabric.Batch{Epoch: epoch, After: after, To: to}
		for i := after + 1; i <= to; i++ {
			b.Events = append(b.Events, fabric.Event{Seq: i, At: time.Now().Add(time.Duration(i) * time.Second), Reading: &fabric.Reading{Name: "n", Value: float64(i)}})
		}
		if err := l.Publish(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	publish(0, 10)
	publish(20, 25) // ahead of what is still to come
	publish(5, 15)  // an agent that does not know what was confirmed
	publish(10, 20)
	publish(0, 25)
	until(t, "all are stored", func() bool {
		e, err := db.Fabric().Events(context.Background(), "a", "", 100)
		if err != nil || len(e) < 25 {
			return false
		}
		for i, x := range e {
			if x.Seq != uint64(i+1) || len(e) != 25 {
				t.Fatalf("event %d is number %d of %d", i+1, x.Seq, len(e))
			}
		}
		return true
	})
	if j.failed != 3 {
		t.Fatalf("the database failed %d times, not as it was meant to", j.failed)
	}
}

type failing struct {
	fabric.Journal
	fail, failed int
}

func (f *failing) AppendEvents(ctx context.Context, b []fabric.HostBatch) ([]fabric.Outcome, error) {
	if f.failed < f.fail {
		f.failed++
		return nil, errors.New("the disk is full")
	}
	return f.Journal.AppendEvents(ctx, b)
}

// startNATS runs Debian's nats-server as an existing cluster: TLS by an authority
// of its own, a user for the site, and one for each host as the token command
// prints it.
func startNATS(t *testing.T) (url, ca string, addUser func(string)) {
	t.Helper()
	bin, err := exec.LookPath("nats-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("nats-server is not installed")
		}
		t.Skip("nats-server is not installed: make test installs it")
	}
	dir := t.TempDir()
	certificates(t, dir)
	users := []string{`{user: site, password: sitesecret}`}
	port := freePort(t)
	conf := filepath.Join(dir, "nats.conf")
	write := func() {
		text := fmt.Sprintf("listen: 127.0.0.1:%d\njetstream {store_dir: %q}\npid_file: %q\n"+
			"tls {cert_file: %q, key_file: %q}\nauthorization {users: [\n%s\n]}\n",
			port, dir, filepath.Join(dir, "pid"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), strings.Join(users, "\n"))
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	cmd := exec.Command(bin, "-c", conf)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%.3000s", out.String())
		}
	})
	url, ca = fmt.Sprintf("tls://127.0.0.1:%d", port), filepath.Join(dir, "ca.pem")
	until(t, "nats-server listens", func() bool {
		nc, err := nats.Connect(url, nats.UserInfo("site", "sitesecret"), nats.RootCAs(ca))
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	return url, ca, func(u string) {
		users = append(users, u)
		write()
		if err := cmd.Process.Signal(hup); err != nil {
			t.Fatal(err)
		}
	}
}

// heldByTheDead takes the next of what hosts have told, as a site does that is killed
// before it has stored it.
func heldByTheDead(t *testing.T, url, ca string) {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserInfo("site", "sitesecret"), nats.RootCAs(ca))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.Consumer(t.Context(), fabric.StreamName, fabric.DurableName)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "it is held", func() bool {
		m, err := c.Fetch(1, jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return (<-m.Messages()) != nil
	})
}

// An existing cluster takes the embedded server's place: hosts join it by users
// that the operator adds, heartbeats and events go through it, and what hosts
// report while the site is away waits in it.
func TestExistingCluster(t *testing.T) {
	url, ca, addUser := startNATS(t)
	var cfg fabric.Config
	h, db := newHub(t, func(c *fabric.Config) {
		c.Listen, c.Cluster = "", fabric.Cluster{URL: url, CAFile: ca, User: "site", Password: "sitesecret"}
		cfg = *c
	}, "a", "b")
	tok := token(t, h, "a")
	if !tok.External || tok.CA != "" {
		t.Fatalf("%+v", tok)
	}
	link := fabric.LinkConfig{URL: url, Token: tok, CAFile: ca}
	if _, err := fabric.Dial(t.Context(), link); !errors.Is(err, fabric.ErrRefused) {
		t.Fatalf("joined before the cluster knew it: %v", err)
	}
	user, err := tok.ClusterUser()
	if err != nil || strings.Contains(user, tok.Secret) {
		t.Fatalf("%s, %v", user, err)
	}
	addUser(user)
	var l *fabric.Link
	until(t, "the host joins", func() bool {
		var err error
		l, err = fabric.Dial(t.Context(), link)
		return err == nil
	})
	t.Cleanup(l.Close)
	asked := make(chan string, 1)
	if err := l.Serve(fabric.OpStop, func(o fabric.Order, _ []byte) (any, []byte, error) {
		asked <- o.Key
		return struct{}{}, []byte("data"), nil
	}); err != nil {
		t.Fatal(err)
	}
	reply := beat(t, l)
	if reply.Refused != "" {
		t.Fatalf("%+v", reply)
	}
	if data, err := h.Ask(t.Context(), "a", fabric.OpStop, fabric.StopOrder{Run: "x"}, nil, nil); err != nil || string(data) != "data" || <-asked != reply.Key {
		t.Fatalf("%q, %v", data, err)
	}
	h.Close() // the site is away; its cluster is not
	b := fabric.Batch{Epoch: epoch, To: 1, Events: []fabric.Event{{Seq: 1, At: time.Now(), Reading: &fabric.Reading{Name: "power", Value: 3}}}}
	if err := l.Publish(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	heldByTheDead(t, url, ca)
	b = fabric.Batch{Epoch: epoch, After: 1, To: 2, Events: []fabric.Event{{Seq: 2, At: time.Now().Add(time.Second), Reading: &fabric.Reading{Name: "power", Value: 4}}}}
	if err := l.Publish(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	again, err := fabric.NewHub(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	// What a site that was killed had in its hands comes after what was told later, and is
	// waited for.
	until(t, "the events are stored", func() bool {
		e, err := db.Fabric().Events(context.Background(), "a", "", 10)
		return err == nil && len(e) == 2 && e[0].Reading.Value == 3 && e[1].Reading.Value == 4
	})
	if _, err := again.Revoke(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if r := beat(t, l); !strings.Contains(r.Refused, "revoked") {
		t.Fatalf("a revoked host is heard through the cluster: %+v", r)
	}
}
