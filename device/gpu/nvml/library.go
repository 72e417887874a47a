// Package nvml loads NVIDIA's management library at run time, without cgo, and
// serves it to Sluice over a pipe. It is the inside of the probe; see package gpu
// for why that is a program of its own. Whatever imports it is bound to the C
// library of the machine, so that only cmd/gpuprobe does.
package nvml

import (
	"fmt"
	"os"
	"unsafe"

	"github.com/ebitengine/purego"

	"sluice/device/gpu"
)

// libraries are where the driver, container toolkits and WSL put it.
var libraries = []string{
	"libnvidia-ml.so.1",
	"/usr/local/nvidia/lib64/libnvidia-ml.so.1",
	"/usr/local/nvidia/lib/libnvidia-ml.so.1",
	"/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
	"/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
	"/usr/lib64/libnvidia-ml.so.1",
	"/usr/lib/wsl/lib/libnvidia-ml.so.1",
	"/run/opengl-driver/lib/libnvidia-ml.so.1",
}

// device is NVML's handle, a pointer of its own.
type device uintptr

// status is NVML's return code.
type status int32

// pciInfo is nvmlPciInfo_t of nvmlDeviceGetPciInfo_v3.
type pciInfo struct {
	_     [16]byte  // the older bus id
	_     [5]uint32 // domain, bus, device and ids
	busID [32]byte
}

// memoryInfo is nvmlMemory_t, in bytes.
type memoryInfo struct {
	total uint64
	_     uint64 // free
	used  uint64
}

// utilization is nvmlUtilization_t, in percent.
type utilization struct {
	gpu uint32
	_   uint32 // of the memory's bus
}

// processInfo is nvmlProcessInfo_t of the _v3 calls.
type processInfo struct {
	pid    uint32
	_      uint32
	memory uint64
	_      [2]uint32 // GPU and compute instance
}

// eventData is nvmlEventData_t.
type eventData struct {
	device     device
	kind, data uint64
	_          [2]uint32 // GPU and compute instance
}

// The layouts of NVML's ABI, held at compile time.
var (
	_ [68]byte = [unsafe.Sizeof(pciInfo{})]byte{}
	_ [24]byte = [unsafe.Sizeof(processInfo{})]byte{}
	_ [32]byte = [unsafe.Sizeof(eventData{})]byte{}
)

// library is the part of NVML that is used. A function that an older library lacks
// is nil.
type library struct {
	path string

	init           func() status
	shutdown       func() status
	errorString    func(status) string
	driverVersion  func(*byte, uint32) status
	nvmlVersion    func(*byte, uint32) status
	count          func(*uint32) status
	byIndex        func(uint32, *device) status
	byUUID         func(*byte, *device) status
	name           func(device, *byte, uint32) status
	uuid           func(device, *byte, uint32) status
	pci            func(device, *pciInfo) status
	memory         func(device, *memoryInfo) status
	utilization    func(device, *utilization) status
	power          func(device, *uint32) status
	energy         func(device, *uint64) status
	temperature    func(device, int32, *uint32) status
	clock          func(device, int32, *uint32) status
	clockReasons   func(device, *uint64) status
	limits         func(device, *uint32, *uint32) status
	defaultLimit   func(device, *uint32) status
	limit          func(device, *uint32) status
	enforcedLimit  func(device, *uint32) status
	setLimit       func(device, uint32) status
	mig            func(device, *uint32, *uint32) status
	compute        func(device, *uint32, *processInfo) status
	graphics       func(device, *uint32, *processInfo) status
	eventSet       func(*uintptr) status
	registerEvents func(device, uint64, uintptr) status
	supported      func(device, *uint64) status
	wait           func(uintptr, *eventData, uint32) status
	freeSet        func(uintptr) status
}

