package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/fabric"
)

// record is what the agent knows of a run, as it stands in its file. The secrets
// of a run are never part of it.
type record struct {
	Run      string          `json:"run"`
	Job      string          `json:"job"`
	Phase    fabric.Phase    `json:"phase"`
	Executor string          `json:"executor,omitempty"`
	Handle   compute.Handle  `json:"handle,omitempty"`
	Spec     compute.RunSpec `json:"spec"` // with the paths of this machine
	Folders  []fabric.Folder `json:"folders,omitempty"`
	Lease    time.Duration   `json:"lease"`
	Notice   time.Duration   `json:"notice"`
	Exit     *compute.Exit   `json:"exit,omitempty"`
	Kind     sluice.Kind     `json:"kind,omitempty"`
	Err      string          `json:"err,omitempty"`
	Fenced   bool            `json:"fenced,omitempty"`
	Taken    bool            `json:"taken,omitempty"`
	At       time.Time       `json:"at"` // of the last change
}

const recordFile = "run.json"

func runDir(dir, run string) string { return filepath.Join(dir, "runs", run) }

// save makes the record durable.
func (r record) save(dir string) error {
	r.Spec.Secrets = nil
	d := runDir(dir, r.Run)
	if err := os.MkdirAll(d, 0o700); err != nil {
		return fmt.Errorf("note run %s: %w", r.Run, err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("note run %s: %w", r.Run, err)
	}
	f, err := os.CreateTemp(d, recordFile+".*")
	if err != nil {
		return fmt.Errorf("note run %s: %w", r.Run, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(d, recordFile))
	}
	if err == nil {
		err = errors.Join(syncDir(d), syncDir(filepath.Dir(d)))
	}
	if err != nil {
		return fmt.Errorf("note run %s: %w", r.Run, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// loadRecords reads all of them. A folder without a record never held a run.
func loadRecords(dir string) ([]record, error) {
	names, err := os.ReadDir(filepath.Join(dir, "runs"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the runs: %w", err)
	}
	var out []record
	for _, n := range names {
		if !fabric.ValidRun(n.Name()) || strings.HasPrefix(n.Name(), ".") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, "runs", n.Name(), recordFile))
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("read the runs: %w", err)
		}
		var r record
		if err := json.Unmarshal(b, &r); err != nil || r.Run != n.Name() {
			return nil, sluice.Errorf(sluice.Internal, "move the folder "+filepath.Join(dir, "runs", n.Name())+" away if its run is over", "the record of run %s is damaged", n.Name())
		}
		out = append(out, r)
	}
	return out, nil
}

// alive says whether something of the run may be there.
func (r record) alive() bool { return r.Phase == fabric.Starting || r.Phase == fabric.Running }
