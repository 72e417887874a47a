package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"mime"
	"path"
	"strconv"

	"sluice/compute"

	"github.com/danielgtaylor/huma/v2"
)

// Trailers of a command's output.
const (
	ExitTrailer  = "Sluice-Exit-Status" // of the command
	ErrorTrailer = "Sluice-Error"       // why there is no exit status
)

// MaxExecInput is how much a command can be given as its input, in bytes.
const MaxExecInput = 1 << 20

// ExecOrder is a command to run beside a job.
type ExecOrder struct {
	Argv  []string `json:"argv" minItems:"1" maxItems:"1000" doc:"The command and its arguments; no shell reads them"`
	Input []byte   `json:"input,omitempty" doc:"Its standard input, at most 1 MiB"`
}

// FileList is part of a job's files.
type FileList struct {
	Items []compute.File `json:"items" nullable:"false" doc:"Files, folders and links inside"`
	More  bool           `json:"more" doc:"Whether there are more than the limit"`
}

// Folder says which of a job's folders are meant.
type Folder struct {
	What string `query:"what" enum:"all,work,checkpoint" default:"all" doc:"Which of its folders"`
}

func (s *Server) jobDataRoutes() {
	data := func() (JobData, error) {
		if s.o.JobData == nil {
			return nil, absent("jobs")
		}
		return s.o.JobData, nil
	}

	files := func(ctx context.Context, id string) (*compute.JobFiles, error) {
		d, err := data()
		if err != nil {
			return nil, err
		}
		f, err := d.Files(ctx, id)
		if err != nil {
			return nil, problem(err)
		}
		return f, nil
	}

	exec := operation("exec", "POST", "/jobs/{id}/exec", "jobs", "Run a command beside a running job",
		"Where its first node runs, with its environment and folders. The response is the command's output as it comes; its exit status "+
			"is the trailer "+ExitTrailer+", or "+ErrorTrailer+" says why there is none. The command ends when the connection does, or the job.")
	exec.MaxBodyBytes = 2 << 20
	exec.Responses = streamDoc("application/octet-stream", "Its standard output and error")
	huma.Register(s.api, exec, func(ctx context.Context, in *struct {
		JobID
		Body ExecOrder
	},
	) (*huma.StreamResponse, error) {
		d, err := data()
		if err != nil {
			return nil, err
		}
		if len(in.Body.Input) > MaxExecInput {
			return nil, newProblem(413, "the input is larger than 1 MiB", "put it into a file that the job can reach")
		}
		j, err := s.o.Jobs.Get(ctx, in.ID)
		if err != nil {
			return nil, problem(err)
		}
		if j.State != compute.Running {
			return nil, newProblem(409, "job "+j.ID+" does not run, its state is "+string(j.State), "a command runs beside a job that runs")
		}
		headers := map[string]string{"Trailer": ExitTrailer + ", " + ErrorTrailer}
		return s.streamed("application/octet-stream", headers, func(ctx context.Context, w io.Writer) error {
			t := w.(*stream)
			if err := t.begin(); err != nil { // the command may say nothing for long
				return err
			}
			code, err := d.Exec(ctx, in.ID, in.Body.Argv, bytes.NewReader(in.Body.Input), w)
			if err != nil {
				t.Trailer(ErrorTrailer, strconv.QuoteToASCII(asProblem(err).Detail))
				return nil //nolint:nilerr // the trailer tells it
			}
			t.Trailer(ExitTrailer, strconv.Itoa(code))
			return nil
		}), nil
	})

	huma.Register(s.api, operation("files", "GET", "/jobs/{id}/files", "jobs", "Files of a job",
		"Of its working folder and its checkpoints, also while it runs."),
		func(ctx context.Context, in *struct {
			JobID
			Folder
			Limit int `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"Most items"`
		},
		) (*body[FileList], error) {
			f, err := files(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			items, more, err := f.List(ctx, in.What, in.Limit)
			return answer(FileList{items, more}, err)
		})

	file := operation("file", "GET", "/jobs/{id}/files/{path...}", "jobs", "One file of a job", "A regular file, by its path in the list of files.")
	file.Responses = streamDoc("application/octet-stream", "The file")
	huma.Register(s.api, file, func(ctx context.Context, in *struct {
		JobID
		Path string `path:"path" maxLength:"4096" doc:"Path, which begins with work/ or checkpoint/"`
	},
	) (*huma.StreamResponse, error) {
		f, err := files(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		src, info, err := f.Open(in.Path)
		if err != nil {
			return nil, problem(err)
		}
		context.AfterFunc(ctx, func() { _ = src.Close() }) // with the request, whether or not it streams
		headers := map[string]string{
			"Content-Length":      strconv.FormatInt(info.Bytes, 10),
			"Content-Disposition": mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(info.Path)}),
		}
		return s.streamed("application/octet-stream", headers, func(_ context.Context, w io.Writer) error {
			n, err := io.Copy(w, io.LimitReader(src, info.Bytes))
			if err == nil && n < info.Bytes {
				err = io.ErrUnexpectedEOF
			}
			return err
		}), nil
	})

	download := operation("download", "GET", "/jobs/{id}/download", "jobs", "All files of a job",
		"Its working folder and its checkpoints as tar.gz, also while it runs: folders, regular files and links that stay inside.")
	download.Responses = streamDoc("application/gzip", "The archive")
	huma.Register(s.api, download, func(ctx context.Context, in *struct {
		JobID
		Folder
	},
	) (*huma.StreamResponse, error) {
		f, err := files(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		f.Close() // only to tell of what is not there before the stream begins
		headers := map[string]string{"Content-Disposition": mime.FormatMediaType("attachment", map[string]string{"filename": in.ID + ".tar.gz"})}
		return s.streamed("application/gzip", headers, buffered(func(ctx context.Context, w io.Writer) error {
			f, err := files(ctx, in.ID)
			if err != nil {
				return err
			}
			defer f.Close()
			z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
			if err != nil {
				return err
			}
			if err := f.Tar(ctx, in.What, z); err != nil {
				return err
			}
			return z.Close()
		})), nil
	})

	huma.Register(s.api, operation("placements", "GET", "/jobs/{id}/placements", "jobs", "Why a job is where it is",
		"The decisions, the newest first: what was asked, by which version of the tenant's policy, which hosts were chosen and why others were refused. "+
			"A tenant reads the reasons, not the names of hosts that it is not on."),
		func(ctx context.Context, in *JobID) (*body[Page[compute.Placement]], error) {
			d, err := data()
			if err != nil {
				return nil, err
			}
			ps, err := d.Placements(ctx, in.ID)
			if err != nil {
				return nil, problem(err)
			}
			return pageOf(masked(CallerOf(ctx), ps), max(len(ps), 1), func(p compute.Placement) string { return p.Job }), nil
		})

	huma.Register(s.api, operation("wipe", "POST", "/jobs/{id}/wipe", "jobs", "Wipe the data of an ended job",
		"Its secrets, working folder, checkpoints and logs, at once and for good. The record says what was wiped and how."),
		func(ctx context.Context, in *struct {
			JobID
			By string `query:"by" maxLength:"200" doc:"Who; without: api"`
		},
		) (*body[compute.Wipe], error) {
			d, err := data()
			if err != nil {
				return nil, err
			}
			return answer(d.Wipe(ctx, in.ID, CallerOf(ctx).By(in.By)))
		})

	huma.Register(s.api, operation("wipes", "GET", "/wipes", "jobs", "What was wiped", "The newest first."),
		func(ctx context.Context, in *struct {
			Limit int `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"Most items"`
		},
		) (*body[Page[compute.Wipe]], error) {
			d, err := data()
			if err != nil {
				return nil, err
			}
			ws, err := d.Wipes(ctx, in.Limit)
			if err != nil {
				return nil, problem(err)
			}
			return pageOf(ws, in.Limit, func(w compute.Wipe) string { return w.Job }), nil
		})
}
