// Package broker owns the connection to an MQTT broker: TLS and passwords, coming
// back after a break, the newest message of each topic that somebody watches, and
// what is told to others. What messages mean is for device/mqtt (readings) and
// feed/mqtt (orders).
package broker

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"sluice"
	"sluice/device"
)

// The protocol's own ports.
const (
	Port    = 1883
	PortTLS = 8883
)

// Options describe a broker.
type Options struct {
	Address device.Address // its User and Password log in, where there is a user
	// TLS asks for an encrypted connection; nil: plain, which lets whoever listens
	// read the password.
	TLS      *device.TLS
	ClientID string // empty: the broker makes one up
	// Online is the topic that holds "1" while this connection stands and "0"
	// otherwise (by the broker, as its last will); empty: none.
	Online string
	Now    func() time.Time // of arrivals; nil: time.Now
}

// keepAlive is how soon a dead broker is noticed: after one and a half times it.
const keepAlive = 15 * time.Second

// Conn is a connection that comes back by itself. All methods may be called from
// any goroutine.
type Conn struct {
	o      Options
	addr   string
	tls    *tls.Config
	client paho.Client

	mu     sync.Mutex
	topics map[string]*Topic
	up     bool
	err    error // why it is not up
	closed bool
}

// Message is what was published under a topic.
type Message struct {
	Payload []byte
	At      time.Time // when it arrived
	// Retained says that the broker had it before this connection: how old it is
	// nobody knows.
	Retained bool
}

// Topic is a subscription and its newest message.
type Topic struct {
	conn    *Conn
	name    string
	mu      sync.Mutex
	last    *Message
	hook    func(Message)
	refused bool // the broker lets us not listen to it
}

// Dial makes a connection. It returns at once and connects in the background:
// a broker that is not there yet is no error. Close ends it.
func Dial(o Options) (*Conn, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Conn{o: o, topics: map[string]*Topic{}, err: fmt.Errorf("not connected yet")}
	port := Port
	if o.TLS != nil {
		port = PortTLS
		var err error
		if c.tls, err = o.TLS.Config(o.Address.Host); err != nil {
			return nil, err
		}
	}
	c.addr = o.Address.API(port)
	opts := paho.NewClientOptions()
	opts.AddBroker("tcp://" + c.addr) // TLS is spoken by open
	opts.SetClientID(o.ClientID).SetCleanSession(true).SetOrderMatters(true)
	if o.Address.User != "" {
		opts.SetUsername(o.Address.User).SetPassword(o.Address.Password)
	}
	if o.Online != "" {
		opts.SetWill(o.Online, "0", 1, true)
	}
	opts.SetKeepAlive(keepAlive).SetPingTimeout(keepAlive / 2).SetWriteTimeout(5 * time.Second).SetConnectTimeout(5 * time.Second)
	opts.SetAutoReconnect(true).SetMaxReconnectInterval(10 * time.Second)
	opts.SetConnectRetry(true).SetConnectRetryInterval(2 * time.Second)
	opts.SetOnConnectHandler(func(paho.Client) { c.connected() })
	opts.SetConnectionLostHandler(func(_ paho.Client, err error) { c.down(err) })
	opts.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return c.open() })
	opts.SetConnectionAttemptHandler(nil)
	opts.SetReconnectingHandler(nil)
	c.client = paho.NewClient(opts)
	token := c.client.Connect()
	go func() {
		<-token.Done()
		if err := token.Error(); err != nil {
			c.down(err)
		}
	}()
	return c, nil
}

// open dials the broker and shakes hands.
func (c *Conn) open() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", c.addr)
	if err == nil && c.tls != nil {
		t := tls.Client(raw, c.tls)
		if err = t.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
		}
		raw = t
	}
	if err != nil {
		c.down(err)
		return nil, err
	}
	return &bounded{Conn: raw, refused: c.refused}, nil
}

