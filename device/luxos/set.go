package luxos

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/cgminer"
)

// DefaultTimeout bounds a Set whose context has no deadline.
const DefaultTimeout = 30 * time.Second

// logoffGrace is what a logoff may take after the context has ended: a session
// left open would lock everybody out until it expires.
const logoffGrace = 2 * time.Second

// sessionLife is for how long an open session is used again. The firmware ends one
// that nobody uses after a minute.
const sessionLife = 30 * time.Second

// sessionPoll is how often a busy machine is asked again for a session.
const sessionPoll = 250 * time.Millisecond

// Set sends the mode. ModeMine wakes the machine and returns it to the prior's
// profile (without a prior: to the one it has). Nothing is sent that the
// machine already is, because a profile set again restarts the ramp.
func (m *Miner) Set(ctx context.Context, mode string, p device.Prior) (sluice.Outcome, error) {
	if mode == "" || strings.Contains(mode, ",") { // a comma separates parameters
		return sluice.Refused, &sluice.Error{
			Kind: sluice.Invalid, Msg: "setting " + m.api.Addr,
			Cause: &device.RefusedError{Why: "no profile can be named " + strconv.Quote(mode)},
		}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return sluice.Unknown, &sluice.Error{
			Kind: sluice.Unavailable,
			Msg:  "setting " + m.api.Addr + ": an earlier command has not ended", Cause: ctx.Err(),
		}
	}
	var err error
	if mode == sluice.ModeSleep {
		err = m.sleep(ctx)
	} else {
		err = m.wake(ctx, mode, p)
	}
	switch {
	case err == nil:
		return sluice.Accepted, nil
	case refused(err):
		return sluice.Refused, err
	}
	return sluice.Unknown, err
}

func (m *Miner) sleep(ctx context.Context) error {
	err := m.session(ctx, func(s string) error { return m.curtail(ctx, s, "sleep") })
	if !refused(err) {
		return err
	}
	// Firmware may refuse to put to sleep what sleeps already.
	if cfg, cerr := m.config(ctx); cerr == nil && curtailed(cfg) {
		return nil
	}
	return err
}

func (m *Miner) wake(ctx context.Context, mode string, p device.Prior) error {
	profile := mode
	if mode == sluice.ModeMine {
		var was prior
		if len(p) > 0 {
			if err := json.Unmarshal(p, &was); err != nil {
				return &sluice.Error{Kind: sluice.Invalid, Msg: "reading the prior state of " + m.api.Addr, Cause: err}
			}
		}
		profile = was.Profile
	}
	cfg, err := m.config(ctx)
	if err != nil {
		return err
	}
	asleep, change := curtailed(cfg), profile != "" && profile != cfg.String("Profile")
	if !asleep && !change {
		return nil
	}
	return m.session(ctx, func(s string) error {
		var held error
		if change {
			// Before the wake, so that a machine that comes back at a lower
			// profile never draws more than that; firmware that cannot do
			// this asleep is asked again once awake.
			held = m.profile(ctx, s, profile)
			if held != nil && (!refused(held) || !asleep) {
				return held
			}
		}
		if asleep {
			if err := m.curtail(ctx, s, "wakeup"); err != nil {
				return err
			}
		}
		if held != nil {
			return m.profile(ctx, s, profile)
		}
		return nil
	})
}

func curtailed(cfg cgminer.Fields) bool { return mode(cfg) == sluice.ModeSleep }

func (m *Miner) curtail(ctx context.Context, session, what string) error {
	_, err := m.api.Call(ctx, cgminer.Request{Command: "curtail", Parameter: session + "," + what})
	return err
}

func (m *Miner) profile(ctx context.Context, session, name string) error {
	_, err := m.api.Call(ctx, cgminer.Request{Command: "profileset", Parameter: session + "," + name})
	return err
}

// session runs f with a session: with the one that an earlier Set has left open, or
// with a new one. It stays open until Finish. The caller has the turn.
func (m *Miner) session(ctx context.Context, f func(session string) error) error {
	if m.open != "" && time.Since(m.used) < sessionLife {
		id := m.open
		m.used = time.Now()
		if err := f(id); !busy(err) {
			return err
		}
		m.open = "" // the machine has restarted, or somebody has ended it
	}
	id, err := m.logon(ctx)
	if err != nil {
		return err
	}
	m.open, m.used = id, time.Now()
	return f(id)
}

// Finish closes the session that Set has left open. It is no part of the act: a
// connection more before the proof would make an order to thousands of machines a
// quarter slower. It goes on for a moment after the end of the context, since an open
// session keeps everybody else out.
func (m *Miner) Finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoffGrace)
	defer cancel()
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done(): // a later Set is at work; it is followed by a Finish too
		return
	}
	if m.open == "" {
		return
	}
	// The act is done or not, whatever becomes of the session: it expires.
	_, _ = m.api.Call(ctx, cgminer.Request{Command: "logoff", Parameter: m.open})
	m.open = ""
}

// logon gets a session. Another's session is waited for until the deadline.
func (m *Miner) logon(ctx context.Context) (string, error) {
	tick := time.NewTicker(sessionPoll)
	defer tick.Stop()
	for {
		r, err := m.callOut(ctx, cgminer.Request{Command: "logon"})
		if err == nil {
			s, _ := r.First("SESSION")
			if id := s.String("SessionID"); id != "" {
				return id, nil
			}
			return "", &sluice.Error{Kind: sluice.Unavailable, Msg: "logging on to " + m.api.Addr + ": the reply has no session"}
		}
		if !busy(err) {
			return "", err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", &sluice.Error{
				Kind: sluice.Conflict, Msg: "logging on to " + m.api.Addr, Cause: err,
				Hint: "who else manages this machine? a session ends by itself after a minute",
			}
		}
	}
}

// callOut is a call whose answer is waited for a little beyond the end of the
// context: a session that was opened and never heard of could not be closed.
func (m *Miner) callOut(ctx context.Context, req cgminer.Request) (cgminer.Reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	long, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(logoffGrace):
			cancel()
		case <-long.Done():
		}
	})()
	return m.api.Call(long, req)
}

func busy(err error) bool {
	var no *device.RefusedError
	return errors.As(err, &no) && strings.Contains(strings.ToLower(no.Why), "session")
}
