package compute

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// BatchFacts is what a run of an sbatch script is told of where it runs.
type BatchFacts struct {
	JobID    string   // its own
	Name     string   // of the job
	Nodes    []string // the hosts, by rank; the script runs on each of them
	Rank     int      // of this node
	Dir      string   // the working folder
	User     string   // whom it runs as; "" leaves SLURM_JOB_USER out
	GPUs     []int    // indexes of the GPUs that it has on this node
	Restarts int      // runs before this one
}

// BatchEnviron returns the variables that an sbatch script expects, sorted as
// Slurm documents them; nil for a task that is none. IDs are numbers there: that
// of j-000012 is 12.
func BatchEnviron(t *Task, f BatchFacts) []string {
	b := t.Batch
	if b == nil {
		return nil
	}
	nodes := max(len(f.Nodes), 1)
	node := "localhost"
	if f.Rank < len(f.Nodes) {
		node = f.Nodes[f.Rank]
	}
	list := strings.Join(f.Nodes, ",")
	if list == "" {
		list = node
	}
	cpus := int(t.Resources.CPUs)
	var env []string
	set := func(name string, value any) { env = append(env, fmt.Sprintf("%s=%v", name, value)) }
	id := jobNumber(f.JobID)
	set("SLURM_JOB_ID", id)
	set("SLURM_JOBID", id)
	set("SLURM_JOB_NAME", f.Name)
	set("SLURM_CLUSTER_NAME", "sluice")
	set("SLURM_JOB_PARTITION", "sluice")
	set("SLURM_JOB_NODELIST", list)
	set("SLURM_NODELIST", list)
	set("SLURM_JOB_NUM_NODES", nodes)
	set("SLURM_NNODES", nodes)
	set("SLURM_NODEID", f.Rank)
	set("SLURM_PROCID", min(f.Rank*b.TasksPerNode, b.Tasks-1))
	set("SLURM_LOCALID", 0)
	set("SLURMD_NODENAME", node)
	set("SLURM_SUBMIT_DIR", f.Dir)
	set("SLURM_SUBMIT_HOST", node)
	set("SLURM_NTASKS", b.Tasks)
	set("SLURM_NPROCS", b.Tasks)
	set("SLURM_TASKS_PER_NODE", perNode(b.Tasks, nodes))
	set("SLURM_CPUS_ON_NODE", cpus)
	set("SLURM_JOB_CPUS_PER_NODE", repeated(cpus, nodes))
	if b.TasksPerNodeGiven {
		set("SLURM_NTASKS_PER_NODE", b.TasksPerNode)
	}
	if b.CPUsPerTaskGiven {
		set("SLURM_CPUS_PER_TASK", b.CPUsPerTask)
	}
	if b.MemPerCPUMB > 0 {
		set("SLURM_MEM_PER_CPU", b.MemPerCPUMB)
	}
	if b.MemPerNodeMB > 0 {
		set("SLURM_MEM_PER_NODE", b.MemPerNodeMB)
	}
	if t.Resources.GPUs > 0 {
		set("SLURM_GPUS_ON_NODE", t.Resources.GPUs)
		ids := make([]string, len(f.GPUs))
		for i, g := range f.GPUs {
			ids[i] = strconv.Itoa(g)
		}
		if len(ids) > 0 {
			set("SLURM_JOB_GPUS", strings.Join(ids, ","))
		}
	}
	if f.User != "" {
		set("SLURM_JOB_USER", f.User)
	}
	if f.Restarts > 0 {
		set("SLURM_RESTART_COUNT", f.Restarts)
	}
	if a := t.ArrayTask; a != nil {
		set("SLURM_ARRAY_JOB_ID", jobNumber(cmp.Or(a.Of, f.JobID)))
		set("SLURM_ARRAY_TASK_ID", a.Index)
		set("SLURM_ARRAY_TASK_COUNT", a.Count)
		set("SLURM_ARRAY_TASK_MIN", a.Min)
		set("SLURM_ARRAY_TASK_MAX", a.Max)
		set("SLURM_ARRAY_TASK_STEP", a.Step)
	}
	return env
}

// perNode writes how many tasks each node has, as Slurm does: 2(x3),1.
func perNode(tasks, nodes int) string {
	most := (tasks + nodes - 1) / nodes
	full := tasks / max(most, 1)
	rest := tasks - full*most
	if full == nodes || rest == 0 {
		return repeated(most, full)
	}
	return repeated(most, full) + "," + strconv.Itoa(rest)
}

func repeated(n, times int) string {
	if times > 1 {
		return fmt.Sprintf("%d(x%d)", n, times)
	}
	return strconv.Itoa(n)
}

// Task returns the place of the array's job with the i-th index. of is the ID of
// its first job, "" for that job itself.
func (a *Array) Task(of string, i int) *ArrayTask {
	t := &ArrayTask{Of: of, Index: a.Indexes[i], Count: len(a.Indexes), Min: a.Indexes[0], Max: a.Indexes[len(a.Indexes)-1], Step: 1, Most: a.Most}
	if len(a.Indexes) > 1 {
		t.Step = a.Indexes[1] - a.Indexes[0]
	}
	for i := 1; i < len(a.Indexes); i++ {
		if a.Indexes[i]-a.Indexes[i-1] != t.Step {
			t.Step = 1
		}
	}
	return t
}
