// Package idle mines on GPUs that no job has, where that pays more than its power;
// usually it does not, and then it says so, in money.
//
// The miner is a program of others (xmrig, T-Rex, lolMiner). Sluice starts and ends
// it where its command is given, speaks its HTTP API, and does not believe it: a GPU
// counts as free of it when the driver says that nobody computes there.
//
// A job comes first: Yield returns when the miner is off the job's GPUs, or says that
// it is not.
package idle

import (
	"context"
	"time"

	"sluice"
)

// Status is what a miner says of itself.
type Status struct {
	Software  string  `json:"software"`
	Algorithm string  `json:"algorithm"`
	Paused    bool    `json:"paused"` // all of it
	MHs       float64 `json:"mh_s"`   // megahashes (or solutions) a second, of all GPUs
	Uptime    float64 `json:"uptime_s"`
	GPUs      []Card  `json:"gpus,omitempty"` // where the miner tells of each
}

// Card is one GPU of a miner.
type Card struct {
	Index  int     `json:"index"`   // as the miner counts
	PCIBus int     `json:"pci_bus"` // -1: not told
	MHs    float64 `json:"mh_s"`
	PowerW float64 `json:"power_w"` // 0: not told
	Paused bool    `json:"paused"`
}

// Miner is a mining program behind its API.
type Miner interface {
	Status(ctx context.Context) (Status, error)
}

// Pauser is a Miner that can be told to stop and to go on.
type Pauser interface {
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	// Leave makes it let go of the GPUs, which a pause does not.
	Leave(ctx context.Context) error
}

// GPUs are those of the host, by index.
type GPUs interface {
	// Power is what a GPU draws now.
	Power(ctx context.Context, gpu int) (sluice.Watts, error)
	// Busy lists the processes that compute on it.
	Busy(ctx context.Context, gpu int) ([]int, error)
	// Name is what a process calls the GPU: its UUID.
	Name(ctx context.Context, gpu int) (string, error)
}

// Value is what hashing earns, from a source that is dated.
type Value struct {
	Algorithm string    `json:"algorithm"`
	USDPerDay float64   `json:"usd_per_mh_day"` // of one MH/s
	AsOf      time.Time `json:"as_of"`
}

// Terms are under which a GPU mines.
type Terms struct {
	Fee      float64       // of the pool and the program, 0 to 1
	Overhead float64       // meter kW per kW of the GPU, at least 1
	Margin   float64       // by which it must pay more than it costs before it begins
	MaxAge   time.Duration // of a Value
	MinOn    time.Duration // it mines for so long once begun, unless a job or a limit comes
	MinOff   time.Duration // and stays off for so long
}
