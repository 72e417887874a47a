package whatsminer

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/cgminer"
)

// V3Port is the usual port of the V3 wire.
const V3Port = 4433

// V3 asks one machine over the V3 wire: one frame there and one back on a
// connection of its own. It keeps nothing between calls and may be used by
// several goroutines at once.
type V3 struct {
	addr, account, password string
}

// NewV3 returns a client for the machine at the address, of which Host, APIPort,
// User (super, user1, user2 or user3; super where there is none) and Password are
// used.
func NewV3(a device.Address) *V3 {
	if a.User == "" {
		a.User = factoryAccount
	}
	if a.Password == "" {
		a.Password = factoryV3Password
	}
	return &V3{addr: a.API(V3Port), account: a.User, password: a.Password}
}

// The codes of a V3 reply, from the vendor's online manual of API 3.0.
const (
	v3OK      = 0
	v3Fail    = -1
	v3Command = -2
	v3JSON    = -3
	v3Denied  = -4
	v3Memory  = -5
)

var v3Codes = map[int]struct{ why, hint string }{
	v3Fail:    {"failed", "is the machine in a state for it? a percentage is taken only once it has reached its frequency"},
	v3Command: {"invalid command", "does this firmware know the command?"},
	v3JSON:    {"invalid JSON item", "does this firmware take the parameter?"},
	v3Denied: {
		"no permission",
		"is the password of the account right? commands also need the API switched on with WhatsMinerTool and the factory password changed",
	},
	v3Memory: {"out of memory", ""},
}

// sealed are the commands whose parameter is encrypted: it has passwords in it.
var sealed = map[string]bool{"set.miner.pools": true, "set.user.change_passwd": true}

// v3Request is one command. What is empty is left out: reads have no token.
type v3Request struct {
	Cmd     string      `json:"cmd"`
	Param   any         `json:"param,omitempty"`
	TS      json.Number `json:"ts,omitempty"`
	Token   string      `json:"token,omitempty"`
	Account string      `json:"account,omitempty"`
}

// v3Reply is the frame of every reply.
type v3Reply struct {
	Code *int            `json:"code"`
	When json.Number     `json:"when"`
	Msg  json.RawMessage `json:"msg"`
}

// Read asks for something plain ("get.miner.status" with "summary+pools"; nil is
// no parameter) and returns the whole reply as JSON.
func (c *V3) Read(ctx context.Context, command string, param any) ([]byte, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	b, _, err := c.call(ctx, v3Request{Cmd: command, Param: param})
	return b, err
}

// Write sends a command with its parameter (nil is none) and returns the whole
// reply as JSON. The time in its token is the machine's own, so that no clock has
// to be right.
func (c *V3) Write(ctx context.Context, command string, param any) ([]byte, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	salt, ts, err := c.salt(ctx)
	if err != nil {
		return nil, failed(c.addr, command, err)
	}
	token, key := signed(command, c.password, salt, ts)
	if sealed[command] {
		plain, err := json.Marshal(param)
		if err != nil {
			return nil, failed(c.addr, command, err)
		}
		param = sealParam(key, plain)
	}
	b, _, err := c.call(ctx, v3Request{Cmd: command, Param: param, TS: json.Number(ts), Token: token, Account: c.account})
	return b, err
}

// salt asks for the salt and the machine's time, in one small reply where the
// firmware can.
func (c *V3) salt(ctx context.Context) (salt, ts string, err error) {
	for _, param := range []any{"salt", nil} {
		_, r, err := c.call(ctx, v3Request{Cmd: "get.device.info", Param: param})
		var no *device.RefusedError
		if err != nil && (!errors.As(err, &no) || param == nil) {
			return "", "", err
		}
		var msg struct {
			Salt string `json:"salt"`
		}
		if json.Unmarshal(r.Msg, &msg) == nil && msg.Salt != "" {
			when, err := r.When.Int64()
			if err != nil || when <= 0 {
				return "", "", sluice.Errorf(sluice.Unavailable, "", "the machine does not tell its time")
			}
			return msg.Salt, strconv.FormatInt(when, 10), nil
		}
	}
	return "", "", sluice.Errorf(sluice.Unavailable, "is this a Whatsminer?", "the machine has no salt")
}

func (c *V3) call(ctx context.Context, q v3Request) ([]byte, v3Reply, error) {
	b, err := c.exchange(ctx, q)
	if err != nil {
		return nil, v3Reply{}, failed(c.addr, q.Cmd, err)
	}
	b, r, err := judgeV3(b)
	if err != nil {
		return nil, r, failed(c.addr, q.Cmd, err)
	}
	return b, r, nil
}

// judgeV3 tells the machine's yes from its no.
func judgeV3(b []byte) ([]byte, v3Reply, error) {
	var r v3Reply
	if err := json.Unmarshal(b, &r); err != nil {
		b = cgminer.Mend(b)
		r = v3Reply{}
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, v3Reply{}, unreadable("the reply is not JSON", err)
		}
	}
	if r.Code == nil {
		return nil, r, sluice.Errorf(sluice.Unavailable, "is this a Whatsminer?", "the reply says neither yes nor no")
	}
	if *r.Code == v3OK {
		return b, r, nil
	}
	known := v3Codes[*r.Code]
	why := text(r.Msg)
	if why == "" || why == "null" {
		why = known.why
	}
	return nil, r, refusal(why+" (code "+strconv.Itoa(*r.Code)+")", known.hint)
}

func (c *V3) exchange(ctx context.Context, q v3Request) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	d := net.Dialer{Deadline: deadline, KeepAlive: -1}
	conn, err := d.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// A cancelled context ends reads and writes at once.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if ctx.Err() != nil { // the line above may have undone a cancellation
		return nil, ctx.Err()
	}
	if _, err := conn.Write(frame(body)); err != nil {
		return nil, err
	}
	b, err := readFrame(bufio.NewReader(conn))
	switch {
	case err == nil:
		cgminer.HangUp(conn)
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return b, err
}

// frame puts the length before a message: four bytes, the lowest first.
func frame(body []byte) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	return append(b, body...)
}

// readFrame reads one message. Empty frames before it are the firmware's sign of
// life. The length is believed only as far as bytes come.
func readFrame(r io.Reader) ([]byte, error) {
	for range 16 {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, unreadable("the machine closed the connection without a whole reply", err)
		}
		n := binary.LittleEndian.Uint32(head[:])
		if n > MaxReply {
			return nil, &sluice.Error{
				Kind: sluice.Unavailable, Msg: "the reply is longer than 1 MiB", Hint: "is this a Whatsminer's V3 port?",
			}
		}
		if n == 0 {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(r, int64(n)))
		if err != nil {
			return nil, err
		}
		if len(b) < int(n) {
			return nil, unreadable("the reply is truncated after "+strconv.Itoa(len(b))+" bytes", io.ErrUnexpectedEOF)
		}
		return b, nil
	}
	return nil, unreadable("the machine sends signs of life but no reply", nil)
}
