package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/jobfile"
	"sluice/server"

	"github.com/spf13/cobra"
)

// maxTask bounds a job file.
const maxTask = 256 << 10

// fileFlags are what is said beside a job file.
type fileFlags struct {
	env, secrets, secretFiles []string
	workdir                   string
	expect, limit, due        time.Duration
}

func (f *fileFlags) add(cmd *cobra.Command) {
	to := cmd.Flags()
	to.StringArrayVarP(&f.env, "env", "e", nil, "set an environment variable, KEY=VALUE, or KEY to pass on your own (repeatable)")
	to.StringArrayVar(&f.secrets, "secret", nil, "give a secret by the NAME of an environment variable of yours (repeatable)")
	to.StringArrayVar(&f.secretFiles, "secret-file", nil, "give a secret as NAME=PATH of a file that holds it (repeatable)")
	to.StringVar(&f.workdir, "workdir", "", "folder that travels with the job, instead of the file's")
	to.DurationVar(&f.expect, "expect", 0, "running time that you expect, such as 2h")
	to.DurationVar(&f.due, "due", 0, "in which time it should have ended, such as 24h: it is run where it would else be late")
	to.DurationVar(&f.limit, "time-limit", 0, "running time after which it is stopped, instead of the file's")
}

// read reads a job file as the site will. With values, secrets are filled in,
// else the file is only looked at: secrets are named, and what has to be given may
// be missing.
func (f *fileFlags) read(file string, values bool) (server.TaskOrder, *compute.Task, error) {
	none := server.TaskOrder{}
	text, err := readFile(file)
	if err != nil {
		return none, nil, err
	}
	if f.expect < 0 || f.limit < 0 || f.due < 0 {
		return none, nil, sluice.Errorf(sluice.Invalid, "write 90m or 2h", "a time cannot be negative")
	}
	o := server.TaskOrder{
		Task: string(text), File: filepath.Base(file), By: me(), Env: map[string]string{}, Secrets: map[string]string{},
		Expect: f.expect.Seconds(), Limit: f.limit.Seconds(), Due: f.due.Seconds(),
	}
	for _, e := range f.env {
		k, v, given := strings.Cut(e, "=")
		if !given {
			if v, given = os.LookupEnv(k); !given {
				return none, nil, sluice.Errorf(sluice.Invalid, "write --env "+k+"=VALUE", "--env %s: it is not set here", k)
			}
		}
		if k == "" {
			return none, nil, sluice.Errorf(sluice.Invalid, "write --env KEY=VALUE", "--env %q names no variable", e)
		}
		o.Env[k] = v
	}
	if err := f.addSecrets(o.Secrets, values); err != nil {
		return none, nil, err
	}
	task, err := jobfile.Parse(text, jobfile.Options{File: file, Env: o.Env, Secrets: o.Secrets, Check: !values})
	if err != nil {
		return none, nil, err
	}
	if f.limit > 0 {
		task.TimeLimit = f.limit
	}
	return o, task, nil
}

func readFile(file string) ([]byte, error) {
	const hint = "give the path of a job file"
	f, err := os.Open(file)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, hint, "reading the task: %v", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTask+1))
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, hint, "reading the task: %v", err)
	}
	if len(text) > maxTask {
		return nil, sluice.Errorf(sluice.Invalid, "is it a job file?", "%s is larger than %d KiB", file, maxTask>>10)
	}
	return text, nil
}

// addSecrets takes secrets from the environment and from files. A value in an
// argument would be seen by every user of the machine.
func (f *fileFlags) addSecrets(to map[string]string, values bool) error {
	for _, name := range f.secrets {
		if k, _, has := strings.Cut(name, "="); has {
			return sluice.Errorf(sluice.Invalid, "export "+k+", then write --secret "+k+"; or use --secret-file "+k+"=PATH",
				"--secret %s=…: an argument is seen by every user of this machine", k)
		}
		v, ok := os.LookupEnv(name)
		switch {
		case !values:
			to[name] = ""
		case !ok:
			return sluice.Errorf(sluice.Invalid, "export "+name+" first, or use --secret-file "+name+"=PATH", "--secret %s: it is not set here", name)
		default:
			to[name] = v
		}
	}
	for _, e := range f.secretFiles {
		name, file, has := strings.Cut(e, "=")
		if !has || name == "" || file == "" {
			return sluice.Errorf(sluice.Invalid, "write --secret-file NAME=PATH", "--secret-file %q names no file", e)
		}
		b, err := readFile(file)
		if err != nil {
			return err
		}
		if !values {
			b = nil
		}
		to[name] = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	}
	return nil
}

// folder is the working folder that travels, "" for none.
func (f *fileFlags) folder(file string, task *compute.Task) string {
	if f.workdir != "" {
		return f.workdir
	}
	return beside(file, task.Workdir)
}

// mounts are what else travels, and where to.
func mounts(file string, task *compute.Task) []server.Packed {
	var out []server.Packed
	for i, m := range task.FileMounts {
		out = append(out, server.Packed{From: beside(file, m.Source), To: task.AtWork(i)})
	}
	return out
}

// beside is a path of the client's that a job file names: relative to the file,
// or below the home folder.
func beside(file, name string) string {
	if home, err := os.UserHomeDir(); err == nil && (name == "~" || strings.HasPrefix(name, "~/")) {
		return filepath.Join(home, strings.TrimPrefix(name, "~"))
	}
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(file), name)
}

// pack packs what travels with the job, nil for nothing.
func (f *fileFlags) pack(file string, task *compute.Task) ([]byte, error) {
	dir, more := f.folder(file, task), mounts(file, task)
	if dir == "" && len(more) == 0 {
		return nil, nil
	}
	return server.PackWorkdir(dir, more...)
}
