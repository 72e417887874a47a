package fabric

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
)

// Version of the messages. A site refuses agents of another and says so.
const Version = 2

// Bounds of messages.
const (
	MaxMessage = 1 << 20   // bytes of one message
	MaxData    = 512 << 10 // of file or log content in one
	MaxRuns    = 1000      // that an agent holds, ended ones that were taken aside
	maxHead    = MaxMessage
	maxBatch   = 256 << 10 // bytes of events in one message
)

// Facts are what a host tells of itself when it joins. Where they decide where a
// job may go, the operator's configuration counts and not these; but the disk counts
// where the configuration says nothing of it.
type Facts struct {
	Name        string              `json:"name"`
	Address     string              `json:"address,omitempty"`
	OS          string              `json:"os,omitempty"`
	Kernel      string              `json:"kernel,omitempty"`
	Version     string              `json:"version,omitempty"` // of the agent
	CPUs        int                 `json:"cpus"`
	MemoryBytes int64               `json:"memory_bytes"`
	DiskBytes   int64               `json:"disk_bytes"` // free where the agent keeps its data
	GPUs        []GPU               `json:"gpus,omitempty"`
	Executors   []string            `json:"executors"`
	Isolations  []compute.Isolation `json:"isolations,omitempty"`
}

// GPU is one of a host's GPUs.
type GPU struct {
	Index       int    `json:"index"`
	UUID        string `json:"uuid,omitempty"`
	Model       string `json:"model"`
	MemoryBytes int64  `json:"memory_bytes,omitempty"`
	LimitW      int    `json:"limit_w,omitempty"` // its full power limit
}

// Reading is one measured value.
type Reading struct {
	Name   string            `json:"name"` // e.g. cpu_busy, memory_used, power
	Unit   string            `json:"unit"` // 1, bytes, W, C
	Value  float64           `json:"value"`
	At     time.Time         `json:"at"`
	Labels map[string]string `json:"labels,omitempty"`
}

// Phase is how far a run has come on its host.
type Phase string

// Phases of a run.
const (
	Unknown   Phase = "unknown"   // the host has nothing of it
	Forbidden Phase = "forbidden" // and will never start it
	Starting  Phase = "starting"
	Running   Phase = "running"
	Ended     Phase = "ended"
	Failed    Phase = "failed" // it did not start
)

// RunState is what a host says of a run.
type RunState struct {
	Run     string        `json:"run"`
	Phase   Phase         `json:"phase"`
	Idle    bool          `json:"idle,omitempty"` // starting, but the agent was restarted and waits for the order again
	Usage   compute.Usage `json:"usage"`
	Ago     time.Duration `json:"ago,omitempty"` // how old that reading is
	Exit    *compute.Exit `json:"exit,omitempty"`
	Saved   time.Time     `json:"saved,omitzero"`    // newest file of the checkpoint folder
	LogSize int64         `json:"log_size"`          // bytes of output
	LogDone bool          `json:"log_done"`          // all of it has been delivered
	Kind    sluice.Kind   `json:"kind,omitempty"`    // of Err
	Err     string        `json:"err,omitempty"`     // why it failed
	Fenced  bool          `json:"fenced,omitempty"`  // the lease ran out
	Present bool          `json:"present,omitempty"` // its folders are still there
}

// Beat is a heartbeat.
type Beat struct {
	V       int        `json:"v"`
	Epoch   string     `json:"epoch"` // of the agent's data folder
	Facts   *Facts     `json:"facts,omitempty"`
	Runs    []RunState `json:"runs"`
	Leaving bool       `json:"leaving,omitempty"` // the agent ends, its runs go on
	Pending int        `json:"pending,omitempty"` // events in the spool
	Fault   string     `json:"fault,omitempty"`   // why the host's GPUs may get no new jobs
	// Held is why runs of an isolation would not start there at present.
	Held map[compute.Isolation]string `json:"held,omitempty"`
}

// maxHeld is how long a host's reason may be.
const maxHeld = 2000

// maxGPUs is how many GPUs a host may have.
const maxGPUs = 256

// BeatReply answers it.
type BeatReply struct {
	V int `json:"v"`
	Grant
	Refused   string   `json:"refused,omitempty"` // why the agent must not go on, for its operator
	WantFacts bool     `json:"want_facts,omitempty"`
	Taken     []string `json:"taken,omitempty"` // ended runs that need not be told again
	Power     *Power   `json:"power,omitempty"` // what a host's idle GPUs need to know
}

// Power is what the site says of power to a host whose idle GPUs could mine.
type Power struct {
	Spare     bool     `json:"spare"`                 // nobody else should have it, and the site may act on the host
	USDPerMWh *float64 `json:"usd_per_mwh,omitempty"` // at the plug, the site's overhead in it; nil: not known
}

// Event is one thing that happened on a host. Exactly one of its parts is there.
type Event struct {
	Seq     uint64    `json:"seq"` // of the host, without gaps
	At      time.Time `json:"at"`
	Reading *Reading  `json:"reading,omitempty"`
	Use     *Use      `json:"use,omitempty"`
	Run     *RunState `json:"run,omitempty"`     // a change of phase
	Dropped uint64    `json:"dropped,omitempty"` // events up to this one that the spool had no room for
}

