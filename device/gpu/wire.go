package gpu

import (
	"encoding/json"
	"fmt"
	"time"
)

// Operations of the probe.
const (
	OpInventory = "inventory"
	OpRead      = "read"
	OpProcesses = "processes"
	OpSetLimit  = "set-limit"
	OpWatch     = "watch" // events follow, without an id
)

// Request asks the probe for one thing.
type Request struct {
	ID    uint64     `json:"id"`
	Op    string     `json:"op"`
	UUID  string     `json:"uuid,omitempty"`
	Limit Milliwatts `json:"limit_mw,omitempty"`
}

// Response is what the probe says: first Hello or its Error, then one for each
// request, and events between them.
type Response struct {
	ID        uint64     `json:"id,omitempty"`
	Hello     *Hello     `json:"hello,omitempty"`
	Error     *Error     `json:"error,omitempty"`
	GPUs      []GPU      `json:"gpus,omitempty"`
	Reading   *Reading   `json:"reading,omitempty"`
	Processes []Process  `json:"processes,omitempty"`
	Limit     Milliwatts `json:"limit_mw,omitempty"`
	Event     *Event     `json:"event,omitempty"`
}

// Hello says which library the probe has loaded.
type Hello struct {
	Library string `json:"library"`
	Driver  string `json:"driver"`
	NVML    string `json:"nvml"`
}

// maxLine bounds a line of the probe: an inventory of 64 GPUs takes about 30 KiB.
const maxLine = 1 << 20

// maxGPUs is more than any host holds.
const maxGPUs = 256

// parseResponse reads a line of the probe.
func parseResponse(line []byte) (Response, error) {
	var r Response
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("a line of the GPU probe: %w", err)
	}
	if len(r.GPUs) > maxGPUs {
		return r, fmt.Errorf("a line of the GPU probe: %d GPUs", len(r.GPUs))
	}
	for i := range r.GPUs {
		r.GPUs[i].Model = Model(r.GPUs[i].Product)
	}
	if r.Event != nil {
		if r.Event.Xid != 0 {
			r.Event.Fault = FaultOfXid(r.Event.Xid)
		}
		if r.Event.At.IsZero() {
			r.Event.At = time.Now().UTC()
		}
	}
	return r, nil
}
