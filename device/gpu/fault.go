package gpu

import (
	"errors"
	"fmt"
)

// FaultOf says what an error of a call means for the GPU: nil where it is none of
// the GPU's own.
func FaultOf(err error) *Fault {
	var e *Error
	if !errors.As(err, &e) {
		return nil
	}
	switch e.Code {
	case CodeSilent:
		return &Fault{
			Text: "it does not answer: it may have fallen off the bus, or its driver hangs", Drain: true, Silent: true,
			Mend: "stop what runs there, then `nvidia-smi --gpu-reset -i INDEX` or reboot the host",
		}
	case CodeLost:
		return &Fault{Text: "it has fallen off the bus", Mend: "reboot the host; when it comes back, look at its power and its seat", Drain: true}
	case CodeResetRequired:
		return &Fault{Text: "it needs a reset", Mend: "stop what runs there, then `nvidia-smi --gpu-reset -i INDEX`", Drain: true}
	case CodeBlocked:
		return &Fault{Text: "the operating system keeps us from it", Mend: "give this container or cgroup the device /dev/nvidiaN", Drain: true}
	case CodeUnknown:
		return &Fault{Text: "the driver reports an internal error", Mend: "see `dmesg | grep NVRM`; reset the GPU or reboot the host", Drain: true}
	}
	return nil
}

const resetGPU = "stop what runs there, then `nvidia-smi --gpu-reset -i INDEX`; if it comes again, have the GPU tested"

// xids are the errors that say something about the GPU or its host. Those that a
// program causes, and all that are not listed, drain nothing.
var xids = map[int]Fault{
	13:  {Text: "a program made the engine fail", Mend: "the job's own fault, unless several jobs meet it on this GPU"},
	31:  {Text: "a program reached for memory that is not its own", Mend: "the job's own fault, unless several jobs meet it on this GPU"},
	43:  {Text: "a program was stopped after an error of its own", Mend: "look at the job's log"},
	45:  {Text: "a program was cleaned up after it ended"},
	48:  {Text: "an uncorrectable memory error", Mend: resetGPU, Drain: true},
	61:  {Text: "its microcontroller stopped at a breakpoint", Mend: resetGPU, Drain: true},
	62:  {Text: "its microcontroller halted", Mend: resetGPU, Drain: true},
	63:  {Text: "a row of its memory is to be replaced at the next reset", Mend: "reset it when it is next idle"},
	64:  {Text: "a row of its memory could not be replaced", Mend: "reset it; if it comes again, have it exchanged", Drain: true},
	74:  {Text: "an NVLink failed", Mend: "look at `nvidia-smi nvlink -e`; reset the GPUs on this link, or reboot the host", Drain: true},
	79:  {Text: "it has fallen off the bus", Mend: "reboot the host; when it comes back, look at its power and its seat", Drain: true},
	92:  {Text: "many corrected memory errors", Mend: "have it tested when it is next idle"},
	94:  {Text: "an uncorrectable memory error, contained: the program that met it was ended", Mend: "start that job again; reset the GPU when it is next idle"},
	95:  {Text: "an uncorrectable memory error that is not contained", Mend: resetGPU, Drain: true},
	109: {Text: "a context switch timed out", Mend: resetGPU, Drain: true},
	119: {Text: "its system processor does not answer the driver", Mend: resetGPU, Drain: true},
	120: {Text: "its system processor failed", Mend: resetGPU, Drain: true},
	140: {Text: "an uncorrectable memory error that the driver could not recover from", Mend: resetGPU, Drain: true},
	143: {Text: "it failed to start", Mend: "reboot the host; if it comes again, have the GPU exchanged", Drain: true},
}

// FaultOfXid says what an Xid error means.
func FaultOfXid(xid int) Fault {
	f, ok := xids[xid]
	if !ok {
		f = Fault{Text: "an error that is not in our list", Mend: "see NVIDIA's list of Xid errors"}
	}
	f.Text = fmt.Sprintf("Xid %d: %s", xid, f.Text)
	return f
}
