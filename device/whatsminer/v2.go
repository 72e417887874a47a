package whatsminer

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"sync"

	"sluice"
	"sluice/device"
	"sluice/device/cgminer"
)

// V2Port is the usual port of the V2 wire.
const V2Port = cgminer.Port

// V2 asks one machine over the V2 wire. It holds no connection, keeps the token
// between commands (a machine hands out 32 to an address), and may be used by
// several goroutines at once.
type V2 struct {
	api      cgminer.Client
	password string

	turn    chan struct{} // held by the one who asks for a token
	mu      sync.Mutex
	current *session // nil where there is none
}

// NewV2 returns a client for the machine at the address, of which Host, APIPort
// and Password (of the account admin) are used.
func NewV2(a device.Address) *V2 {
	if a.Password == "" {
		a.Password = factoryPassword
	}
	return &V2{api: cgminer.Client{Addr: a.API(V2Port)}, password: a.Password, turn: make(chan struct{}, 1)}
}

// The codes with which a V2 machine refuses, from the vendor's manual of API 2.0.5.
const (
	v2Command = 14  // invalid API command or data
	v2JSON    = 23  // invalid JSON message
	v2Denied  = 45  // permission denied
	v2Failed  = 132 // command error
	v2Check   = 135 // check token error
	v2Over    = 136 // token over max times
	v2Base64  = 137 // base64 decode error
)

// v2Hints are what a person can do about a refusal. A machine cannot tell a wrong
// password from a broken message: what it decrypts is not JSON.
var v2Hints = map[int]string{
	v2Command: "does this firmware know the command? with its API switched off it knows none: switch it on with WhatsMinerTool",
	v2JSON:    "is the password right? the machine could not decrypt the command",
	v2Denied:  "switch the API on with WhatsMinerTool, and change the factory password: both are needed for commands",
	v2Check:   "is the password right?",
	v2Over:    "too many programs hold a token of this machine: one expires after 30 minutes",
	v2Base64:  "is the password right? the machine could not decrypt the command",
}

// Read asks for something plain ("summary", "status", "edevs", …) and returns the
// reply as JSON, with the quirks that are known of firmwares mended.
func (c *V2) Read(ctx context.Context, command string) ([]byte, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	r, err := c.api.Call(ctx, cgminer.Request{Command: command})
	if err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// Write sends a command with its parameters and returns the reply as JSON. Where
// the machine says that the token is no good, one new token is tried.
func (c *V2) Write(ctx context.Context, command string, params map[string]any) ([]byte, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	s, fresh, err := c.session(ctx)
	if err != nil {
		return nil, failed(c.api.Addr, command, err)
	}
	reply, code, err := c.send(ctx, s, command, params)
	if stale(code) && !fresh {
		c.drop(s)
		if s, _, err = c.session(ctx); err == nil {
			reply, _, err = c.send(ctx, s, command, params)
		}
	}
	if err != nil {
		c.drop(s) // whatever is wrong, the next command begins anew
		return nil, failed(c.api.Addr, command, err)
	}
	return reply, nil
}

// stale says that a refusal may be the token's fault: it has expired, or the
// machine has restarted, or it can no longer decrypt what it gets.
func stale(code int) bool {
	switch code {
	case v2Failed, v2Check, v2Over, v2Base64, v2JSON:
		return true
	}
	return false
}

// session returns the current session, or a new one; fresh says that it is new.
func (c *V2) session(ctx context.Context) (s *session, fresh bool, err error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	c.mu.Lock()
	s = c.current
	c.mu.Unlock()
	if s != nil {
		return s, false, nil
	}
	r, err := c.api.Call(ctx, cgminer.Request{Command: "get_token"})
	if err != nil {
		return nil, false, err
	}
	token, ok := r["Msg"].(map[string]any)
	if !ok { // "over max connect"
		why := cgminer.Fields(r).String("Msg")
		return nil, false, refusal("no token: "+why, v2Hints[v2Over])
	}
	f := cgminer.Fields(token)
	made, err := newSession(c.password, f.String("salt"), f.String("newsalt"), digits(token["time"]))
	if err != nil {
		return nil, false, err
	}
	c.mu.Lock()
	c.current = &made
	c.mu.Unlock()
	return &made, true, nil
}

// digits returns a time that comes as a string or as a number.
func digits(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return ""
}

// drop forgets a session, unless another has taken its place.
func (c *V2) drop(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == s {
		c.current = nil
	}
}

// send sends one command. code is the reply's where there was one.
func (c *V2) send(ctx context.Context, s *session, command string, params map[string]any) (reply []byte, code int, err error) {
	all := map[string]any{}
	maps.Copy(all, params)
	all["cmd"], all["token"] = command, s.sign
	plain, err := json.Marshal(all)
	if err != nil {
		return nil, 0, err
	}
	body, err := json.Marshal(map[string]any{"enc": 1, "data": s.seal(plain)})
	if err != nil {
		return nil, 0, err
	}
	wire, err := c.api.Exchange(ctx, body)
	if err != nil {
		return nil, 0, err
	}
	return s.parse(wire)
}

// parse reads the reply to a command: encrypted, or plain where the machine could
// not make out who asks.
func (s *session) parse(wire []byte) (reply []byte, code int, err error) {
	r, err := parse(wire)
	if err != nil {
		return nil, 0, err
	}
	if sealed, ok := r["enc"].(string); ok {
		plain, err := s.open(sealed)
		if err != nil {
			return nil, 0, unreadable("the reply cannot be decrypted", err)
		}
		if r, err = parse(plain); err != nil {
			return nil, 0, &sluice.Error{
				Kind: sluice.Unavailable, Msg: "the decrypted reply is no JSON", Hint: "is the password right?",
			}
		}
	}
	return judge(r)
}

// parse reads an object and leaves its STATUS to judge.
func parse(wire []byte) (cgminer.Reply, error) {
	r, err := cgminer.Parse(wire)
	var no *device.RefusedError
	if err != nil && !errors.As(err, &no) {
		return nil, err
	}
	return r, nil
}

// judge tells the machine's yes from its no. Only the letter counts: firmwares
// send STATUS S with codes that mean something else.
func judge(r cgminer.Reply) (reply []byte, code int, err error) {
	f := cgminer.Fields(r)
	if head, ok := r.First("STATUS"); ok {
		f = head
	}
	if x, ok := f.Float("Code"); ok && x >= 0 && x < 1e6 {
		code = int(x)
	}
	switch f.String("STATUS") {
	case "S", "I", "W":
		b, err := json.Marshal(r)
		return b, code, err
	case "E", "F":
		why := f.String("Msg")
		if code != 0 {
			why += " (code " + strconv.Itoa(code) + ")"
		}
		return nil, code, refusal(why, v2Hints[code])
	}
	return nil, code, sluice.Errorf(sluice.Unavailable, "is this a Whatsminer?", "the reply says neither yes nor no")
}
