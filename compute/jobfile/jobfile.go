// Package jobfile owns the files in which clients ask for work: SkyPilot's tasks
// and sbatch scripts. It reads either to a compute.Task. What a file asks for is
// honoured, refused by name with its place and a way out, or, where it only says
// how another provider should be used, left aside with a warning; nothing is
// passed over in silence. It reads text and touches neither disk nor network.
package jobfile

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"sluice"
	"sluice/compute"
)

// MaxFile is the most that a job file may hold, in bytes.
const MaxFile = 1 << 20

const maxEnvValue = 100 << 10 // the kernel takes 128 KiB for one variable

// Options are what surrounds a job file.
type Options struct {
	File    string            // names it in messages
	Env     map[string]string // goes before the file's variables; those it names without a value must be here
	Secrets map[string]string // the same for its secrets

	// Check takes a file that is only looked at: a value that is to be given may be
	// missing, and a warning says how to give it.
	Check bool

	// Site knows the place that the job goes to. Without it, a region that the
	// file names cannot be told from another provider's.
	Site *Site
}

// Site is what a file may name of the place that it is handed to.
type Site struct {
	Name    string
	Regions []string // of its hosts
	GPUs    []string // models of its hosts: what "any GPU" means
}

// AnyGPU is the model of a task that takes every GPU, as sbatch's --gres=gpu:2
// does, where Options.Site is not known. A site replaces it by its own models.
const AnyGPU = "gpu"

// Parse reads a job file of either kind. What is wrong is an Invalid error with
// one line for each mistake: file:line:column, what, and what was probably meant.
// What has no meaning at this site goes to Task.Warnings, in the same form.
func Parse(data []byte, o Options) (*compute.Task, error) {
	p := &parser{
		file: cmp.Or(o.File, "task"), o: o,
		task: &compute.Task{NumNodes: 1, Envs: map[string]string{}, Secrets: map[string]string{}},
	}
	switch {
	case len(data) > MaxFile:
		p.wrong(place{}, "the file is larger than %d MiB: a job file is a short text, put data into workdir", MaxFile>>20)
	case !utf8.Valid(data):
		p.wrong(place{}, "the file is not UTF-8 text")
	case IsBatch(data):
		p.batch(data)
	case bytes.HasPrefix(data, []byte("#SBATCH")):
		p.wrong(place{}, "an sbatch script begins with its interpreter: write #!/bin/bash into its first line")
	default:
		p.skypilot(data)
	}
	p.given()
	if len(p.mistakes) > 0 {
		return nil, sluice.Errorf(sluice.Invalid, "", "%s", strings.Join(p.lines(p.mistakes), "\n"))
	}
	p.task.Warnings = p.lines(p.warnings)
	if len(p.task.Secrets) == 0 {
		p.task.Secrets = nil
	}
	p.task.SecretNames = slices.Sorted(maps.Keys(p.task.Secrets))
	return p.task, nil
}

// IsBatch says whether the file is an sbatch script: a script, by its first
// line, with an #SBATCH line. A YAML file with such a comment is none.
func IsBatch(data []byte) bool {
	if !bytes.HasPrefix(data, []byte("#!")) {
		return false
	}
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(line, []byte("#SBATCH")) {
			return true
		}
	}
	return false
}

// parser collects what a file says and what is wrong with it.
type parser struct {
	file     string
	o        Options
	task     *compute.Task
	mistakes []note
	warnings []note
	missing  map[string]bool // variables whose values are still to be given
}

// note is what is said of a place.
type note struct {
	place
	text string
}

// place is a line and a column of the file, counted from 1.
type place struct{ line, column int }

// lines returns notes in the order of their places, each as file:line:column: text.
func (p *parser) lines(notes []note) []string {
	slices.SortStableFunc(notes, func(a, b note) int { return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column)) })
	var out []string
	for _, n := range notes {
		out = append(out, fmt.Sprintf("%s:%d:%d: %s", p.file, n.line, n.column, n.text))
	}
	return slices.Compact(out) // of a base that several alternatives share
}

// wrong notes a mistake.
func (p *parser) wrong(at place, format string, args ...any) {
	p.mistakes = append(p.mistakes, noted(at, format, args))
}

// wants notes a value that has to be given beside the file: a mistake, but where
// the file is only looked at.
func (p *parser) wants(at place, name, format string, args ...any) {
	if !p.o.Check {
		p.wrong(at, format, args...)
		return
	}
	if p.missing == nil {
		p.missing = map[string]bool{}
	}
	p.missing[name] = true
	p.warn(at, format, args...)
}

// warn notes what is left aside.
func (p *parser) warn(at place, format string, args ...any) {
	p.warnings = append(p.warnings, noted(at, format, args))
}

func noted(at place, format string, args []any) note {
	return note{place{max(at.line, 1), max(at.column, 1)}, fmt.Sprintf(format, args...)}
}

// meant is the end of a message about a word that is none.
func meant(got string, words []string) string {
	if n := nearest(got, words); n != "" {
		return fmt.Sprintf(" (did you mean %q?)", n)
	}
	return ""
}

// given adds the variables and secrets of the command line.
func (p *parser) given() {
	for _, name := range slices.Sorted(maps.Keys(p.o.Env)) {
		if msg := badEnv(name, p.o.Env[name]); msg != "" {
			p.wrong(place{}, "--env %s: %s", name, msg)
			continue
		}
		p.task.Envs[name] = p.o.Env[name]
	}
	for _, name := range slices.Sorted(maps.Keys(p.o.Secrets)) {
		if msg := badEnv(name, p.o.Secrets[name]); msg != "" {
			p.wrong(place{}, "--secret %s: %s", name, msg)
			continue
		}
		p.task.Secrets[name] = p.o.Secrets[name]
		delete(p.task.Envs, name)
	}
}

var (
	envName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	taskName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$`)
)

// badEnv says what is wrong with a variable, "" if nothing is.
func badEnv(name, value string) string {
	switch {
	case !envName.MatchString(name):
		return "a variable's name has letters, digits and _ only"
	case strings.HasPrefix(name, "SKYPILOT_DOCKER_"):
		return "images come from the host, not from a registry with a login: ask the operator to load it there"
	case strings.HasPrefix(name, "SLUICE_"), strings.HasPrefix(name, "SKYPILOT_"), strings.HasPrefix(name, "SLURM_"):
		return "names that begin with SLUICE_, SKYPILOT_ or SLURM_ are set by Sluice"
	case strings.ContainsRune(value, 0):
		return "the value holds a NUL character"
	case len(value) > maxEnvValue:
		return fmt.Sprintf("the value is longer than %d KiB: put it into a file in workdir", maxEnvValue>>10)
	}
	return ""
}

// nearest returns the word that was probably meant: the one with the fewest
// letters changed, if that is no more than a third of them.
func nearest(got string, words []string) string {
	if len(got) > 40 {
		return ""
	}
	best, most := "", max(1, (len(got)+1)/3)+1
	for _, w := range words {
		if d := distance(strings.ToLower(got), w); d < most {
			best, most = w, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete or change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diag+cost)
		}
	}
	return row[len(b)]
}
