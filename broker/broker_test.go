package broker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
)

func within(t testing.TB, d time.Duration) context.Context {
	c, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return c
}

func dial(t testing.TB, o Options) *Conn {
	t.Helper()
	c, err := Dial(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func at(port int) device.Address {
	return device.Address{Host: "127.0.0.1", APIPort: port, User: "operator", Password: "hunter2"}
}

func up(m *devicetest.Mosquitto, c *Conn) {
	m.Until("connected", func() bool { return c.Err() == nil })
}

func TestMosquitto(t *testing.T) {
	m := devicetest.StartMosquitto(t)
	listener := dial(t, Options{Address: at(m.Plain)})
	speaker := dial(t, Options{Address: at(m.Plain), Online: "sluice/online"})
	online, err := listener.Watch("sluice/online", nil)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	seen := make(chan string, 100)
	if _, err := listener.Watch("a/b", func(m Message) { seen <- string(m.Payload) }); err != nil {
		t.Fatal(err)
	}
	if _, err := listener.Watch("a/b", func(Message) {}); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("a second watcher: %v", err)
	}
	up(m, listener)
	up(m, speaker)
	holds := func(topic *Topic, want string) {
		t.Helper()
		m.Until(topic.name+" holds "+want, func() bool { x, ok := topic.Last(); return ok && string(x.Payload) == want })
	}
	holds(online, "1")
	for _, s := range []string{"1", "2", "3"} {
		if err := speaker.Publish(within(t, 5*time.Second), "a/b", []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		select {
		case s := <-seen:
			order = append(order, s)
		case <-within(t, 5*time.Second).Done():
			t.Fatalf("only %v arrives", order)
		}
	}
	if strings.Join(order, "") != "123" {
		t.Errorf("the order is %v", order)
	}
	// Whoever comes later gets what the broker kept, and is told so.
	late := dial(t, Options{Address: at(m.Plain)})
	kept, _ := late.Watch("a/b", nil)
	holds(kept, "3")
	if x, _ := kept.Last(); !x.Retained || x.At.IsZero() {
		t.Errorf("%+v", x)
	}
	// A broker that goes and comes back loses nobody.
	m.Stop()
	waitFor(t, func() bool { return listener.Err() != nil && speaker.Err() != nil })
	if err := speaker.Publish(within(t, time.Second), "a/b", []byte("4")); err == nil || sluice.KindOf(err) != sluice.Unavailable {
		t.Errorf("published to nobody: %v", err)
	}
	m.Start()
	up(m, listener)
	up(m, speaker)
	m.Until("heard again", func() bool {
		_ = speaker.Publish(within(t, time.Second), "a/b", []byte("5"))
		select {
		case s := <-seen:
			return s == "5"
		default:
			return false
		}
	})
	speaker.Close()
	holds(online, "0")
	speaker.Close() // twice is once
}

// waitFor waits for what no peer needs to live for.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; !ok(); n++ {
		if n > 500 {
			t.Fatal("not within 10 s")
		}
		<-tick.C
	}
}

func TestWhoMayConnect(t *testing.T) {
	m := devicetest.StartMosquitto(t)
	wrong := at(m.Plain)
	wrong.Password = "hunter3"
	refused := dial(t, Options{Address: wrong})
	waitFor(t, func() bool { return refused.Err() != nil && strings.Contains(refused.Err().Error(), "refuses") })
	if s := refused.Err().Error(); strings.Contains(s, "hunter") || strings.Contains(s, "operator") {
		t.Errorf("it gives a secret away: %s", s)
	}
	denied := dial(t, Options{Address: at(m.Plain)})
	if _, err := denied.Watch("secret/x", nil); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tls device.TLS
		ok  bool
	}{
		"authority":                {device.TLS{CAFile: m.Certificate.Cert}, true},
		"fingerprint":              {device.TLS{Fingerprint: m.Certificate.Fingerprint}, true},
		"insecure":                 {device.TLS{Insecure: true}, true},
		"the system's authorities": {device.TLS{}, false},
		"another fingerprint":      {device.TLS{Fingerprint: strings.Repeat("ab", 32)}, false},
	} {
		conn := dial(t, Options{Address: at(m.TLS), TLS: &c.tls})
		if c.ok {
			m.Until(name, func() bool { return conn.Err() == nil })
			continue
		}
		waitFor(t, func() bool { err := conn.Err(); return err != nil && strings.Contains(err.Error(), "certificate") })
	}
	for name, tls := range map[string]device.TLS{"no file": {CAFile: "/no/such"}, "no hex": {Fingerprint: "xyz"}, "two": {Fingerprint: strings.Repeat("ab", 32), Insecure: true}} {
		if _, err := Dial(Options{Address: at(1), TLS: &tls}); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{"", "a/#", "a/+/b", strings.Repeat("a", 2000)} {
		if _, err := denied.Watch(bad, nil); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("the topic %.20q: %v", bad, err)
		}
	}
}

