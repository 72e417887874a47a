package fabric

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"sluice"
)

// LinkConfig is how an agent connects.
type LinkConfig struct {
	URL   string // tls://host:port
	Token JoinToken
	// CAFile holds the authorities of an existing cluster's certificate; empty: the
	// system's. Not used where the token names the authority.
	CAFile string
	Log    *slog.Logger
	// OnConnect is called after each connection, the first included.
	OnConnect func()
	// LocalAddress is where the connection comes from, for hosts with several.
	LocalAddress string
}

// Handler answers an order: fresh says whether it may start something.
type Handler func(o Order, data []byte) (body any, out []byte, err error)

// Link is an agent's end of the fabric. It reconnects by itself for ever.
type Link struct {
	host string
	nc   *nats.Conn
	log  *slog.Logger
}

// ErrRefused says that the site does not let the agent in: trying again is of no
// use without a new token.
var ErrRefused = errors.New("the site does not accept the token")

// Dial connects once. Errors: Invalid where the address or the token is wrong
// (ErrRefused, or a site that is another); Unavailable where nobody answers.
func Dial(ctx context.Context, c LinkConfig) (*Link, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "tls" && u.Scheme != "nats") || u.Host == "" || u.User != nil {
		return nil, sluice.Errorf(sluice.Invalid, "write it as tls://site.example:8421", "%q is no address of a fabric", c.URL)
	}
	l := &Link{host: c.Token.Host, log: c.Log}
	o := []nats.Option{
		nats.Name("sluice agent " + c.Token.Host), nats.UserInfo(c.Token.Host, c.Token.Secret), nats.CustomInboxPrefix(inboxPrefix(c.Token.Host)),
		nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.IgnoreAuthErrorAbort(), nats.Timeout(5 * time.Second),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2), nats.DontRandomize(),
		nats.CustomReconnectDelay(func(n int) time.Duration {
			d := min(100*time.Millisecond<<min(n, 6), 5*time.Second)
			return d/2 + rand.N(d/2+1) //nolint:gosec // spreads hosts that return at once
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				l.log.Warn("the connection to the site is cut; runs go on", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			l.log.Info("connected to the site again")
			if c.OnConnect != nil {
				c.OnConnect()
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { l.log.Debug("no connection yet", "err", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrAuthorization) {
				l.log.Warn("the site refuses this machine's token; runs go on until their lease is over",
					"hint", "it was revoked if nobody else uses it; sluice host token NAME on the site makes a new one")
				return
			}
			l.log.Warn("fabric", "err", err)
		}),
	}
	if c.LocalAddress != "" {
		o = append(o, nats.SetCustomDialer(from(c.LocalAddress)))
	}
	if c.Token.External {
		tc, err := clusterTLS(c.CAFile)
		if err != nil {
			return nil, err
		}
		o = append(o, nats.Secure(tc))
	} else {
		o = append(o, nats.Secure(pinnedTLS(c.Token.CA)), nats.TLSHandshakeFirst())
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.nc, err = nats.Connect(c.URL, o...)
	switch {
	case err == nil:
	case errors.Is(err, nats.ErrAuthorization) || strings.Contains(err.Error(), "Authorization Violation"):
		return nil, &sluice.Error{Kind: sluice.Invalid, Msg: "join " + u.Host, Hint: "was the token revoked, or is it older than a day? sluice host token NAME on the site makes a new one", Cause: ErrRefused}
	case errors.Is(err, errPinned) || strings.Contains(err.Error(), errPinned.Error()):
		return nil, sluice.Errorf(sluice.Invalid, "check the address; if the site's data were lost, a new token joins it", "join %s: %v", u.Host, errPinned)
	default:
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "join " + u.Host, Hint: "is the site up, and its fabric.listen reachable from here?", Cause: err}
	}
	return l, nil
}

// Close ends the connection.
func (l *Link) Close() {
	if l.nc != nil {
		l.nc.Close()
	}
}

// Connected says whether there is a connection now.
func (l *Link) Connected() bool { return l.nc.IsConnected() }

// Serve answers the orders of one kind.
func (l *Link) Serve(op string, f Handler) error {
	_, err := l.nc.Subscribe(downSubject(l.host, op), func(m *nats.Msg) {
		var o Order
		data, err := unpack(m.Data, &o)
		if m.Reply == "" {
			return
		}
		var body any
		var out []byte
		if err == nil {
			body, out, err = f(o, data)
		}
		l.respond(m, body, out, err)
	})
	if err != nil {
		return fmt.Errorf("serve %s: %w", op, err)
	}
	return nil
}

// ServeMany is Serve for orders that take their time: each has a goroutine, a
// bounded number at once.
func (l *Link) ServeMany(op string, most int, f Handler) error {
	room := make(chan struct{}, most)
	_, err := l.nc.Subscribe(downSubject(l.host, op), func(m *nats.Msg) {
		room <- struct{}{}
		go func() {
			defer func() { <-room }()
			var o Order
			data, err := unpack(m.Data, &o)
			if m.Reply == "" {
				return
			}
			var body any
			var out []byte
			if err == nil {
				body, out, err = f(o, data)
			}
			l.respond(m, body, out, err)
		}()
	})
	if err != nil {
		return fmt.Errorf("serve %s: %w", op, err)
	}
	return nil
}

func (l *Link) respond(m *nats.Msg, body any, out []byte, err error) {
	a := Answer{}
	if err == nil {
		a.Body, err = marshal(body)
	}
	if err != nil {
		a, out = fail(err), nil
	}
	b, perr := pack(a, out)
	if perr != nil {
		b, _ = pack(fail(perr), nil)
	}
	if err := m.Respond(b); err != nil {
		l.log.Debug("an answer could not be sent", "err", err)
	}
}

// Stale is the error of an order that is not of the site as it lives now.
func Stale() error { return sluice.Errorf(sluice.Unavailable, "", staleText) }

// Beat sends a heartbeat and returns the answer.
func (l *Link) Beat(ctx context.Context, b Beat) (BeatReply, error) {
	b.V = Version
	msg, err := pack(b, nil)
	if err != nil {
		return BeatReply{}, err
	}
	var r BeatReply
	if err := l.ask(ctx, "beat", msg, &r); err != nil {
		return r, err
	}
	if r.V != Version && r.Refused == "" {
		return r, sluice.Errorf(sluice.Invalid, "install the same version of sluice on both", "the site speaks version %d of the fabric, this agent version %d", r.V, Version)
	}
	return r, nil
}

// Log hands on output of a run and returns which byte the site wants next.
func (l *Link) Log(ctx context.Context, p LogPiece, data []byte) (int64, error) {
	msg, err := pack(p, data)
	if err != nil {
		return 0, err
	}
	var n LogNext
	if err := l.ask(ctx, "log", msg, &n); err != nil {
		return 0, err
	}
	return n.Next, nil
}

// Control hands on a call of a run.
func (l *Link) Control(ctx context.Context, c ControlCall) (ControlReply, error) {
	msg, err := pack(c, nil)
	if err != nil {
		return ControlReply{}, err
	}
	var r ControlReply
	return r, l.ask(ctx, "control", msg, &r)
}

func (l *Link) ask(ctx context.Context, op string, msg []byte, out any) error {
	m, err := l.nc.RequestWithContext(ctx, upSubject(l.host, op), msg)
	if err != nil {
		return &sluice.Error{Kind: sluice.Unavailable, Msg: "the site does not answer", Cause: err}
	}
	var a Answer
	if _, err := unpack(m.Data, &a); err != nil {
		return err
	}
	if a.Err != "" {
		return &sluice.Error{Kind: a.Kind, Msg: a.Err, Hint: a.Hint}
	}
	return strict(a.Body, out)
}

// Publish hands a batch of events to the site's stream. It returns nil once the
// stream has it on its disk.
func (l *Link) Publish(ctx context.Context, b Batch) error {
	b.V = Version
	msg, err := pack(b, nil)
	if err != nil {
		return err
	}
	m := nats.NewMsg(eventSubject(l.host))
	m.Data = msg
	m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("%s-%s-%d-%d", element(l.host), b.Epoch, b.After, b.To))
	m.Header.Set(nats.ExpectedStreamHdr, StreamName)
	r, err := l.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return &sluice.Error{Kind: sluice.Unavailable, Msg: "the site's stream does not answer", Cause: err}
	}
	var ack struct {
		Stream string `json:"stream"`
		Error  *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if len(r.Data) > 4096 || json.Unmarshal(r.Data, &ack) != nil {
		return sluice.Errorf(sluice.Unavailable, "", "the site's stream answers what nobody understands")
	}
	if ack.Error != nil {
		return sluice.Errorf(sluice.Unavailable, "", "the site's stream does not take it: %s", ack.Error.Description)
	}
	if ack.Stream != StreamName {
		return sluice.Errorf(sluice.Unavailable, "", "the site's stream answers what nobody understands")
	}
	return nil
}
