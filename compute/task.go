package compute

// Task is a SkyPilot task, the job file that AI teams already have. ParseTask
// reads it; what cannot be honoured is refused by name with line and column.
type Task struct {
	Name      string            `yaml:"name" json:"name"`
	NumNodes  int               `yaml:"num_nodes" json:"num_nodes"`
	Workdir   string            `yaml:"workdir" json:"workdir,omitempty"`
	Resources Resources         `yaml:"resources" json:"resources"`
	Envs      map[string]string `yaml:"envs" json:"envs,omitempty"`
	Setup     string            `yaml:"setup" json:"setup,omitempty"`
	Run       string            `yaml:"run" json:"run"`

	// Warnings names what the file asks for that has no meaning here, such as
	// a cloud's region, with line and column.
	Warnings []string `yaml:"-" json:"warnings,omitempty"`
}

// Resources is what a task asks for, resolved.
type Resources struct {
	Accelerator string  `json:"accelerator,omitempty"` // model, "" for none
	GPUs        int     `json:"gpus"`
	CPUs        float64 `json:"cpus"`      // 0: not said
	MemoryGB    float64 `json:"memory_gb"` // 0: not said
	UseSpot     bool    `json:"use_spot"`  // sold as interruptible
}
