// Package nut reads uninterruptible power supplies from upsd, the server of
// Network UPS Tools: what they carry, how full their batteries are, and whether
// they stand on them.
package nut

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"sluice"
	"sluice/device"
)

// Port is upsd's own.
const Port = 3493

// DefaultTimeout bounds a call whose context has no deadline.
const DefaultTimeout = 5 * time.Second

// Bounds of what is read: a UPS has 30 to 150 variables.
const (
	maxLine = 4096
	maxVars = 2000
	maxAll  = 1 << 20
)

// Options describe one UPS.
type Options struct {
	Address device.Address // of upsd; with a user it logs in, which reading does not need
	UPS     string         // its name at upsd
	// TLS asks for an encrypted connection (STARTTLS); nil: plain. upsd has no
	// other way to keep a password from whoever listens.
	TLS *device.TLS
}

// UPS is one uninterruptible power supply.
type UPS struct {
	o   Options
	tls *tls.Config
}

var (
	_ device.Meter  = (*UPS)(nil)
	_ device.Sensor = (*UPS)(nil)
)

// New returns the driver for the UPS.
func New(o Options) (*UPS, error) {
	if !plain(o.UPS) {
		return nil, sluice.Errorf(sluice.Invalid, "upsc -l HOST lists them", "%q is no name of a UPS", o.UPS)
	}
	u := &UPS{o: o}
	if o.TLS != nil {
		var err error
		if u.tls, err = o.TLS.Config(o.Address.Host); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// plain says whether a name needs no quotes.
func plain(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

// Vars returns all variables of the UPS as upsd gives them.
func (u *UPS) Vars(ctx context.Context) (map[string]string, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	vars, err := u.ask(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: fmt.Sprintf("the UPS %s at %s", u.o.UPS, u.o.Address.API(Port)), Cause: err}
	}
	return vars, nil
}

func (u *UPS) ask(ctx context.Context) (map[string]string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", u.o.Address.API(Port))
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return nil, err
	}
	raw := c
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	in := reader(c)
	if u.tls != nil {
		if err := say(c, in, "STARTTLS", "OK STARTTLS"); err != nil {
			return nil, err
		}
		secure := tls.Client(c, u.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c, in = secure, reader(secure)
	}
	if u.o.Address.User != "" {
		if err := say(c, in, "USERNAME "+quote(u.o.Address.User), "OK"); err != nil {
			return nil, err
		}
		if err := say(c, in, "PASSWORD "+quote(u.o.Address.Password), "OK"); err != nil {
			return nil, err
		}
		// upsd looks at the password only when a command needs it.
		if err := say(c, in, "LOGIN "+u.o.UPS, "OK"); err != nil {
			return nil, err
		}
	}
	if _, err := io.WriteString(c, "LIST VAR "+u.o.UPS+"\n"); err != nil {
		return nil, err
	}
	vars, err := readVars(in, u.o.UPS)
	if err != nil {
		return nil, err
	}
	_, _ = io.WriteString(c, "LOGOUT\n") // else upsd notes a lost connection
	return vars, nil
}

func reader(r io.Reader) *bufio.Reader {
	return bufio.NewReaderSize(io.LimitReader(r, maxAll), maxLine)
}

// line reads one line without its end.
func line(in *bufio.Reader) (string, error) {
	b, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("a line of upsd's is longer than %d bytes", maxLine)
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// say sends a command whose answer begins with ok. What was sent is not in the
// error: it may be a password.
func say(c io.Writer, in *bufio.Reader, command, ok string) error {
	if _, err := io.WriteString(c, command+"\n"); err != nil {
		return err
	}
	l, err := line(in)
	if err != nil {
		return err
	}
	if l != ok && !strings.HasPrefix(l, ok+" ") {
		return answered(l)
	}
	return nil
}

// answered puts an answer that is not the one wanted into words.
func answered(l string) error {
	code, isErr := strings.CutPrefix(l, "ERR ")
	if !isErr {
		return fmt.Errorf("upsd says %.80q", l)
	}
	code, _, _ = strings.Cut(code, " ")
	words := map[string]string{
		"UNKNOWN-UPS":            "upsd knows no such UPS",
		"ACCESS-DENIED":          "upsd refuses the user, or this computer",
		"INVALID-PASSWORD":       "upsd refuses the password",
		"INVALID-USERNAME":       "upsd refuses the user",
		"DATA-STALE":             "upsd has not heard of the UPS for a while",
		"DRIVER-NOT-CONNECTED":   "upsd has lost the driver of the UPS",
		"FEATURE-NOT-CONFIGURED": "upsd is not set up for it: it has no certificate",
		"FEATURE-NOT-SUPPORTED":  "upsd was built without it",
	}
	if w := words[code]; w != "" {
		return fmt.Errorf("%s (%s)", w, code)
	}
	return fmt.Errorf("upsd says %.80q", l)
}

// readVars reads the answer to LIST VAR.
func readVars(in *bufio.Reader, ups string) (map[string]string, error) {
	l, err := line(in)
	if err != nil {
		return nil, err
	}
	if l != "BEGIN LIST VAR "+ups {
		return nil, answered(l)
	}
	vars := map[string]string{}
	for {
		if l, err = line(in); err != nil {
			return nil, err
		}
		if l == "END LIST VAR "+ups {
			return vars, nil
		}
		fields, ok := split(l)
		if !ok || len(fields) != 4 || fields[0] != "VAR" || fields[1] != ups {
			return nil, fmt.Errorf("upsd says %.80q in a list of variables", l)
		}
		if len(vars) >= maxVars {
			return nil, fmt.Errorf("the UPS has more than %d variables", maxVars)
		}
		vars[fields[2]] = fields[3]
	}
}

// split takes a line apart at its spaces; what stands in double quotes is one
// field, in which a backslash takes away the meaning of what follows.
func split(l string) (fields []string, ok bool) {
	var b strings.Builder
	inQuotes, inField := false, false
	for i := 0; i < len(l); i++ {
		switch ch := l[i]; {
		case ch == '\\':
			if i++; i == len(l) {
				return nil, false
			}
			b.WriteByte(l[i])
			inField = true
		case ch == '"':
			inQuotes = !inQuotes
			inField = true
		case ch == ' ' && !inQuotes:
			if inField {
				fields = append(fields, b.String())
				b.Reset()
				inField = false
			}
		default:
			b.WriteByte(ch)
			inField = true
		}
	}
	if inField {
		fields = append(fields, b.String())
	}
	return fields, !inQuotes
}

// quote makes one field of any text; a line's end in it is dropped, so that
// nothing becomes a command.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", "", "\r", "").Replace(s) + `"`
}
