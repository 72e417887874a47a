package sim

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"time"
)

// idle is the longest that a connection may take, in wall time: longer than
// the slowest reply at speed 1.
const idle = 60 * time.Second

// desk is what a connection works on. It is pooled, so that thousands of idle
// miners hold none.
type desk struct {
	r   *bufio.Reader
	out []byte
}

func newDesk() *desk { return &desk{r: bufio.NewReaderSize(nil, 2048), out: make([]byte, 0, 2048)} }

// accept serves the connections to a listener: those of miner m, or, where m is
// nil, those of the whole network.
func (f *Fleet) accept(l net.Listener, m *machine) {
	defer f.wg.Done()
	for {
		c, err := l.Accept()
		if err != nil {
			if f.ctx.Err() != nil {
				return
			}
			// Out of file descriptors: the pause keeps the loop off the CPU.
			select {
			case <-f.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		to := m
		if to == nil {
			i := f.network.miner(c)
			if i < 0 || i >= len(f.machines) {
				if t, ok := c.(*net.TCPConn); ok {
					_ = t.SetLinger(0) // reset, as nobody is there
				}
				_ = c.Close()
				continue
			}
			to = f.machines[i]
		}
		f.mu.Lock()
		if f.ctx.Err() != nil {
			f.mu.Unlock()
			_ = c.Close()
			return
		}
		f.conns[c] = struct{}{}
		f.wg.Add(1)
		f.mu.Unlock()
		go f.serve(to, c)
	}
}

func (f *Fleet) serve(m *machine, c net.Conn) {
	d := f.pool.Get().(*desk)
	d.r.Reset(c)
	defer func() {
		_ = c.Close()
		d.r.Reset(nil)
		f.pool.Put(d)
		f.mu.Lock()
		delete(f.conns, c)
		f.mu.Unlock()
		f.wg.Done()
	}()
	_ = c.SetDeadline(time.Now().Add(idle))
	first, err := d.r.Peek(1)
	if err != nil {
		return
	}
	m.mu.Lock()
	away := m.away(f.now())
	m.mu.Unlock()
	if away {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		return
	}
	if m.faulty() == Silent {
		_, _ = io.Copy(io.Discard, d.r) // until the other side gives up
		return
	}
	if m.spec.Dialect == WhatsminerV3 {
		f.serveV3(m, c, d)
		return
	}
	if first[0] == '{' {
		f.serveAPI(m, c, d)
		return
	}
	f.serveHTTP(m, c, d)
}

func (m *machine) faulty() Fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fault
}

// wait lets site time pass, false when the fleet closes.
func (f *Fleet) wait(d time.Duration) bool {
	if f.opt.Instant || d <= 0 {
		return true
	}
	return f.opt.Clock.Sleep(f.ctx, d) == nil
}

// request is one command of the mining API.
type request struct {
	Command   string `json:"command"`
	Parameter string `json:"parameter"`
	NewAPI    bool   `json:"new_api"`
	Enc       any    `json:"enc"` // an encrypted command of a Whatsminer, in Data
	Data      string `json:"data"`
}

func (f *Fleet) serveAPI(m *machine, c net.Conn, d *desk) {
	var req request
	var err error
	// A command comes in one piece as a rule, and at most in the buffer's size.
	for want := 1; ; want = d.r.Buffered() + 1 {
		if _, err = d.r.Peek(want); err != nil {
			return
		}
		b, _ := d.r.Peek(d.r.Buffered())
		if err = json.Unmarshal(b, &req); err == nil {
			break
		}
	}
	m.mu.Lock()
	d.out = f.api(m, d.out[:0], req)
	fault := m.fault
	m.mu.Unlock()
	if f.spoil(fault, d) {
		_, _ = c.Write(d.out)
	}
}

// spoil makes of a reply what the fault makes of it; false when the fleet closes.
func (f *Fleet) spoil(fault Fault, d *desk) bool {
	switch fault {
	case SlowReply:
		return f.wait(slowReply)
	case Truncated:
		d.out = d.out[:len(d.out)/2]
	}
	return true
}

func (f *Fleet) serveHTTP(m *machine, c net.Conn, d *desk) {
	for {
		req, err := http.ReadRequest(d.r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(io.LimitReader(req.Body, 1<<16))
		if err != nil {
			return
		}
		status, reply, delay := f.cgi(m, req, body)
		if !f.wait(delay) {
			return
		}
		d.out = appendHTTP(d.out[:0], m, status, reply)
		fault := NoFault
		if m.spec.Dialect != Antminer {
			fault = m.faulty()
		}
		if !f.spoil(fault, d) {
			return
		}
		if _, err := c.Write(d.out); err != nil || req.Close || fault == Truncated {
			return
		}
	}
}
