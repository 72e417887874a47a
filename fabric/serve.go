package fabric

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"sluice"
)

// Cluster is an existing NATS server that takes the embedded one's place.
type Cluster struct {
	URL         string // nats:// or tls://host:port, several by commas
	CAFile      string // authorities of its certificates; empty: the system's
	Credentials string // file of a user's JWT and seed; or
	User        string
	Password    string
}

// embedded starts the site's own server.
func embedded(dir, listen string, hosts int, g *gate, a *authority, now func() time.Time, log *slog.Logger) (*server.Server, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "write host:port", "fabric.listen %q: %v", listen, err)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return nil, sluice.Errorf(sluice.Invalid, "write host:port", "fabric.listen %q: the port is no number", listen)
	}
	if n == 0 {
		n = server.RANDOM_PORT
	}
	tc, err := a.serverTLS(now)
	if err != nil {
		return nil, err
	}
	o := &server.Options{
		ServerName: "sluice", Host: host, Port: n, NoSigs: true, NoLog: true,
		CustomClientAuthentication: g,
		TLSConfig:                  tc, TLSHandshakeFirst: true, TLSTimeout: 5, AuthTimeout: 5,
		JetStream: true, StoreDir: filepath.Join(dir, "jetstream"), JetStreamMaxStore: 4 << 30, JetStreamMaxMemory: 16 << 20,
		SyncAlways: true, // what is confirmed to an agent outlives a power cut: the agent deletes it
		MaxPayload: MaxMessage, MaxPending: 32 << 20, MaxConn: 4*hosts + 64, MaxControlLine: 4096, MaxSubs: 0,
		PingInterval: 5 * time.Second, MaxPingsOut: 2, WriteDeadline: 10 * time.Second,
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("start the fabric: %w", err)
	}
	s.SetLoggerV2(natsLog{log}, false, false, false)
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		return nil, sluice.Errorf(sluice.Invalid, "is the port of fabric.listen taken? give another", "the fabric does not come up on %s", listen)
	}
	return s, nil
}

// site connects the site itself.
func site(ctx context.Context, s *server.Server, secret string, c Cluster, log *slog.Logger) (*nats.Conn, error) {
	o := []nats.Option{
		nats.Name("sluice site"), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectBufSize(-1),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(5 * time.Second), nats.IgnoreAuthErrorAbort(),
		nats.CustomInboxPrefix("_INBOX_sluice_site"),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { log.Warn("fabric", "err", err) }),
	}
	if s != nil {
		o = append(o, nats.InProcessServer(s), nats.UserInfo(siteUser, secret))
		nc, err := nats.Connect("", o...)
		if err != nil {
			return nil, fmt.Errorf("connect to the site's own fabric: %w", err)
		}
		return nc, nil
	}
	tc, err := clusterTLS(c.CAFile)
	if err != nil {
		return nil, err
	}
	o = append(o, nats.Secure(tc))
	if c.Credentials != "" {
		if _, err := os.Stat(c.Credentials); err != nil {
			return nil, sluice.Errorf(sluice.Invalid, "", "fabric.credentials: %v", err)
		}
		o = append(o, nats.UserCredentials(c.Credentials))
	} else if c.User != "" {
		o = append(o, nats.UserInfo(c.User, c.Password))
	}
	nc, err := nats.Connect(c.URL, o...)
	if err != nil {
		return nil, sluice.Errorf(sluice.Unavailable, "is the cluster up, and are fabric's url, ca, user and credentials right?", "connect to the NATS cluster %s: %v", c.URL, err)
	}
	if err := ctx.Err(); err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// natsLog tells the embedded server's words to our log: what it warns of is for
// who debugs the fabric, what fails for the operator.
type natsLog struct{ log *slog.Logger }

func (l natsLog) Noticef(f string, a ...any) { l.log.Debug("nats: " + fmt.Sprintf(f, a...)) }
func (l natsLog) Warnf(f string, a ...any)   { l.log.Debug("nats: " + fmt.Sprintf(f, a...)) }
func (l natsLog) Fatalf(f string, a ...any)  { l.log.Error("nats: " + fmt.Sprintf(f, a...)) }
func (l natsLog) Errorf(f string, a ...any)  { l.log.Debug("nats: " + fmt.Sprintf(f, a...)) }
func (l natsLog) Debugf(string, ...any)      {}
func (l natsLog) Tracef(string, ...any)      {}
