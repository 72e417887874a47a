package main

import (
	"context"
	"fmt"
	"slices"

	"sluice/compute"
	"sluice/store"
)

// farErasers wipe what jobs have left on the machines that joined.
func (p *parts) farErasers(db *store.DB) []compute.Eraser {
	if p.joined == nil {
		return nil
	}
	return []compute.Eraser{farData{p.joined, db.Placements()}}
}

// farData is what jobs have left on the machines that joined. Where a job ran stands
// in the decisions where it went.
type farData struct {
	j      *joined
	placed compute.PlacementStore
}

// hosts are the machines that joined on which a job has run.
func (f farData) hosts(ctx context.Context, job string) ([]string, error) {
	all, err := f.placed.Placements(ctx, job)
	if err != nil {
		return nil, fmt.Errorf("find where job %s ran: %w", job, err)
	}
	var out []string
	for _, h := range f.j.hub.Hosts() {
		if slices.ContainsFunc(all, func(p compute.Placement) bool { return p.Run != "" && slices.Contains(p.Hosts, h.Name) }) {
			out = append(out, h.Name)
		}
	}
	return out, nil
}

// Left says on which machines there is something.
func (f farData) Left(ctx context.Context, j compute.Job) ([]compute.Wiped, error) {
	hosts, err := f.hosts(ctx, j.ID)
	var out []compute.Wiped
	for _, h := range hosts {
		out = append(out, compute.Wiped{What: "copies of its folders and output on " + h, How: compute.Deletion})
	}
	return out, err
}

// Erase deletes it there. A machine that does not answer is asked again later.
func (f farData) Erase(ctx context.Context, job string) error {
	hosts, err := f.hosts(ctx, job)
	for _, h := range hosts {
		if werr := f.j.exec.Wipe(ctx, h, job); werr != nil {
			return fmt.Errorf("wipe job %s on %s: %w", job, h, werr)
		}
	}
	return err
}