// load opens the library at the path, or the first that is found.
func load(path string) (*library, *gpu.Error) {
	paths := libraries
	if path != "" {
		paths = []string{path}
	}
	var first error
	for _, p := range paths {
		h, err := purego.Dlopen(p, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err != nil {
			// The first name is that of the loader's own path: what it says is
			// what a person can act on, unless a file is there and is broken.
			if _, there := os.Stat(p); first == nil || there == nil {
				first = err
			}
			continue
		}
		l := &library{path: p}
		return l, l.bind(h)
	}
	return nil, &gpu.Error{Op: "load the driver's library", Code: gpu.CodeNoLibrary, Msg: first.Error()}
}

// bind finds the functions. Of several names the first that is there is taken.
func (l *library) bind(h uintptr) *gpu.Error {
	bind := func(fn any, need bool, names ...string) error {
		for _, n := range names {
			if sym, err := purego.Dlsym(h, n); err == nil && sym != 0 {
				purego.RegisterFunc(fn, sym)
				return nil
			}
		}
		if need {
			return fmt.Errorf("%s has no %s", l.path, names[0])
		}
		return nil
	}
	for _, f := range []struct {
		fn    any
		need  bool
		names []string
	}{
		{&l.init, true, []string{"nvmlInit_v2"}},
		{&l.shutdown, true, []string{"nvmlShutdown"}},
		{&l.errorString, true, []string{"nvmlErrorString"}},
		{&l.driverVersion, true, []string{"nvmlSystemGetDriverVersion"}},
		{&l.nvmlVersion, true, []string{"nvmlSystemGetNVMLVersion"}},
		{&l.count, true, []string{"nvmlDeviceGetCount_v2"}},
		{&l.byIndex, true, []string{"nvmlDeviceGetHandleByIndex_v2"}},
		{&l.byUUID, true, []string{"nvmlDeviceGetHandleByUUID"}},
		{&l.name, true, []string{"nvmlDeviceGetName"}},
		{&l.uuid, true, []string{"nvmlDeviceGetUUID"}},
		{&l.pci, true, []string{"nvmlDeviceGetPciInfo_v3"}},
		{&l.memory, true, []string{"nvmlDeviceGetMemoryInfo"}},
		{&l.utilization, false, []string{"nvmlDeviceGetUtilizationRates"}},
		{&l.power, false, []string{"nvmlDeviceGetPowerUsage"}},
		{&l.energy, false, []string{"nvmlDeviceGetTotalEnergyConsumption"}},
		{&l.temperature, false, []string{"nvmlDeviceGetTemperature"}},
		{&l.clock, false, []string{"nvmlDeviceGetClockInfo"}},
		{&l.clockReasons, false, []string{"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"}},
		{&l.limits, false, []string{"nvmlDeviceGetPowerManagementLimitConstraints"}},
		{&l.defaultLimit, false, []string{"nvmlDeviceGetPowerManagementDefaultLimit"}},
		{&l.limit, false, []string{"nvmlDeviceGetPowerManagementLimit"}},
		{&l.enforcedLimit, false, []string{"nvmlDeviceGetEnforcedPowerLimit"}},
		{&l.setLimit, false, []string{"nvmlDeviceSetPowerManagementLimit"}},
		{&l.mig, false, []string{"nvmlDeviceGetMigMode"}},
		{&l.compute, false, []string{"nvmlDeviceGetComputeRunningProcesses_v3"}},
		{&l.graphics, false, []string{"nvmlDeviceGetGraphicsRunningProcesses_v3"}},
		{&l.eventSet, false, []string{"nvmlEventSetCreate"}},
		{&l.registerEvents, false, []string{"nvmlDeviceRegisterEvents"}},
		{&l.supported, false, []string{"nvmlDeviceGetSupportedEventTypes"}},
		{&l.wait, false, []string{"nvmlEventSetWait_v2"}},
		{&l.freeSet, false, []string{"nvmlEventSetFree"}},
	} {
		if err := bind(f.fn, f.need, f.names...); err != nil {
			return &gpu.Error{Op: "load the driver's library", Code: gpu.CodeNoFunction, Msg: err.Error()}
		}
	}
	return nil
}

// check turns a return code into an error, nil for success.
func (l *library) check(op string, s status) *gpu.Error {
	if s == 0 {
		return nil
	}
	msg := l.errorString(s)
	if msg == "" {
		msg = fmt.Sprintf("NVML returned %d", s)
	}
	return &gpu.Error{Op: op, Code: int(s), Msg: msg}
}

// text reads a C string out of a buffer.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
