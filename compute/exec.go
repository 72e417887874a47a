package compute

import (
	"context"
	"io"

	"sluice"
)

// Exec runs a command beside a running job, where its node 0 runs, with the run's
// environment and folders, until the command, the run or ctx ends. It returns
// the command's exit status. Errors: NotFound; Conflict when the job does not
// run, or where its executor has no such thing.
func (s *Service) Exec(ctx context.Context, id string, argv []string, in io.Reader, out io.Writer) (int, error) {
	if len(argv) == 0 || argv[0] == "" {
		return 0, sluice.Errorf(sluice.Invalid, "sluice job exec ID -- COMMAND", "no command to run in job %s", id)
	}
	s.mu.Lock()
	e := s.jobs[id]
	if e == nil {
		s.mu.Unlock()
		return 0, notFound(id)
	}
	state := e.Job.State
	var h Handle
	var x Executor
	if len(e.Nodes) > 0 && e.Nodes[0].Exit == nil {
		h, x = e.Nodes[0].Handle, s.cfg.Executors[e.Nodes[0].Executor]
	}
	s.mu.Unlock()
	if (state != Running && state != Stopping) || h == "" {
		return 0, sluice.Errorf(sluice.Conflict, "it can be joined while it runs", "job %s is %s", id, state)
	}
	r, ok := x.(Execer)
	if !ok {
		return 0, sluice.Errorf(sluice.Conflict, "", "the host of job %s has no way to run a command beside it", id)
	}
	return r.Exec(ctx, h, argv, in, out)
}
