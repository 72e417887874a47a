package compute

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// environ is the whole environment of a run on a real host but for its secrets:
// nothing of the server's own. SkyPilot's names are those that its tasks find there.
func (s *Service) environ(r Record, spec RunSpec) []string {
	env := []string{
		"PATH=" + s.cfg.Path,
		"HOME=" + spec.WorkDir,
		"LANG=C.UTF-8",
	}
	for _, k := range slices.Sorted(maps.Keys(r.Task.Envs)) {
		env = append(env, k+"="+r.Task.Envs[k])
	}
	addresses := make([]string, len(r.Nodes))
	for i, n := range r.Nodes {
		switch {
		case n.Network != "":
			addresses[i] = n.Address.String()
		case spec.Isolation == IsolationNone || spec.Isolation == "":
			addresses[i] = cmp.Or(s.hosts[n.Host].Address, "127.0.0.1")
		default:
			addresses[i] = "127.0.0.1" // all are on one host, where they share a network
		}
	}
	env = append(env,
		"SLUICE_JOB_ID="+r.Job.ID,
		"SLUICE_RUN_ID="+spec.RunID,
		"SLUICE_CHECKPOINT_DIR="+spec.CheckpointDir,
		fmt.Sprintf("SLUICE_NOTICE_SECONDS=%.0f", s.noticeOf(r.Task).Seconds()),
		"SKYPILOT_TASK_ID=sluice-"+r.Job.ID,
		fmt.Sprintf("SKYPILOT_NUM_NODES=%d", len(r.Nodes)),
		fmt.Sprintf("SKYPILOT_NODE_RANK=%d", spec.Rank),
		"SKYPILOT_NODE_IPS="+strings.Join(addresses, "\n"),
		fmt.Sprintf("SKYPILOT_NUM_GPUS_PER_NODE=%d", r.Task.Resources.GPUs),
	)
	if spec.Control != "" {
		env = append(env, "SLUICE_CONTROL="+spec.Control)
	}
	hosts := make([]string, len(r.Nodes))
	for i, n := range r.Nodes {
		hosts[i] = n.Host
	}
	env = append(env, BatchEnviron(r.Task, BatchFacts{
		JobID: r.Job.ID, Name: r.Job.Name, Nodes: hosts, Rank: spec.Rank, Dir: spec.WorkDir, GPUs: spec.GPUs, Restarts: r.Job.Runs - 1,
	})...)
	for _, v := range r.Task.Volumes {
		env = append(env, "SLUICE_VOLUME_"+varName(v.Source)+"="+s.volumeDir(r.Job.Tenant, v.Source))
	}
	return env
}

// varName is a name as a variable's: capitals, digits and _.
func varName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, s)
}
