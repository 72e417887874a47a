package config

import (
	"fmt"
	"slices"
	"strings"
)

// CheckDrivers says of which machines the driver is none of those that are known;
// the error is an Errors. Which are known only the caller can say: an operator may
// add some.
func (c *Config) CheckDrivers(known []string) error {
	var all []Mistake
	for i, m := range c.Machines {
		if slices.Contains(known, m.Driver) {
			continue
		}
		w := Mistake{Line: 1, Column: 1, Path: fmt.Sprintf("machines[%d].driver", i)}
		w.Message = fmt.Sprintf("%s: %q is not one of %s", w.Path, m.Driver, strings.Join(known, ", "))
		w.Suggestion = nearest(m.Driver, known)
		if d := c.read; d != nil {
			w.File = d.file
			if at := d.where(w.Path); at != nil {
				w.Line, w.Column = at.Line, at.Column
			}
		}
		all = append(all, w)
	}
	if len(all) > 0 {
		return Errors(sorted(all))
	}
	return nil
}
