package limit

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"sluice"
)

// note is what is remembered of a host whose limit is changed.
type note struct {
	Host     string       `json:"host"`
	PriorW   sluice.Watts `json:"prior_w"` // its limit before
	PriorSet bool         `json:"prior_set"`
	SetW     sluice.Watts `json:"set_w"` // the limit that Sluice has set
	// Trying stands until the controller has shown it: what else it shows until then
	// may be an earlier limit of ours, or what it makes of the new one.
	Trying bool `json:"trying,omitempty"`
}

// prior says what stood there before.
func (n note) prior() string {
	if !n.PriorSet {
		return "none"
	}
	return fmt.Sprintf("%d W", n.PriorW)
}

func (n note) file(dir string) string { return filepath.Join(dir, url.PathEscape(n.Host)+".json") }

func (n note) remove(dir string) error { return os.Remove(n.file(dir)) }

// write replaces the note so that after a crash the old or the new one is there.
func (n note) write(dir string) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".note-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone when all went well
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), n.file(dir)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // it was only read
	return d.Sync()
}

// readNotes reads what an earlier process has left.
func readNotes(dir string) ([]note, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("read the power limits of hosts: %w", err)
	}
	var out []note
	var errs []error
	for _, name := range names {
		b, err := os.ReadFile(name)
		var n note
		if err != nil || json.Unmarshal(b, &n) != nil || n.Host == "" {
			errs = append(errs, sluice.Errorf(sluice.Internal, "set the limit of that host by hand, then remove the file", "%s cannot be read: it says which power limit is to be put back", name))
			continue
		}
		out = append(out, n)
	}
	return out, errors.Join(errs...)
}
