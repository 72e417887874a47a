package compute

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"sluice"
)

// volumeDir is where a tenant's named storage is.
func (s *Service) volumeDir(tenant, name string) string {
	return filepath.Join(s.cfg.Dir, "volumes", safe(tenant), safe(name))
}

// safe is a name as that of one folder.
func safe(name string) string {
	name = strings.ReplaceAll(name, "_", "__")
	return "v-" + strings.Map(func(r rune) rune {
		if r == '/' || r == 0 || r == '\\' {
			return '_'
		}
		return r
	}, name)
}

// mounts is what a run of the job sees beside its working folder: its tenant's
// volumes, and what came along for places outside it. What came along for places
// in it stands there already. What came along lies where an earlier run could write:
// a link that it has put there instead would show the next one what is outside.
func (s *Service) mounts(r Record, work string) ([]RunMount, error) {
	var out []RunMount
	for i, m := range r.Task.FileMounts {
		if path.IsAbs(m.Target) {
			if err := staysIn(work, r.Task.AtWork(i)); err != nil {
				return nil, sluice.Errorf(sluice.Conflict, "submit it again: what came along for "+m.Target+" is not what it was",
					"job %s: mount %s: %v", r.Job.ID, m.Target, err)
			}
			out = append(out, RunMount{Source: filepath.Join(work, r.Task.AtWork(i)), Target: m.Target})
		}
	}
	for _, v := range r.Task.Volumes {
		out = append(out, RunMount{Source: s.volumeDir(r.Job.Tenant, v.Source), Target: v.Target})
	}
	return out, nil
}

// staysIn says whether the path below the folder is there and leads nowhere else.
func staysIn(dir, p string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	_, err = root.Stat(p)
	return err
}

// link makes the mounts of a process of this machine, which has no file system of
// its own: a target in its home or working folder is a link there, and any other
// needs a container.
func link(spec RunSpec) error {
	for _, m := range spec.Mounts {
		in, ok := inWork(m.Target)
		if !ok {
			return sluice.Errorf(sluice.Invalid, "put it below ~ or the working folder, or ask for a container: resources.labels: {sluice/isolation: container}",
				"%s: a process of the host cannot have files at %s", spec.JobID, m.Target)
		}
		root, err := os.OpenRoot(spec.WorkDir)
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
		if dir := path.Dir(in); dir != "." {
			err = root.MkdirAll(dir, 0o700)
		}
		if err == nil {
			if err = root.Symlink(m.Source, in); errors.Is(err, fs.ErrExist) {
				if was, lerr := root.Readlink(in); lerr == nil && was == m.Source {
					err = nil // of an earlier run
				} else {
					err = sluice.Errorf(sluice.Conflict, "name another target, or take it out of the working folder",
						"%s: its working folder has something else there", spec.JobID)
				}
			}
		}
		_ = root.Close()
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
	}
	return nil
}

// inWork is a target's path below the working folder, which is also the home of
// a process; false where it is elsewhere.
func inWork(target string) (string, bool) {
	t, home := strings.CutPrefix(target, "~")
	if !home && path.IsAbs(target) {
		return "", false
	}
	t = path.Clean(strings.TrimLeft(t, "/"))
	return t, filepath.IsLocal(t) && t != "."
}

// makeVolumes makes the folders of the tenant's volumes that a task names.
func (s *Service) makeVolumes(tenant string, t *Task) error {
	for _, v := range t.Volumes {
		if err := os.MkdirAll(s.volumeDir(tenant, v.Source), 0o700); err != nil {
			return fmt.Errorf("make the volume %s: %w", v.Source, err)
		}
	}
	return nil
}