// A topic that the broker lets us not listen to is silent for that reason; what else
// there is goes on, and what is published is.
func TestATopicThatIsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go strict(c)
		}
	}()
	c := dial(t, Options{Address: at(l.Addr().(*net.TCPAddr).Port)})
	secret, err := c.Watch("secret", nil)
	if err != nil {
		t.Fatal(err)
	}
	open, err := c.Watch("open", nil)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return c.Err() == nil && secret.Err() != nil })
	if s := secret.Err().Error(); !strings.Contains(s, "refuses the topic secret") {
		t.Error(s)
	}
	if err := errors.Join(open.Err(), c.Err()); err != nil {
		t.Errorf("the other topic: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.Publish(ctx, "status", []byte("1")); err != nil {
		t.Errorf("publishing: %v", err)
	}
}

// strict is a broker that takes every connection and message, and refuses to tell
// what is said under the topic secret.
func strict(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	for {
		kind, err := r.ReadByte()
		if err != nil {
			return
		}
		n, err := binary.ReadUvarint(r)
		body := make([]byte, n)
		if err != nil || n > 1<<16 {
			return
		}
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		var answer []byte
		switch kind >> 4 {
		case 1: // CONNECT
			answer = []byte{0x20, 2, 0, 0}
		case 3: // PUBLISH: its number stands behind the topic
			at := 2 + int(binary.BigEndian.Uint16(body))
			answer = []byte{0x40, 2, body[at], body[at+1]}
		case 8: // SUBSCRIBE
			granted := byte(1)
			if bytes.Contains(body, []byte("secret")) {
				granted = 0x80
			}
			answer = []byte{0x90, 3, body[0], body[1], granted}
		case 12: // PINGREQ
			answer = []byte{0xd0, 0}
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// A server that is no broker, or a bad one, costs nothing but the connection.
func TestHostileBroker(t *testing.T) {
	for name, answer := range map[string][]byte{
		"garbage": []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "silent": nil, "closed": {},
		"huge": append([]byte{0x20, 2, 0, 0, 0x30, 0xff, 0xff, 0xff, 0x7f}, bytes.Repeat([]byte{0}, 1<<16)...),
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(5 * time.Second))
					b := make([]byte, 1024)
					_, _ = c.Read(b)
					_, _ = c.Write(answer)
					if len(answer) == 0 && answer != nil {
						return
					}
					_, _ = io.Copy(io.Discard, c)
				}()
			}
		}()
		c := dial(t, Options{Address: at(l.Addr().(*net.TCPAddr).Port)})
		if name == "huge" {
			waitFor(t, func() bool { err := c.Err(); return err != nil && strings.Contains(err.Error(), "MiB") })
		}
		if c.Err() == nil {
			t.Errorf("%s: connected", name)
		}
		l.Close()
		c.Close()
	}
}

// However a stream is cut into pieces, the frames are the same.
func TestFramesInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		code := byte(0)
		for range rapid.IntRange(1, 5).Draw(t, "n") {
			if rapid.Bool().Draw(t, "connack") {
				c := rapid.Byte().Draw(t, "code")
				stream = append(stream, 0x20, 2, 0, c)
				if c != 0 {
					code = c
				}
				continue
			}
			n := rapid.IntRange(0, 300).Draw(t, "len")
			stream = append(stream, 0x30)
			for l := n; ; {
				b := byte(l % 128)
				if l /= 128; l > 0 {
					stream = append(stream, b|0x80)
					continue
				}
				stream = append(stream, b)
				break
			}
			stream = append(stream, bytes.Repeat([]byte{0x20}, n)...)
		}
		var f frames
		got := byte(0)
		for len(stream) > 0 {
			n := rapid.IntRange(1, len(stream)).Draw(t, "piece")
			c, err := f.follow(stream[:n])
			if err != nil {
				t.Fatal(err)
			}
			if c != 0 {
				got = c
			}
			stream = stream[n:]
		}
		if f.state != 0 || got != code {
			t.Fatalf("%+v, code %d, want %d", f, got, code)
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{0x20, 2, 0, 5, 0x30, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{0xd0, 0, 0x30, 0x80, 0x80, 0x80, 0x80, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var whole, pieces frames
		c1, err1 := whole.follow(b)
		var c2 byte
		var err2 error
		for i := range b {
			var c byte
			if c, err2 = pieces.follow(b[i : i+1]); c != 0 {
				c2 = c
			}
			if err2 != nil {
				break
			}
		}
		if (err1 == nil) != (err2 == nil) || (err1 == nil && (c1 != c2 || whole != pieces)) || whole.left > 1<<28 {
			t.Errorf("%v %v %d %d", err1, err2, c1, c2)
		}
	})
}
