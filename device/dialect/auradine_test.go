package dialect_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
)

// fluxos is a virtual Teraflux: it tells all on the cgminer API and obeys over REST,
// both at one port here, with a token that it can forget.
type fluxos struct {
	mu             sync.Mutex
	off            bool
	mode           string
	watts          int
	token          string
	logins         int
	refuse, ignore bool
	asked          []string
}

func newFluxos() *fluxos { return &fluxos{mode: "normal", watts: 3400} }

func (f *fluxos) draws() int {
	if f.off {
		return 60
	}
	return map[string]int{"eco": 2500, "normal": 3400, "turbo": 4000, "custom": f.watts}[f.mode]
}

func (f *fluxos) power() sluice.Watts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return sluice.Watts(f.draws())
}

func (f *fluxos) fault(refuse, ignore bool) func() {
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.refuse, f.ignore = refuse, ignore
	}
}

// one serves cgminer's protocol and HTTP on one port: requests tell them apart.
func (f *fluxos) address(t *testing.T) device.Address {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &handed{Addr: l.Addr(), conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: http.HandlerFunc(f.rest), ReadHeaderTimeout: 5 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener{web}) })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f.accept(c, web) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		_ = server.Close()
		wg.Wait()
	})
	port := l.Addr().(*net.TCPAddr).Port
	return device.Address{Host: "127.0.0.1", APIPort: port, WebPort: port}
}

func (f *fluxos) accept(c net.Conn, web *handed) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	b := bufio.NewReader(c)
	first, err := b.Peek(1)
	if err == nil && first[0] != '{' {
		select {
		case web.conns <- peeked{c, b}:
			return
		case <-web.done:
		}
	}
	var q struct{ Command string }
	if err == nil && json.NewDecoder(b).Decode(&q) == nil {
		_, _ = c.Write(f.api(q.Command))
	}
	_ = c.Close()
}

// handed is a listener of connections that are handed to it.
type handed struct {
	net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

type listener struct{ *handed }

func (l listener) Addr() net.Addr { return l.handed.Addr }

type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

func (f *fluxos) api(command string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	head := `{"STATUS":[{"STATUS":"S","When":1703715266,"Code":11,"Msg":"","Description":"FluxOS-2023-12.27-9bf070ee"}],`
	sleep, rate := "off", f.draws()*1000000/20
	if f.off {
		sleep, rate = "on", 0
	}
	switch command {
	case "summary":
		return fmt.Appendf([]byte(head), `"SUMMARY":[{"Elapsed":56696,"MHS 5s":%d,"MHS av":%d}],"id":1}`, rate, rate)
	case "mode":
		return fmt.Appendf([]byte(head), `"Mode":[{"Mode":%q,"Power":%d,"Sleep":%q,"Ths":170}],"id":1}`, f.mode, f.watts, sleep)
	case "psu":
		return fmt.Appendf([]byte(head), `"PSU":[{"PowerIn":"%d.00W","PowerOut":"%d.00W"}],"id":1}`, f.draws(), f.draws()-60)
	case "version":
		return append([]byte(head), `"VERSION":[{"API":"1.0","GCMiner":"0.5"}],"id":1}`...)
	case "ipreport":
		return append([]byte(head), `"IPReport":[{"mac":"1c:00:00:0e:3b:2b","model":"AT1500","version":"2023-12.27"}],"id":1}`...)
	}
	return []byte(`{"STATUS":[{"STATUS":"E","Code":14,"Msg":"Invalid command"}],"id":1}`)
}

func (f *fluxos) rest(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var q map[string]any
	_ = json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&q)
	say := func(letter, msg, rest string) {
		fmt.Fprintf(w, `{"STATUS":[{"STATUS":%q,"Code":540,"Msg":%q}]%s,"id":1}`, letter, msg, rest)
	}
	switch {
	case r.Method != http.MethodPost:
		http.NotFound(w, r)
	case r.URL.Path == "/token" && q["user"] == "admin" && q["password"] == "secret":
		f.logins++
		f.token = fmt.Sprint("token", f.logins)
		say("S", "token", fmt.Sprintf(`,"Token":[{"Token":%q}]`, f.token))
	case r.URL.Path == "/token", f.token == "", r.Header.Get("Token") != f.token:
		http.Error(w, `{"STATUS":[{"STATUS":"E","Msg":"unauthorized"}]}`, http.StatusUnauthorized)
	case r.URL.Path == "/mode" && q["command"] == "mode":
		b, _ := json.Marshal(q)
		f.asked = append(f.asked, string(b))
		if f.refuse {
			say("E", "busy", "")
			return
		}
		if !f.ignore && !f.change(q) {
			say("E", "no such mode", "")
			return
		}
		say("S", "ok", "")
	default:
		http.NotFound(w, r)
	}
}

func (f *fluxos) change(q map[string]any) bool {
	if s, ok := q["sleep"].(string); ok {
		f.off = s == "on"
		return s == "on" || s == "off"
	}
	switch q["mode"] {
	case "eco", "normal", "turbo":
		f.mode = q["mode"].(string)
		return true
	case "custom":
		w, ok := q["power"].(float64)
		if ok && q["tune"] == "power" {
			f.mode, f.watts = "custom", int(w)
		}
		return ok
	}
	return false
}

func TestAuradineConformance(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) devicetest.Device {
		f := newFluxos()
		a := f.address(t)
		a.User, a.Password = "admin", "secret"
		w := devicetest.NewWire(t, a.API(0))
		again := func() device.Miner { return miner{driver(t, "auradine", w.Address(a))} }
		return devicetest.Device{
			Miner: again(), Again: again, Wire: w, Power: f.power,
			Refuse: f.fault(true, false), Ignore: f.fault(false, true), Behave: f.fault(false, false),
		}
	})
}

func TestAuradineLanes(t *testing.T) {
	f := newFluxos()
	a := f.address(t)
	a.User, a.Password = "admin", "secret"
	d := driver(t, "auradine", a)
	p, err := d.Prior(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		mode, reads string
		watts       sluice.Watts
	}{
		{"eco", "eco", 2500},
		{"2800W", "2800W", 2800},
		{sluice.ModeSleep, "sleep", 60},
		{sluice.ModeMine, "normal", 3400},
	} {
		set(t, d, step.mode, p)
		if got := nowIn(t, d); got != step.reads || f.power() != step.watts {
			t.Errorf("%s: reads %q at %v, want %q at %v", step.mode, got, f.power(), step.reads, step.watts)
		}
		f.mu.Lock()
		f.token = "" // it restarts: the next command needs another
		f.mu.Unlock()
	}
	a.Password = "guessed"
	o, err := driver(t, "auradine", a).Set(within(t, 5*time.Second), sluice.ModeSleep, p)
	if o != sluice.Refused || strings.Contains(err.Error(), "guessed") {
		t.Errorf("a wrong password: %q, %v", o, err)
	}
}
