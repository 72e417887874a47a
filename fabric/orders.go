package fabric

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"sluice/compute"
	"sluice/fabric/tree"
)

// Orders to agents, by the name of the subject's last element.
const (
	OpLook     = "look"
	OpStart    = "start"
	OpStop     = "stop"
	OpCap      = "cap"
	OpWipe     = "wipe"
	OpList     = "list"
	OpRead     = "read"
	OpWrite    = "write"
	OpDrop     = "drop"
	OpExec     = "exec"
	OpExecIn   = "exec_in"
	OpExecOut  = "exec_out"
	OpExecStop = "exec_stop"
)

// LookOrder asks for the state of a run. It is answered with a RunState once its
// phase is another than Not, or after Wait.
type LookOrder struct {
	Run    string        `json:"run"`
	Forbid bool          `json:"forbid,omitempty"` // a run that is unknown is never started
	Wait   time.Duration `json:"wait,omitempty"`
	Not    Phase         `json:"not,omitempty"`
	LogNot bool          `json:"log_not,omitempty"` // wait for the log to be delivered instead
}

// StartOrder asks for a run. Its folders are there already.
type StartOrder struct {
	Spec    compute.RunSpec `json:"spec"` // with the paths of the site
	Lease   time.Duration   `json:"lease"`
	Notice  time.Duration   `json:"notice"` // where the lease runs out
	Folders []Folder        `json:"folders"`
}

// Folder is a folder of a job that is on both sides.
type Folder struct {
	Name   string `json:"name"`             // on the host, below the job's own
	Path   string `json:"path"`             // on the site, as the run's specification has it
	File   string `json:"file,omitempty"`   // the path is this one file of the folder
	Return bool   `json:"return,omitempty"` // what a run changes in it goes back to the site
	Shared bool   `json:"shared,omitempty"` // others write to it too: the nodes of a gang, other jobs
}

// FolderName makes the name of a folder on hosts from its path on the site.
func FolderName(kind, path string) string {
	h := sha256.Sum256([]byte(path))
	return kind + "-" + hex.EncodeToString(h[:6])
}

// CapOrder limits the power of a run.
type CapOrder struct {
	Run   string  `json:"run"`
	Share float64 `json:"share"`
}

// CapAnswer is the share in force.
type CapAnswer struct {
	Share float64 `json:"share"`
}

// WipeOrder asks for the deletion of a job's folders and of its runs' output.
type WipeOrder struct {
	Job string `json:"job"`
}

// TreeOrder is an order on one folder of a job.
type TreeOrder struct {
	Job     string       `json:"job"`
	Folder  string       `json:"folder"`
	After   string       `json:"after,omitempty"`   // list
	Asks    []tree.Ask   `json:"asks,omitempty"`    // read
	Pieces  []tree.Piece `json:"pieces,omitempty"`  // write
	Drop    []string     `json:"drop,omitempty"`    // drop
	Session string       `json:"session,omitempty"` // write
}

// TreeAnswer answers it.
type TreeAnswer struct {
	Entries []tree.Entry `json:"entries,omitempty"`
	More    bool         `json:"more,omitempty"`
	Busy    bool         `json:"busy,omitempty"` // a run of the job holds it
	Got     []tree.Got   `json:"got,omitempty"`
}

// ExecOrder begins a command beside a run, feeds it, reads from it or ends it.
type ExecOrder struct {
	ID   string   `json:"id"`
	Run  string   `json:"run,omitempty"`
	Argv []string `json:"argv,omitempty"`
	From int64    `json:"from,omitempty"` // byte of the input that the data begin at, or of the output that is wanted
	EOF  bool     `json:"eof,omitempty"`
}

// ExecAnswer answers it; output stands beside it.
type ExecAnswer struct {
	Next  int64  `json:"next,omitempty"` // byte of the input that is wanted
	Ended bool   `json:"ended,omitempty"`
	Code  int    `json:"code,omitempty"`
	Kind  int    `json:"kind,omitempty"`
	Err   string `json:"err,omitempty"`
}