// Use is what a run had used at a time.
type Use struct {
	Run   string        `json:"run"`
	Usage compute.Usage `json:"usage"`
}

// Batch is some events in their order: all after number After up to To.
type Batch struct {
	V      int     `json:"v"`
	Epoch  string  `json:"epoch"`
	After  uint64  `json:"after"`
	To     uint64  `json:"to"`
	Events []Event `json:"events"`
}

// Order is the head of a request to an agent.
type Order struct {
	Grant
	Body json.RawMessage `json:"body,omitempty"`
}

// Answer is the head of what it answers.
type Answer struct {
	Kind sluice.Kind     `json:"kind,omitempty"`
	Err  string          `json:"err,omitempty"`
	Hint string          `json:"hint,omitempty"`
	Body json.RawMessage `json:"body,omitempty"`
}

// pack makes a message: the length of the head, the head as JSON, then data.
func pack(head any, data []byte) ([]byte, error) {
	b, err := json.Marshal(head)
	if err != nil {
		return nil, fmt.Errorf("write a message: %w", err)
	}
	out := binary.AppendUvarint(make([]byte, 0, len(b)+len(data)+4), uint64(len(b)))
	out = append(append(out, b...), data...)
	if len(out) > MaxMessage {
		return nil, sluice.Errorf(sluice.Invalid, "", "a message of %d bytes is larger than %d", len(out), MaxMessage)
	}
	return out, nil
}

// unpack reads a message. What it does not know is refused: the sides have the
// same version.
func unpack(msg []byte, head any) (data []byte, err error) {
	if len(msg) > MaxMessage {
		return nil, sluice.Errorf(sluice.Invalid, "", "a message of %d bytes is larger than %d", len(msg), MaxMessage)
	}
	n, w := binary.Uvarint(msg)
	if w <= 0 || n > maxHead || n > uint64(len(msg)-w) {
		return nil, sluice.Errorf(sluice.Invalid, "", "a message is cut short")
	}
	if err := strict(msg[w:w+int(n)], head); err != nil {
		return nil, err
	}
	return msg[w+int(n):], nil
}

func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return sluice.Errorf(sluice.Invalid, "", "a message cannot be read: %v", err)
	}
	if d.More() {
		return sluice.Errorf(sluice.Invalid, "", "a message goes on after its end")
	}
	return nil
}

// Clip shortens a host's reason to what a heartbeat may carry.
func Clip(why string) string {
	if len(why) > maxHeld {
		why = why[:maxHeld-3] + "…"
	}
	return strings.ToValidUTF8(why, "?")
}

// ParseBeat reads a heartbeat. Of another version it returns what it could read
// with an error.
func ParseBeat(msg []byte) (Beat, error) {
	var v struct {
		V int `json:"v"`
	}
	if n, w := binary.Uvarint(msg); w > 0 && n <= uint64(len(msg)-w) {
		_ = json.Unmarshal(msg[w:w+int(n)], &v)
	}
	if v.V != Version {
		return Beat{}, sluice.Errorf(sluice.Invalid, "install the same version of sluice on both", "the agent speaks version %d of the fabric, the site version %d", v.V, Version)
	}
	var b Beat
	if _, err := unpack(msg, &b); err != nil {
		return b, err
	}
	if len(b.Epoch) != epochLen || !isHex(b.Epoch) || len(b.Runs) > 2*MaxRuns {
		return b, sluice.Errorf(sluice.Invalid, "", "a heartbeat makes no sense")
	}
	for i, why := range b.Held {
		if !slices.Contains(compute.Isolations(), i) || len(why) > maxHeld {
			return b, sluice.Errorf(sluice.Invalid, "", "a heartbeat holds back what cannot be")
		}
	}
	if len(b.Fault) > maxHeld || b.Facts != nil && len(b.Facts.GPUs) > maxGPUs {
		return b, sluice.Errorf(sluice.Invalid, "", "a heartbeat tells of GPUs what cannot be")
	}
	for _, r := range b.Runs {
		if !ValidRun(r.Run) {
			return b, sluice.Errorf(sluice.Invalid, "", "a heartbeat names a run that cannot be")
		}
	}
	return b, nil
}

// ParseBatch reads events.
func ParseBatch(msg []byte) (Batch, error) {
	var b Batch
	if _, err := unpack(msg, &b); err != nil {
		return b, err
	}
	if b.V != Version || len(b.Epoch) != epochLen || !isHex(b.Epoch) || b.To < b.After {
		return b, sluice.Errorf(sluice.Invalid, "", "a batch of events makes no sense")
	}
	last := b.After
	for _, e := range b.Events {
		if e.Seq <= last || e.Seq > b.To {
			return b, sluice.Errorf(sluice.Invalid, "", "a batch of events is out of order")
		}
		last = e.Seq
	}
	return b, nil
}

const epochLen = 32

func isHex(s string) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// ValidRun says whether a text can be a run's or a job's ID: it becomes the name
// of a folder.
func ValidRun(id string) bool {
	return hostNameOrRun.MatchString(id)
}

// fail makes an Answer of an error.
func fail(err error) Answer {
	a := Answer{Kind: sluice.KindOf(err), Err: err.Error()}
	if len(a.Err) > 4096 {
		a.Err = a.Err[:4096]
	}
	return a
}