// refused takes in the broker's own no, which the library keeps to itself while
// it tries again.
func (c *Conn) refused(code byte) {
	words := map[byte]string{2: "the client id", 4: "the user or password", 5: "this user"}
	if w, ok := words[code]; ok {
		c.down(fmt.Errorf("it refuses %s", w))
		return
	}
	c.down(fmt.Errorf("it refuses the connection (code %d)", code))
}

func (c *Conn) down(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up, c.err = false, err
}

// connected subscribes again: the broker remembers nothing.
func (c *Conn) connected() {
	c.mu.Lock()
	c.up, c.err = true, nil
	var all []*Topic
	for _, t := range c.topics {
		all = append(all, t)
	}
	c.mu.Unlock()
	if c.o.Online != "" {
		c.client.Publish(c.o.Online, 1, true, "1")
	}
	for _, t := range all {
		c.subscribe(t)
	}
}

func (c *Conn) subscribe(t *Topic) {
	token := c.client.Subscribe(t.name, 1, func(_ paho.Client, m paho.Message) {
		t.take(Message{Payload: m.Payload(), At: c.o.Now(), Retained: m.Retained()})
	})
	go func() {
		<-token.Done()
		if st, ok := token.(*paho.SubscribeToken); ok {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.refused = st.Result()[t.name] == 0x80
		}
	}()
}

func (t *Topic) take(m Message) {
	t.mu.Lock()
	t.last = &m
	hook := t.hook
	t.mu.Unlock()
	if hook != nil {
		hook(m)
	}
}

// Watch subscribes to a topic, which is no pattern. each is called with every
// message, in their order, and must not block; it may be nil. A topic has one
// watcher with such a function.
func (c *Conn) Watch(topic string, each func(Message)) (*Topic, error) {
	if topic == "" || len(topic) > 1000 || strings.ContainsAny(topic, "#+\x00") {
		return nil, sluice.Errorf(sluice.Invalid, "give one topic, not a pattern with + or #", "%q is no topic", topic)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[topic]
	if t == nil {
		t = &Topic{conn: c, name: topic}
		c.topics[topic] = t
		if c.up {
			go c.subscribe(t)
		}
	}
	if each != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.hook != nil {
			return nil, sluice.Errorf(sluice.Invalid, "", "the topic %s has two watchers", topic)
		}
		t.hook = each
	}
	return t, nil
}

// Last returns the newest message; ok is false before the first.
func (t *Topic) Last() (m Message, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		return Message{}, false
	}
	return *t.last, true
}

// Err returns why nothing may be heard of the topic at present: there is no
// connection, or the broker refuses this topic; nil where all is well.
func (t *Topic) Err() error {
	if err := t.conn.Err(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused {
		return sluice.Errorf(sluice.Unavailable, "may this user read it? its ACL says", "the broker at %s refuses the topic %s", t.conn.addr, t.name)
	}
	return nil
}

// Err returns why there is no connection at present; nil where there is one.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return nil
	}
	return &sluice.Error{Kind: sluice.Unavailable, Msg: "the broker at " + c.addr, Cause: c.err}
}

// Publish tells the payload to whoever listens to the topic, and has the broker
// keep it for those who come later. It returns when the broker has it.
func (c *Conn) Publish(ctx context.Context, topic string, payload []byte) error {
	if err := c.Err(); err != nil {
		return err
	}
	token := c.client.Publish(topic, 1, true, payload)
	select {
	case <-token.Done():
		if err := token.Error(); err != nil {
			return &sluice.Error{Kind: sluice.Unavailable, Msg: "telling the broker at " + c.addr, Cause: err}
		}
		return nil
	case <-ctx.Done():
		return &sluice.Error{Kind: sluice.Unavailable, Msg: "telling the broker at " + c.addr, Cause: ctx.Err()}
	}
}

// Close ends the connection; where there is an Online topic it then holds "0".
func (c *Conn) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	up := c.up
	c.mu.Unlock()
	if up && c.o.Online != "" {
		c.client.Publish(c.o.Online, 1, true, "0").WaitTimeout(time.Second)
	}
	c.client.Disconnect(100)
	c.down(fmt.Errorf("closed"))
}
