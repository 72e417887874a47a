package agent

import (
	"context"
	"errors"
	"testing"

	"sluice"
	"sluice/compute"
)

// never is an executor whose runs do not start.
type never struct {
	compute.Executor
	err error
}

func (n never) Start(context.Context, compute.RunSpec) (compute.Handle, error) { return "", n.err }

// A guard gives up a run that has never begun and cannot begin here, and goes on with one
// of which it does not know.
func TestGuardGivesUp(t *testing.T) {
	r := record{Run: "j-000001-r1"}
	if err := endRecord(t.Context(), never{err: sluice.Errorf(sluice.Conflict, "", "it asks for H100, and this host has no GPUs")}, r); err != nil {
		t.Errorf("it goes on for ever: %v", err)
	}
	if err := endRecord(t.Context(), never{err: errors.New("no answer")}, r); err == nil {
		t.Error("what nobody knows of counts as ended")
	}
}
