package compute

import (
	"path"
	"strconv"
	"time"
)

// Task is what a client asks for, resolved. Package jobfile reads it from a
// SkyPilot task or from an sbatch script; what cannot be honoured is refused by
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
	Priority  int       `json:"priority,omitempty"` // higher first among the tenant's own; -1000 to 1000

	// What sbatch scripts ask for beyond SkyPilot's tasks.
	TimeLimit time.Duration `json:"time_limit,omitempty"` // of running; 0: none. Then it is stopped, and has failed
	Array     *Array        `json:"array,omitempty"`      // one job for each index
	After     []Dependency  `json:"after,omitempty"`      // all of them hold before it starts
	Output    string        `json:"output,omitempty"`     // file in the working folder that gets the output too, with sbatch's %-patterns; the script itself writes it
	NoRequeue bool          `json:"no_requeue,omitempty"` // a preemption ends it: it must not run twice
	Batch     *Batch        `json:"batch,omitempty"`      // of an sbatch script: how its tasks lie on its nodes
	ArrayTask *ArrayTask    `json:"array_task,omitempty"` // which job of an array this is; its Array is nil then

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
	RestartExitCodes []int             `json:"restart_exit_codes,omitempty"` // after which it is restarted however often, beside MaxRestarts
	Isolation        Isolation         `json:"isolation,omitempty"`          // at least this; "" leaves it to the tenant's policy
	PowerCapOK       bool              `json:"power_cap_ok,omitempty"`       // may be slowed by a lower power limit instead of stopped
	MinPowerShare    float64           `json:"min_power_share,omitempty"`    // of the GPU's full power limit that it accepts; 0: 0.5
}

// Mount puts a file or folder at a path of the job's.
type Mount struct {
	Target string `json:"target"` // absolute, or relative to the working folder, which is the job's home
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

// ArrayTask is the place of a job in its array.
type ArrayTask struct {
	Of    string `json:"of"`             // ID of the array's first job
	Index int    `json:"index"`          // its own
	Count int    `json:"count"`          // jobs of the array
	Min   int    `json:"min"`            // index
	Max   int    `json:"max"`            // index
	Step  int    `json:"step"`           // between its indexes; 1 where they are not evenly spaced
	Most  int    `json:"most,omitempty"` // of the array that may run at once; 0: all
}

// Dependency says when a job may start.
type Dependency struct {
	Kind  string        `json:"kind"` // after, afterok, afternotok, afterany, aftercorr, singleton
	Jobs  []string      `json:"jobs,omitempty"`
	Delay time.Duration `json:"delay,omitempty"` // after: so long after these have started
	Any   bool          `json:"any,omitempty"`   // one of the dependencies with Any is enough (sbatch's ?)
}

// Batch is how the tasks of an sbatch script lie on its nodes.
type Batch struct {
	Tasks        int `json:"tasks"`          // over all nodes: what srun starts
	TasksPerNode int `json:"tasks_per_node"` // the most on one
	CPUsPerTask  int `json:"cpus_per_task"`
	MemPerCPUMB  int `json:"mem_per_cpu_mb,omitempty"`
	MemPerNodeMB int `json:"mem_per_node_mb,omitempty"`

	// What the file says and others do not, for the script's variables.
	TasksGiven        bool `json:"tasks_given,omitempty"`
	TasksPerNodeGiven bool `json:"tasks_per_node_given,omitempty"`
	CPUsPerTaskGiven  bool `json:"cpus_per_task_given,omitempty"`
}

// Alternatives returns what the task may run on: its choices, or its one set of
// resources.
func (t *Task) Alternatives() []Resources {
	if len(t.Choices) > 0 {
		return t.Choices
	}
	return []Resources{t.Resources}
}

// AtWork says where in the working folder the content of the i-th of FileMounts
// lies: at its target where that is relative to it, else in a place of its own,
// from which whoever runs the job shows it at the target.
func (t *Task) AtWork(i int) string {
	if target := t.FileMounts[i].Target; !path.IsAbs(target) {
		return target
	}
	return path.Join(".sluice", "mounts", strconv.Itoa(i))
}

// NeedsContainer says what of the task only a container can give, "" if nothing.
func (t *Task) NeedsContainer() string {
	switch {
	case t.Resources.Image != "":
		return "image_id"
	case t.Resources.Isolation != "" && t.Resources.Isolation != IsolationNone:
		return "isolation " + string(t.Resources.Isolation)
	}
	for what, mounts := range map[string][]Mount{"file_mounts": t.FileMounts, "volumes": t.Volumes} {
		for _, m := range mounts {
			if path.IsAbs(m.Target) {
				return what + " to " + m.Target
			}
		}
	}
	return ""
}
