package compute

import "time"

// Task is what a client asks for, resolved. ParseTask reads it from a SkyPilot
// task, ParseBatch from an sbatch script; what cannot be honoured is refused by
// name with line and column.
type Task struct {
	Name     string `json:"name"`
	NumNodes int    `json:"num_nodes"` // hosts that it runs on at once, all or none
	Workdir  string `json:"workdir,omitempty"`

	// Resources is what each node needs. Choices are the alternatives of any_of
	// and ordered, each complete: in order of preference where Ordered, else any
	// of them, the cheapest that has room first. Where Choices is not empty,
	// Resources is the first of them.
	Resources Resources   `json:"resources"`
	Choices   []Resources `json:"choices,omitempty"`
	Ordered   bool        `json:"ordered,omitempty"`

	FileMounts []Mount           `json:"file_mounts,omitempty"` // copied in, like workdir
	Volumes    []Mount           `json:"volumes,omitempty"`     // named storage of the tenant, kept between jobs
	Envs       map[string]string `json:"envs,omitempty"`
	Setup      string            `json:"setup,omitempty"`
	Run        string            `json:"run"`

	// Secrets are environment variables that are never written in the clear: they
	// are not part of the record, a Vault keeps them. SecretNames is what the
	// record knows of them.
	Secrets     map[string]string `json:"-"`
	SecretNames []string          `json:"secret_names,omitempty"`

	Interrupt Interrupt `json:"interrupt,omitzero"`

	// What sbatch scripts ask for beyond SkyPilot's tasks.
	TimeLimit time.Duration `json:"time_limit,omitempty"` // of running; 0: none. Then it is stopped, and has failed
	Array     *Array        `json:"array,omitempty"`      // one job for each index
	After     []Dependency  `json:"after,omitempty"`      // all of them hold before it starts
	Output    string        `json:"output,omitempty"`     // file in the working folder that gets the output too; %-patterns are resolved per job
	NoRequeue bool          `json:"no_requeue,omitempty"` // a preemption ends it: it must not run twice

	// Warnings names what the file asks for that has no meaning here, such as
	// a cloud's region, with line and column.
	Warnings []string `json:"warnings,omitempty"`
}

// Resources is what a task asks of each of its nodes, resolved.
type Resources struct {
	Accelerator string  `json:"accelerator,omitempty"` // model, "" for none
	GPUs        int     `json:"gpus"`
	CPUs        float64 `json:"cpus"`      // 0: not said
	MemoryGB    float64 `json:"memory_gb"` // 0: not said
	DiskGB      float64 `json:"disk_gb,omitempty"`
	UseSpot     bool    `json:"use_spot"` // sold as interruptible

	Image            string            `json:"image,omitempty"`              // container image, without docker:
	Ports            []int             `json:"ports,omitempty"`              // that it serves
	Labels           map[string]string `json:"labels,omitempty"`             // that the host must have, see Host.Labels
	Region           string            `json:"region,omitempty"`             // of this site, from infra
	MaxUSDPerHour    float64           `json:"max_usd_per_hour,omitempty"`   // of all its nodes; 0: not said
	MaxRestarts      int               `json:"max_restarts,omitempty"`       // after errors of its own (job_recovery)
	RestartExitCodes []int             `json:"restart_exit_codes,omitempty"` // that count as such; empty: all but 0
	Isolation        Isolation         `json:"isolation,omitempty"`          // at least this; "" leaves it to the tenant's policy
	PowerCapOK       bool              `json:"power_cap_ok,omitempty"`       // may be slowed by a lower power limit instead of stopped
	MinPowerShare    float64           `json:"min_power_share,omitempty"`    // of the GPU's full power limit that it accepts; 0: 0.5
}

// Mount puts a file or folder at a path of the job's.
type Mount struct {
	Target string `json:"target"` // absolute, or below ~ or the working folder
	Source string `json:"source"` // path on the client, or the name of a volume
}

// Interrupt is how a task wants to be interrupted.
type Interrupt struct {
	Signal string        `json:"signal,omitempty"` // e.g. USR1; "" is TERM
	Hook   string        `json:"hook,omitempty"`   // script that runs instead of the signal; TERM follows when it has ended
	Notice time.Duration `json:"notice,omitempty"` // from the signal or hook to the kill; 0: the site's default
	// Before asks for the signal so long before TimeLimit ends it (sbatch --signal).
	Before time.Duration `json:"before,omitempty"`
}

// Array is one submission of many jobs.
type Array struct {
	Indexes []int `json:"indexes"`
	Most    int   `json:"most,omitempty"` // at once; 0: no limit
}

// Dependency says when a job may start.
type Dependency struct {
	Kind string   `json:"kind"` // after, afterok, afternotok, afterany, aftercorr, singleton
	Jobs []string `json:"jobs,omitempty"`
	Any  bool     `json:"any,omitempty"` // one of the dependencies with Any is enough (sbatch's ?)
}
