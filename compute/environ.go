package compute

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// environ is the whole environment of a run on a real host: nothing of the
// server's own. SkyPilot's names are those that its tasks find there.
func (s *Service) environ(r Record, spec RunSpec) []string {
	env := []string{
		"PATH=" + s.cfg.Path,
		"HOME=" + spec.WorkDir,
		"LANG=C.UTF-8",
	}
	for _, k := range slices.Sorted(maps.Keys(r.Task.Envs)) {
		env = append(env, k+"="+r.Task.Envs[k])
	}
	return append(env,
		"SLUICE_JOB_ID="+r.Job.ID,
		"SLUICE_RUN_ID="+spec.RunID,
		"SLUICE_CHECKPOINT_DIR="+spec.CheckpointDir,
		"SKYPILOT_TASK_ID=sluice-"+r.Job.ID,
		"SKYPILOT_NUM_NODES=1",
		"SKYPILOT_NODE_RANK=0",
		"SKYPILOT_NODE_IPS=127.0.0.1",
		fmt.Sprintf("SKYPILOT_NUM_GPUS_PER_NODE=%d", r.Task.Resources.GPUs),
	)
}

// newest returns when the newest file below dir was written, zero when there
// is none. It looks at no more than 10,000 entries.
func newest(dir string) time.Time {
	var t time.Time
	left := 10_000
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if left--; err != nil || left < 0 {
			return filepath.SkipAll
		}
		if info, err := d.Info(); err == nil && d.Type().IsRegular() && info.ModTime().After(t) {
			t = info.ModTime()
		}
		return nil
	})
	return t
}
