package server

import (
	"fmt"
	"strings"
	"time"

	"sluice/compute"
)

// JobCheck is a job file, resolved, and what it would cost.
type JobCheck struct {
	Kind        string            `json:"kind" doc:"skypilot or sbatch"`
	Name        string            `json:"name,omitempty" doc:"Name of the job"`
	NumNodes    int               `json:"num_nodes" doc:"Hosts that it runs on at once, all or none"`
	Workdir     string            `json:"workdir,omitempty" doc:"Folder of the client's that travels with it"`
	FileMounts  []compute.Mount   `json:"file_mounts,omitempty" doc:"What else of the client's travels with it"`
	Volumes     []compute.Mount   `json:"volumes,omitempty" doc:"Named storage that it uses"`
	Envs        map[string]string `json:"envs,omitempty" doc:"Environment variables"`
	SecretNames []string          `json:"secret_names,omitempty" doc:"Names of its secret environment variables"`
	Setup       string            `json:"setup,omitempty" doc:"What runs once before it"`
	Run         string            `json:"run,omitempty" doc:"What it runs; of an sbatch script, nothing: it runs itself"`
	Signal      string            `json:"signal" doc:"Signal that asks it to end"`
	Hook        string            `json:"hook,omitempty" doc:"Script that runs instead of the signal"`
	NoticeS     float64           `json:"notice_seconds,omitempty" doc:"From the signal or hook to the kill, in seconds; absent: as the site has it"`
	BeforeS     float64           `json:"signal_before_limit_seconds,omitempty" doc:"So long before its time limit it is signalled, in seconds"`
	Restartable bool              `json:"restartable" doc:"Whether it may run again after a preemption"`
	Priority    int               `json:"priority,omitempty" doc:"Higher goes first among the tenant's own"`
	LimitS      float64           `json:"time_limit_seconds,omitempty" doc:"Running time after which it is stopped, in seconds; absent: none"`
	ExpectS     float64           `json:"expect_seconds,omitempty" doc:"Running time that the price in all is for, in seconds"`
	Array       []int             `json:"array_indexes,omitempty" doc:"A job is made for each of these"`
	ArrayMost   int               `json:"array_most,omitempty" doc:"Of these so many at once; absent: all"`
	After       []string          `json:"after,omitempty" doc:"Jobs that it waits for: afterok:j-000012; ? before those of which one is enough"`
	Output      string            `json:"output,omitempty" doc:"File in the working folder that gets the output too"`
	Tasks       int               `json:"tasks,omitempty" doc:"Of an sbatch script: tasks that srun starts, over all nodes"`
	CPUsPerTask int               `json:"cpus_per_task,omitempty" doc:"Of an sbatch script: CPUs of each of them"`
	Ordered     bool              `json:"ordered" doc:"Whether choices are in order of preference"`
	Choices     []JobChoice       `json:"choices" doc:"What it may run on: any of them, or the first that fits where ordered"`
	Warnings    []string          `json:"warnings" doc:"What of the file has no meaning here, with its place"`
	Priced      bool              `json:"priced" doc:"Whether a site was asked for the price"`
}

// JobChoice is one alternative of a job's resources and its price.
type JobChoice struct {
	Resources  compute.Resources `json:"resources" doc:"What each node needs"`
	Class      string            `json:"class,omitempty" doc:"Class of hosts that has it"`
	Units      int               `json:"units,omitempty" doc:"GPUs or CPU slots that it holds on each node"`
	Fits       bool              `json:"fits" doc:"Whether a host here could run it"`
	Why        string            `json:"why,omitempty" doc:"Why not"`
	USDPerHour float64           `json:"usd_per_hour" doc:"Price of all its nodes, in US dollars per hour"`
	USDInAll   float64           `json:"usd_in_all,omitempty" doc:"Price of all its jobs for the time expected, in US dollars"`
}

// CheckOf resolves a task without a price.
func CheckOf(t *compute.Task, expect time.Duration) JobCheck {
	c := JobCheck{
		Kind: "skypilot", Name: t.Name, NumNodes: t.NumNodes, Workdir: t.Workdir, FileMounts: t.FileMounts, Volumes: t.Volumes,
		Envs: t.Envs, SecretNames: t.SecretNames, Setup: t.Setup, Run: t.Run, Signal: "TERM", Hook: t.Interrupt.Hook,
		NoticeS: t.Interrupt.Notice.Seconds(), BeforeS: t.Interrupt.Before.Seconds(), Restartable: !t.NoRequeue, Priority: t.Priority,
		LimitS: t.TimeLimit.Seconds(), ExpectS: expect.Seconds(), Output: t.Output, Ordered: t.Ordered,
		Warnings: append([]string{}, t.Warnings...), Choices: []JobChoice{},
	}
	if t.Interrupt.Signal != "" {
		c.Signal = t.Interrupt.Signal
	}
	if c.ExpectS == 0 || c.LimitS > 0 && c.LimitS < c.ExpectS {
		c.ExpectS = c.LimitS
	}
	if b := t.Batch; b != nil {
		c.Kind, c.Run, c.Tasks, c.CPUsPerTask = "sbatch", "", b.Tasks, b.CPUsPerTask
	}
	if a := t.Array; a != nil {
		c.Array, c.ArrayMost = a.Indexes, a.Most
	}
	for _, d := range t.After {
		text := strings.Join(append([]string{d.Kind}, d.Jobs...), ":")
		if d.Delay > 0 {
			text += fmt.Sprintf("+%d", int(d.Delay.Minutes()))
		}
		if d.Any {
			text = "?" + text
		}
		c.After = append(c.After, text)
	}
	for _, r := range t.Alternatives() {
		c.Choices = append(c.Choices, JobChoice{Resources: r})
	}
	return c
}

// Price sets the prices of the choice at i: usd an hour for one node.
func (c *JobCheck) Price(i int, usd float64) {
	ch := &c.Choices[i]
	ch.USDPerHour = usd * float64(c.NumNodes)
	ch.USDInAll = ch.USDPerHour * c.ExpectS / 3600 * float64(max(len(c.Array), 1))
}
