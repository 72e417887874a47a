package nvml

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"sluice/device/gpu"
)

// Events of NVML that are asked for.
const (
	eventDoubleBit = 0x2
	eventXid       = 0x8
)

// eventWait is how long one wait for events may take, in ms.
const eventWait = 1000

// Serve loads the library (the driver's own where path is empty) and answers
// requests until in ends. Requests are answered as they get done: one that hangs
// holds up no other that the driver would answer.
func Serve(in io.Reader, out io.Writer, path string) error {
	s := &server{enc: json.NewEncoder(out)}
	l, err := load(path)
	if err == nil {
		err = l.check("start the driver's library", l.init())
	}
	if err != nil {
		s.say(gpu.Response{Error: err})
		return err
	}
	hello := &gpu.Hello{Library: l.path}
	v := make([]byte, room)
	if l.driverVersion(&v[0], room) == 0 {
		hello.Driver = text(v)
	}
	if l.nvmlVersion(&v[0], room) == 0 {
		hello.NVML = text(v)
	}
	s.say(gpu.Response{Hello: hello})
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		var r gpu.Request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("a request: %w", err)
		}
		go func() { s.say(s.answer(l, r)) }()
	}
	// No shutdown of NVML: it could hang, and our end frees everything.
	return lines.Err()
}

type server struct {
	mu    sync.Mutex
	enc   *json.Encoder
	watch sync.Once
}

func (s *server) say(r gpu.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.enc.Encode(r) // who no longer listens has closed our input too
}

func (s *server) answer(l *library, r gpu.Request) gpu.Response {
	a := gpu.Response{ID: r.ID}
	switch r.Op {
	case gpu.OpInventory:
		a.GPUs, a.Error = l.inventory()
	case gpu.OpRead:
		a.Reading, a.Error = l.read(r.UUID)
	case gpu.OpProcesses:
		a.Processes, a.Error = l.processes(r.UUID)
	case gpu.OpSetLimit:
		a.Limit, a.Error = l.set(r.UUID, r.Limit)
	case gpu.OpWatch:
		s.watch.Do(func() {
			var set uintptr
			if set, a.Error = l.register(); a.Error == nil {
				go s.events(l, set)
			}
		})
	default:
		a.Error = &gpu.Error{Op: r.Op, Code: 2, Msg: "no such operation"}
	}
	return a
}

// register asks for the events of all GPUs that have any.
func (l *library) register() (uintptr, *gpu.Error) {
	const op = "watch for errors"
	if l.eventSet == nil || l.registerEvents == nil || l.wait == nil {
		return 0, &gpu.Error{Op: op, Code: gpu.CodeNoFunction, Msg: "this driver is too old for it"}
	}
	var set uintptr
	if err := l.check(op, l.eventSet(&set)); err != nil {
		return 0, err
	}
	var n uint32
	if err := l.check(op, l.count(&n)); err != nil {
		return 0, err
	}
	var last *gpu.Error
	some := false
	for i := range n {
		var d device
		var kinds uint64
		if last = l.check(op, l.byIndex(i, &d)); last != nil {
			continue
		}
		if l.supported == nil || l.supported(d, &kinds) != 0 {
			kinds = eventXid
		}
		if last = l.check(op, l.registerEvents(d, kinds&(eventXid|eventDoubleBit), set)); last == nil {
			some = true
		}
	}
	if !some {
		return 0, last
	}
	return set, nil
}

// events tells what happens for as long as we live.
func (s *server) events(l *library, set uintptr) {
	lost := false
	for {
		var e eventData
		st := l.wait(set, &e, eventWait)
		switch st {
		case 0:
			uuid := make([]byte, room)
			ev := &gpu.Event{At: time.Now().UTC()}
			if e.device != 0 && l.uuid(e.device, &uuid[0], room) == 0 {
				ev.UUID = text(uuid)
			}
			switch e.kind {
			case eventXid:
				ev.Xid = int(e.data)
			case eventDoubleBit:
				ev.Xid = 48 // the same, by its other name
			default:
				continue
			}
			s.say(gpu.Response{Event: ev})
		case 10: // nothing happened
		default:
			err := l.check("wait for errors", st)
			if !lost {
				lost = true
				s.say(gpu.Response{Event: &gpu.Event{At: time.Now().UTC(), Fault: *faultOr(err)}})
			}
			time.Sleep(eventWait * time.Millisecond) // it may return at once, for ever
		}
	}
}
