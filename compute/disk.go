package compute

import (
	"cmp"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A host's disk is room as its memory is: what running jobs have asked of it is not
// free. Where the configuration says nothing of it, that of this machine is measured
// when the site starts and other machines tell theirs; where neither does, it is not
// limited.

// diskOf is what a host has for jobs, in GB; 0 where that is not known. Callers hold mu.
func (s *Service) diskOf(h Host) float64 { return cmp.Or(h.DiskGB, s.disks[h.Name]) }

// SetDisk says how much disk a host has for jobs. What is configured goes before.
func (s *Service) SetDisk(host string, gb float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.hosts[host]; known {
		s.freed = s.freed || gb > s.disks[host]
		s.disks[host] = gb
	}
}

// measureDisk finds how much disk this machine has for jobs: what is free, and what jobs
// that have not ended hold of what they have asked for.
func (s *Service) measureDisk(recs []Record) {
	here := map[string]bool{} // classes of hosts that are this machine
	var hosts []string
	for _, h := range s.cfg.Hosts {
		if h.Real && !h.Remote {
			here[h.Class], hosts = true, append(hosts, h.Name)
		}
	}
	var f unix.Statfs_t
	if len(hosts) == 0 || unix.Statfs(s.cfg.Dir, &f) != nil {
		return
	}
	bytes := int64(f.Bavail) * int64(f.Bsize) //nolint:gosec,unconvert // bytes of a disk; their types differ by system
	for _, r := range recs {
		if r.Task != nil && r.Task.Resources.DiskGB > 0 && here[r.Job.Class] && !r.Job.Virtual && !r.Job.State.Ended() {
			bytes += sizeOf(s.jobDir(r.Job.ID))
		}
	}
	for _, name := range hosts {
		s.SetDisk(name, float64(bytes)/(1<<30))
	}
}

// sizeOf is what the files of a folder hold; what cannot be looked at counts nothing.
func sizeOf(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // it may go on changing
		}
		if info, err := d.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	return bytes
}
