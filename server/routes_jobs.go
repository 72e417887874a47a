package server

import (
	"context"
	"io"
	"net/http"
	"slices"
	"time"

	"sluice/compute"

	"github.com/danielgtaylor/huma/v2"
)

// JobID is the job that a path names.
type JobID struct {
	ID string `path:"id" maxLength:"100" doc:"ID of the job"`
}

// TaskOrder is a task as the API takes it.
type TaskOrder struct {
	ID      string            `json:"id,omitempty" maxLength:"100" doc:"The client's own ID of this submission: a known one gives the first job again"`
	Task    string            `json:"task" minLength:"1" maxLength:"262144" doc:"Text of the job file, a SkyPilot task in YAML or an sbatch script"`
	File    string            `json:"file,omitempty" maxLength:"500" doc:"Its name, for messages only: no file of the server is read"`
	Name    string            `json:"name,omitempty" maxLength:"200" doc:"Name of the job, instead of the task's"`
	Env     map[string]string `json:"env,omitempty" maxProperties:"200" doc:"Environment variables, over the task's envs"`
	Secrets map[string]string `json:"secrets,omitempty" maxProperties:"200" doc:"Secret environment variables: kept encrypted and never shown; to check a file, their values may be empty"`
	Expect  float64           `json:"expect_seconds,omitempty" minimum:"0" maximum:"31536000" doc:"Running time expected, in seconds; 0 unknown"`
	Limit   float64           `json:"time_limit_seconds,omitempty" minimum:"0" maximum:"31536000" doc:"Running time after which it is stopped, in seconds, instead of the file's; 0: the file's"`
	Due     float64           `json:"due_in_seconds,omitempty" minimum:"0" maximum:"31536000" doc:"In how many seconds of site time it should have ended; 0: no deadline"`
	By      string            `json:"by,omitempty" maxLength:"200" doc:"Who; without: api"`
	Workdir []byte            `json:"workdir_tar_gz,omitempty" doc:"The working folder as tar.gz: plain files and folders, at most 32 MiB packed and 256 MiB unpacked. What file_mounts names lies in it at its target; what goes to an absolute target, in .sluice/mounts/N, with N counted from 0 over file_mounts"`
}

func (o TaskOrder) submission() Submission {
	s := Submission{
		ID: o.ID, Task: o.Task, File: o.File, Name: o.Name, Env: o.Env, Secrets: o.Secrets, By: who(o.By),
		Expect: seconds(o.Expect), Limit: seconds(o.Limit), Due: seconds(o.Due),
	}
	if len(o.Workdir) > 0 {
		s.Workdir = o.Workdir
	}
	return s
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (s *Server) jobRoutes() {
	// jobs turns the routes off where the site has no AI side.
	jobs := func() (Jobs, error) {
		if s.o.Jobs == nil {
			return nil, absent("jobs")
		}
		return s.o.Jobs, nil
	}

	huma.Register(s.api, operation("jobs", "GET", "/jobs", "jobs", "AI jobs", "The newest first."),
		func(ctx context.Context, in *struct {
			Paging
			State string `query:"state" enum:"queued,starting,running,stopping,succeeded,failed,cancelled,lost" doc:"Only those in this state"`
		},
		) (*body[Page[compute.Job]], error) {
			j, err := jobs()
			if err != nil {
				return nil, err
			}
			caller := CallerOf(ctx)
			js, err := j.List(ctx, JobFilter{Tenant: caller.Tenant, State: compute.State(in.State), After: in.After, Limit: in.Limit + 1})
			if err != nil {
				return nil, problem(err)
			}
			js = slices.DeleteFunc(js, func(j compute.Job) bool { return !caller.Sees(j.Tenant) })
			return pageOf(js, in.Limit, func(j compute.Job) string { return j.ID }), nil
		})

	submit := operation("submit", "POST", "/jobs", "jobs", "Submit a job",
		"A task that cannot be honoured is refused by name, line and column. The working folder travels with the task: the server "+
			"never reads a path that a caller names.")
	submit.DefaultStatus = http.StatusCreated
	submit.MaxBodyBytes = 48 << 20 // 32 MiB in base64, and the task
	submit.BodyReadTimeout = time.Minute
	submit.Errors = append(submit.Errors, http.StatusRequestEntityTooLarge)
	huma.Register(s.api, submit, func(ctx context.Context, in *struct{ Body TaskOrder }) (*body[compute.Job], error) {
		j, err := jobs()
		if err != nil {
			return nil, err
		}
		sub := in.Body.submission()
		if sub.Workdir != nil {
			if err := CheckWorkdir(sub.Workdir); err != nil {
				return nil, problem(err)
			}
		}
		sub.Tenant, sub.By = CallerOf(ctx).Tenant, CallerOf(ctx).By(in.Body.By)
		return answer(j.Submit(ctx, sub))
	})

	huma.Register(s.api, operation("checkJob", "POST", "/jobs/check", "jobs", "Check a job file",
		"What a job file asks for, resolved, and what it would cost here. Nothing is submitted."),
		func(ctx context.Context, in *struct{ Body TaskOrder }) (*body[JobCheck], error) {
			j, err := jobs()
			if err != nil {
				return nil, err
			}
			sub := in.Body.submission()
			sub.Tenant, sub.By = CallerOf(ctx).Tenant, CallerOf(ctx).By(in.Body.By)
			return answer(j.Check(ctx, sub))
		})

	huma.Register(s.api, operation("job", "GET", "/jobs/{id}", "jobs", "One job",
		"By its ID, with its cost so far, its energy, what happens at the spending limit and what becomes of its data."),
		func(ctx context.Context, in *JobID) (*body[JobDetail], error) {
			j, err := jobs()
			if err != nil {
				return nil, err
			}
			if s.o.JobData != nil {
				return answer(s.o.JobData.Detail(ctx, in.ID))
			}
			one, err := j.Get(ctx, in.ID)
			return answer(JobDetail{Job: one, Cost: one.BilledUSD}, err)
		})

	huma.Register(s.api, operation("cancelJob", "POST", "/jobs/{id}/cancel", "jobs", "Cancel a job",
		"A running job gets its grace to checkpoint and is then killed."),
		func(ctx context.Context, in *struct {
			JobID
			By string `query:"by" maxLength:"200" doc:"Who; without: api"`
		},
		) (*body[compute.Job], error) {
			j, err := jobs()
			if err != nil {
				return nil, err
			}
			return answer(j.Cancel(ctx, in.ID, CallerOf(ctx).By(in.By)))
		})

	logs := operation("logs", "GET", "/jobs/{id}/logs", "jobs", "Output of a job",
		"Standard output and error of its runs, as they were written. With follow the response goes on until the job has ended.")
	logs.Responses = streamDoc("text/plain; charset=utf-8", "The output")
	huma.Register(s.api, logs, func(ctx context.Context, in *struct {
		JobID
		From   int64 `query:"from" doc:"Byte to begin at; a negative number counts from the end"`
		Follow bool  `query:"follow" doc:"Go on until the job has ended"`
	},
	) (*huma.StreamResponse, error) {
		j, err := jobs()
		if err != nil {
			return nil, err
		}
		return s.streamed("text/plain; charset=utf-8", nil, func(ctx context.Context, w io.Writer) error {
			return j.Logs(ctx, in.ID, in.From, in.Follow, w)
		}), nil
	})
}
