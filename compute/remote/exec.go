package remote

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/fabric"
)

// Exec runs argv beside the run, on its host, until it ends or ctx does.
func (x *Executor) Exec(ctx context.Context, h compute.Handle, argv []string, in io.Reader, out io.Writer) (int, error) {
	v, err := parseHandle(h)
	if err != nil {
		return 0, err
	}
	doing := func(err error) error { return fmt.Errorf("run a command beside %s: %w", v.Run, err) }
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	id := hex.EncodeToString(b)
	ask := func(ctx context.Context, op string, o fabric.ExecOrder, data []byte) (fabric.ExecAnswer, []byte, error) {
		o.ID = id
		var a fabric.ExecAnswer
		got, err := x.hub.Ask(ctx, v.Host, op, o, data, &a)
		return a, got, err
	}
	if _, _, err := ask(ctx, fabric.OpExec, fabric.ExecOrder{Run: v.Run, Argv: argv}, nil); err != nil {
		return 0, doing(err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_, _ = x.hub.Ask(end, v.Host, fabric.OpExecStop, fabric.ExecOrder{ID: id}, nil, nil) // else it ends by itself soon
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go feed(ctx, in, func(from int64, data []byte, eof bool) error {
		return retry(ctx, func() error {
			_, _, err := ask(ctx, fabric.OpExecIn, fabric.ExecOrder{From: from, EOF: eof}, data)
			return err
		})
	})
	for at := int64(0); ; {
		var a fabric.ExecAnswer
		var data []byte
		err := retry(ctx, func() (err error) {
			a, data, err = ask(ctx, fabric.OpExecOut, fabric.ExecOrder{From: at}, nil)
			return err
		})
		if err != nil {
			return 0, doing(err)
		}
		if len(data) > 0 {
			if _, err := out.Write(data); err != nil {
				return 0, doing(err)
			}
			at += int64(len(data))
		}
		if a.Ended {
			if a.Err != "" {
				return a.Code, doing(&sluice.Error{Kind: sluice.Kind(a.Kind), Msg: a.Err})
			}
			return a.Code, nil
		}
	}
}

// feed hands input on until its end. A reader that never ends holds only this
// goroutine.
func feed(ctx context.Context, in io.Reader, send func(from int64, data []byte, eof bool) error) {
	if in == nil {
		in = bytes.NewReader(nil)
	}
	buf := make([]byte, 64<<10)
	for at := int64(0); ctx.Err() == nil; {
		n, err := in.Read(buf)
		if n > 0 || err != nil {
			if send(at, buf[:n], err != nil) != nil {
				return
			}
			at += int64(n)
		}
		if err != nil {
			return
		}
	}
}

// retry does something harmless to repeat until it works or fails for another
// reason than a silent host; a silence of 20 s ends it.
func retry(ctx context.Context, f func() error) error {
	until := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil || sluice.KindOf(err) != sluice.Unavailable || time.Now().After(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

const maxReply = 64 << 10

// Control carries a call of a run to the socket that its specification names. What
// it has in its checkpoint folder comes home first: a checkpoint that is told
// counts, and must be where it outlives the host.
func (x *Executor) Control(ctx context.Context, host string, c fabric.ControlCall) (fabric.ControlReply, bool, error) {
	r := x.find(c.Run)
	if r == nil || r.Host != host {
		return fabric.ControlReply{}, false, nil
	}
	if r.handle.Control == "" {
		return fabric.ControlReply{Status: http.StatusNotFound}, true, nil
	}
	r.bringing.Lock()
	r.bringCheckpoint()
	r.bringing.Unlock()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", r.handle.Control)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, c.Method, "http://sluice"+c.Path, bytes.NewReader(c.Body))
	if err != nil {
		return fabric.ControlReply{}, true, sluice.Errorf(sluice.Invalid, "", "a call that makes no sense: %v", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return fabric.ControlReply{}, true, &sluice.Error{Kind: sluice.Unavailable, Msg: "nobody listens to the run", Cause: err}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return fabric.ControlReply{}, true, &sluice.Error{Kind: sluice.Unavailable, Msg: "nobody listens to the run", Cause: err}
	}
	return fabric.ControlReply{Status: res.StatusCode, Type: res.Header.Get("Content-Type"), Body: b}, true, nil
}
