package nvml

import (
	"time"

	"sluice/device/gpu"
)

const (
	sensorDie = 0  // NVML_TEMPERATURE_GPU
	clockSM   = 1  // NVML_CLOCK_SM
	room      = 96 // of names and UUIDs: NVML's own are 96 bytes at most
)

// inventory lists the GPUs. One that does not let itself be asked stands there with
// its fault, and one that hangs holds up no other.
func (l *library) inventory() ([]gpu.GPU, *gpu.Error) {
	var n uint32
	if err := l.check("count the GPUs", l.count(&n)); err != nil {
		return nil, err
	}
	out := make([]gpu.GPU, n)
	told := make([]chan gpu.GPU, n)
	for i := range n {
		told[i] = make(chan gpu.GPU, 1)
		go func() {
			var d device
			g := gpu.GPU{Index: int(i)}
			if err := l.check("find the GPU", l.byIndex(i, &d)); err != nil {
				g.Fault = faultOr(err)
			} else {
				l.describe(d, &g)
			}
			told[i] <- g
		}()
	}
	late := time.After(patience)
	for i := range n {
		select {
		case out[i] = <-told[i]:
			continue
		default:
		}
		select {
		case out[i] = <-told[i]:
		case <-late:
			late = closed // for those after it too
			out[i] = gpu.GPU{Index: int(i), Fault: faultOr(&gpu.Error{Code: gpu.CodeSilent})}
		}
	}
	return out, nil
}

// patience is what one GPU gets to say what it is; less than what a caller waits.
const patience = 2500 * time.Millisecond

// closed is an instant that has come.
var closed = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// faultOr never returns nil: a GPU that cannot be asked is not one to use.
func faultOr(err *gpu.Error) *gpu.Fault {
	if f := gpu.FaultOf(err); f != nil {
		return f
	}
	return &gpu.Fault{Text: err.Error(), Mend: "see `nvidia-smi`", Drain: true}
}

func (l *library) describe(d device, g *gpu.GPU) {
	name, uuid := make([]byte, room), make([]byte, room)
	var pci pciInfo
	var mem memoryInfo
	for _, err := range []*gpu.Error{
		l.check("read its name", l.name(d, &name[0], room)),
		l.check("read its UUID", l.uuid(d, &uuid[0], room)),
		l.check("read its PCI address", l.pci(d, &pci)),
		l.check("read its memory", l.memory(d, &mem)),
	} {
		if err != nil && g.Fault == nil {
			g.Fault = faultOr(err)
		}
	}
	g.Product, g.UUID, g.PCI, g.MemoryMiB = text(name), text(uuid), text(pci.busID[:]), int64(mem.total>>20)
	g.EnforcedLimit, _ = l.milliwatts("", l.enforcedLimit, d)
	g.Limit, _ = l.milliwatts("", l.limit, d)
	g.DefaultLimit, _ = l.milliwatts("", l.defaultLimit, d)
	var low, high uint32
	if l.limits != nil && l.limits(d, &low, &high) == 0 {
		g.MinLimit, g.MaxLimit = gpu.Milliwatts(low), gpu.Milliwatts(high)
	}
	var now, next uint32
	if l.mig != nil && l.mig(d, &now, &next) == 0 {
		g.MIG = now == 1
	}
}

// milliwatts reads one figure of power.
func (l *library) milliwatts(op string, read func(device, *uint32) status, d device) (gpu.Milliwatts, *gpu.Error) {
	if read == nil {
		return 0, &gpu.Error{Op: op, Code: gpu.CodeNoFunction, Msg: "this driver is too old for it"}
	}
	var mw uint32
	if err := l.check(op, read(d, &mw)); err != nil {
		return 0, err
	}
	return gpu.Milliwatts(mw), nil
}

// find returns the handle of a UUID.
func (l *library) find(uuid string) (device, *gpu.Error) {
	var d device
	c := append([]byte(uuid), 0)
	return d, l.check("find the GPU", l.byUUID(&c[0], &d))
}

// read tells what a GPU does. A figure that it does not have is no error; a GPU that
// is lost is.
func (l *library) read(uuid string) (*gpu.Reading, *gpu.Error) {
	d, err := l.find(uuid)
	if err != nil {
		return nil, err
	}
	r := &gpu.Reading{UUID: uuid}
	var mem memoryInfo
	if err := l.check("read its memory", l.memory(d, &mem)); err != nil {
		return nil, err
	}
	r.MemoryUsedMiB = int64(mem.used >> 20)
	if r.Power, err = l.milliwatts("read its power", l.power, d); err == nil {
		r.HasPower = true
	} else if gpu.FaultOf(err) != nil {
		return nil, err
	}
	var u64 uint64
	if l.energy != nil && l.energy(d, &u64) == 0 {
		r.EnergyMJ, r.HasEnergy = u64, true
	}
	var u32 uint32
	if l.temperature != nil && l.temperature(d, sensorDie, &u32) == 0 {
		r.TempC = int(u32)
	}
	if l.clock != nil && l.clock(d, clockSM, &u32) == 0 {
		r.ClockMHz = int(u32)
	}
	var use utilization
	if l.utilization != nil && l.utilization(d, &use) == 0 {
		r.UtilPct = int(use.gpu)
	}
	if l.clockReasons != nil && l.clockReasons(d, &u64) == 0 {
		r.Throttled = gpu.Throttle(u64)
	}
	r.EnforcedLimit, _ = l.milliwatts("", l.enforcedLimit, d)
	r.At = time.Now().UTC()
	return r, nil
}

// processes lists who has memory of a GPU.
func (l *library) processes(uuid string) ([]gpu.Process, *gpu.Error) {
	d, err := l.find(uuid)
	if err != nil {
		return nil, err
	}
	out := []gpu.Process{}
	for _, kind := range []struct {
		list     func(device, *uint32, *processInfo) status
		graphics bool
	}{{l.compute, false}, {l.graphics, true}} {
		if kind.list == nil {
			continue
		}
		infos := make([]processInfo, 256)
		n := uint32(len(infos))
		err := l.check("list its processes", kind.list(d, &n, &infos[0]))
		switch {
		case err != nil && kind.graphics && err.Code == gpu.CodeNotSupported:
			continue
		case err != nil:
			return nil, err
		}
		for _, p := range infos[:min(n, uint32(len(infos)))] {
			q := gpu.Process{PID: int(p.pid), Graphics: kind.graphics}
			if p.memory != ^uint64(0) { // not told
				q.MemoryMiB = int64(p.memory >> 20)
			}
			out = append(out, q)
		}
	}
	return out, nil
}

// set changes the power limit and returns what is in force then.
func (l *library) set(uuid string, limit gpu.Milliwatts) (gpu.Milliwatts, *gpu.Error) {
	const op = "set its power limit"
	d, err := l.find(uuid)
	if err != nil {
		return 0, err
	}
	if l.setLimit == nil {
		return 0, &gpu.Error{Op: op, Code: gpu.CodeNoFunction, Msg: "this driver is too old for it"}
	}
	if limit <= 0 || limit > 1<<31 {
		return 0, &gpu.Error{Op: op, Code: 2, Msg: "the limit makes no sense"}
	}
	if err := l.check(op, l.setLimit(d, uint32(limit))); err != nil {
		return 0, err
	}
	return l.milliwatts("read its power limit", l.limit, d)
}
