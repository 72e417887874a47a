package gpu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"

	"sluice"
)

// probe is one running probe.
type probe struct {
	hello Hello
	cmd   *exec.Cmd
	in    io.WriteCloser
	done  chan struct{} // closed when it says no more

	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan Response
	ended   bool
	stderr  *tail
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 2048 {
		t.b = t.b[len(t.b)-2048:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}

// start runs a probe and waits until it has loaded the library.
func start(ctx context.Context, o Options, event func(Event)) (*probe, error) {
	var cmd *exec.Cmd
	done := func() {}
	var args []string
	if o.Library != "" {
		args = []string{o.Library}
	}
	if o.Probe != "" {
		cmd = exec.Command(o.Probe, args...) //nolint:noctx // it is ended by its input
	} else {
		program := embedded()
		if program == nil {
			return nil, ErrNotBuilt
		}
		var err error
		if cmd, done, err = command(program, args...); err != nil {
			return nil, err
		}
	}
	defer done()
	p := &probe{cmd: cmd, done: make(chan struct{}), pending: map[uint64]chan Response{}, stderr: &tail{}}
	cmd.Env = environment()
	cmd.Stderr = p.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the GPU probe: %w", err)
	}
	// A pipe of our own: Wait would close that of the package under the reader.
	out, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the GPU probe: %w", err)
	}
	cmd.Stdout, p.in = w, in
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = out.Close()
		return nil, sluice.Errorf(sluice.Unavailable, "it needs the C library that the driver needs (glibc)", "start the GPU probe: %v", err)
	}
	first := make(chan Response, 1)
	go p.listen(out, first, event)
	select {
	case r := <-first:
		if r.Hello != nil {
			p.hello = *r.Hello
			return p, nil
		}
		p.kill()
		if r.Error != nil {
			return nil, r.Error
		}
		return nil, sluice.Errorf(sluice.Unavailable, "", "the GPU probe ended without a word: %s", p.stderr)
	case <-ctx.Done():
		p.kill()
		return nil, fmt.Errorf("start the GPU probe: %w", ctx.Err())
	}
}

// environment is what the loader of libraries may need, and nothing else of ours.
func environment() []string {
	env := []string{"GOMAXPROCS=4"}
	for _, k := range []string{"LD_LIBRARY_PATH", "PATH"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// listen reads what the probe says until it ends.
func (p *probe) listen(out io.ReadCloser, first chan<- Response, event func(Event)) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	greeted := false
	for lines.Scan() {
		r, err := parseResponse(lines.Bytes())
		if err != nil {
			fmt.Fprintln(p.stderr, err)
			break
		}
		switch {
		case !greeted:
			greeted = true
			first <- r
		case r.ID == 0 && r.Event != nil:
			event(*r.Event)
		default:
			p.mu.Lock()
			c := p.pending[r.ID]
			delete(p.pending, r.ID)
			p.mu.Unlock()
			if c != nil {
				c <- r
			}
		}
	}
	p.kill()
	_ = out.Close()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	if !greeted {
		first <- Response{}
	}
	close(p.done)
	_ = p.cmd.Wait() // in a call of the driver that hangs it may not die for long
}

// errEnded is a probe that ended before it answered.
var errEnded = errors.New("the GPU probe ended")

// ask sends a request and waits for its answer.
func (p *probe) ask(ctx context.Context, r Request) (Response, error) {
	answer := make(chan Response, 1)
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return Response{}, errEnded
	}
	p.next++
	r.ID = p.next
	p.pending[r.ID] = answer
	line, err := json.Marshal(r)
	if err == nil {
		// A request is smaller than a pipe and there are few at a time; a probe
		// that reads nothing for so long that it fills is dropped by its deadline.
		_, err = p.in.Write(append(line, '\n'))
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.pending, r.ID)
		p.mu.Unlock()
	}()
	if err != nil {
		return Response{}, errors.Join(errEnded, err)
	}
	select {
	case a := <-answer:
		if a.Error != nil {
			return a, a.Error
		}
		return a, nil
	case <-p.done:
		return Response{}, errEnded
	case <-ctx.Done():
		return Response{}, ctx.Err()
	}
}

// kill ends the probe and waits for nothing.
func (p *probe) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.in.Close()
}

// alive says whether it may still answer.
func (p *probe) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.ended
}
