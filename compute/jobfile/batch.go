package jobfile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/compute"
)

// script is an sbatch script while it is read. Values count from zero: 0 is
// "not said".
type script struct {
	p       *parser
	text    string
	said    map[string]place // options by their long name
	nodes   int
	tasks   int
	perNode int // tasks
	cpus    int // per task
	minCPUs int // per node

	gpus                           []gpuWish // of gres and gpus-per-node: one, per node
	gpuTotal, gpuPerTask           gpuWish
	cpusPerGPU                     int
	memMB, memPerCPUMB, memPerGPUM int

	chdir, input, output, errOut string
	array                        *compute.Array
	requeue                      bool
}

// batch reads an sbatch script: the options of its #SBATCH lines before its first
// command, as sbatch reads them.
func (p *parser) batch(data []byte) {
	s := &script{p: p, text: string(data), said: map[string]place{}, requeue: true}
	n := 0
	for line := range strings.Lines(s.text) {
		n++
		body := strings.TrimRight(line, "\r\n")
		if n == 1 {
			s.shebang(body)
			continue
		}
		if trimmed := strings.TrimSpace(body); trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			break // the first command
		}
		rest, directive := strings.CutPrefix(body, "#SBATCH")
		switch {
		case directive:
			if words, ok := s.words(n, rest, len("#SBATCH")); ok {
				s.options(words)
			}
		case strings.HasPrefix(body, "#PBS"), strings.HasPrefix(body, "#BSUB"):
			p.warn(place{n, 1}, "%s is left aside: write the options as #SBATCH", strings.Fields(body)[0])
		}
	}
	if len(p.mistakes) > 0 {
		return
	}
	s.resolve()
}

func (s *script) shebang(line string) {
	if f := strings.Fields(strings.TrimPrefix(line, "#!")); len(f) == 0 || !strings.HasPrefix(f[0], "/") {
		s.p.wrong(place{1, 1}, "the first line names no interpreter: write #!/bin/bash")
	}
	if strings.ContainsRune(s.text, 0) {
		s.p.wrong(place{1, 1}, "the file holds a NUL character")
	}
	if strings.Contains(s.text, "\r\n") {
		s.p.wrong(place{1, 1}, "the file has DOS line breaks: convert it, as dos2unix does")
	}
}

// word is one argument of an #SBATCH line.
type word struct {
	text string
	at   place
}

// words splits a line as sbatch does: at blanks, with quotes and backslashes; a #
// outside of quotes begins a comment.
func (s *script) words(line int, text string, offset int) ([]word, bool) {
	var out []word
	for i := 0; ; {
		for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
			i++
		}
		if i == len(text) || text[i] == '#' {
			return out, true
		}
		if i == 0 {
			s.p.wrong(place{line, offset + 1}, "a blank is missing after #SBATCH")
			return nil, false
		}
		w, at := []byte(nil), place{line, offset + i + 1}
		quote := byte(0)
		for ; i < len(text); i++ {
			c := text[i]
			switch {
			case c == '\\' && i+1 < len(text):
				i++
				w = append(w, text[i])
				continue
			case quote != 0 && c == quote:
				quote = 0
				continue
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
				continue
			}
			if quote == 0 && (c == ' ' || c == '\t' || c == '#') {
				break
			}
			w = append(w, c)
		}
		if quote != 0 {
			s.p.wrong(at, "a quotation mark is not closed")
			return nil, false
		}
		out = append(out, word{string(w), at})
	}
}

// options reads the arguments of one line, as getopt_long does.
func (s *script) options(words []word) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		next := func() (string, bool) {
			if i+1 < len(words) {
				i++
				return words[i].text, true
			}
			return "", false
		}
		switch {
		case strings.HasPrefix(w.text, "--") && len(w.text) > 2:
			name, value, has := strings.Cut(w.text[2:], "=")
			o, ok := s.long(w, name)
			if !ok {
				return
			}
			if o.arg == needs && !has {
				if value, has = next(); !has {
					s.p.wrong(w.at, "--%s has no value", o.name)
					return
				}
			}
			if o.arg == none && has {
				s.p.wrong(w.at, "--%s takes no value", o.name)
				return
			}
			s.option(w.at, o, value)
		case strings.HasPrefix(w.text, "-") && len(w.text) > 1 && w.text != "--":
			for rest := w.text[1:]; rest != ""; {
				letter := rest[:1]
				k := slices.IndexFunc(batchOptions, func(o option) bool { return o.letter == letter })
				if k < 0 {
					s.p.wrong(w.at, "sbatch has no option -%s", letter)
					return
				}
				o, value := batchOptions[k], rest[1:]
				if o.arg == none {
					s.option(w.at, o, "")
					rest = rest[1:]
					continue
				}
				if o.arg == needs && value == "" {
					var has bool
					if value, has = next(); !has {
						s.p.wrong(w.at, "-%s has no value", letter)
						return
					}
				}
				s.option(w.at, o, value)
				break
			}
		default:
			s.p.wrong(w.at, "%q is no option", w.text)
			return
		}
	}
}

// long finds an option by its name or the beginning of it.
func (s *script) long(w word, name string) (option, bool) {
	var found []option
	var names []string
	for _, o := range batchOptions {
		if o.name == name {
			return o, true
		}
		if strings.HasPrefix(o.name, name) {
			found = append(found, o)
		}
		names = append(names, o.name)
	}
	switch len(found) {
	case 1:
		return found[0], true
	case 0:
		s.p.wrong(w.at, "sbatch has no option --%s%s", name, meant(name, names))
	default:
		s.p.wrong(w.at, "--%s may be --%s or --%s: write it out", name, found[0].name, found[1].name)
	}
	return option{}, false
}

// option applies one option. The last of several counts, as with sbatch.
func (s *script) option(at place, o option, value string) {
	s.said[o.name] = at
	switch {
	case o.refuse != "":
		s.p.wrong(at, "--%s is not supported: %s", o.name, o.refuse)
	case o.leave != "":
		s.p.warn(at, "--%s is left aside: %s", o.name, o.leave)
	default:
		if err := o.apply(s, value); err != nil {
			s.p.wrong(at, "--%s: %v", o.name, err)
		}
	}
}

// resolve makes a task of what was read.
func (s *script) resolve() {
	p, t := s.p, s.p.task
	b := &compute.Batch{
		Tasks: s.tasks, CPUsPerTask: max(s.cpus, 1),
		TasksGiven: s.tasks > 0, TasksPerNodeGiven: s.perNode > 0, CPUsPerTaskGiven: s.cpus > 0,
	}
	nodes := s.nodes
	switch {
	case nodes == 0 && s.tasks > 0 && s.perNode > 0:
		nodes = (s.tasks + s.perNode - 1) / s.perNode
	case nodes == 0:
		nodes = 1
	}
	if b.Tasks == 0 {
		b.Tasks = nodes * max(s.perNode, 1)
	}
	nodes = min(nodes, b.Tasks) // as sbatch does
	b.TasksPerNode = (b.Tasks + nodes - 1) / nodes
	if s.perNode > 0 && s.tasks > 0 && b.TasksPerNode > s.perNode {
		p.wrong(s.said["ntasks-per-node"], "--ntasks=%d on %d nodes are more than --ntasks-per-node=%d", b.Tasks, nodes, s.perNode)
	}
	if nodes > maxNodes || b.Tasks > 1<<20 || b.TasksPerNode*b.CPUsPerTask > 4096 {
		p.wrong(s.said["nodes"], "%d nodes with %d tasks of %d CPUs are more than any site has", nodes, b.Tasks, b.CPUsPerTask)
	}
	t.NumNodes = nodes
	gpu, at := s.gpu(nodes, b)
	r := &t.Resources
	r.CPUs = float64(max(b.TasksPerNode*b.CPUsPerTask, s.minCPUs, s.cpusPerGPU*gpu.count))
	if n := min(len(s.saidOf("mem", "mem-per-cpu", "mem-per-gpu")), 3); n > 1 {
		p.wrong(s.said["mem"], "--mem, --mem-per-cpu and --mem-per-gpu exclude each other")
	}
	switch {
	case s.memMB > 0:
		b.MemPerNodeMB = s.memMB
		r.MemoryGB = float64(s.memMB) / 1024
	case s.memPerCPUMB > 0:
		b.MemPerCPUMB = s.memPerCPUMB
		r.MemoryGB = float64(s.memPerCPUMB) * r.CPUs / 1024
	case s.memPerGPUM > 0:
		if gpu.count == 0 {
			p.wrong(s.said["mem-per-gpu"], "--mem-per-gpu without GPUs")
		}
		r.MemoryGB = float64(s.memPerGPUM) * float64(gpu.count) / 1024
	}
	if t.Interrupt.Before > 0 && t.Interrupt.Notice == 0 {
		t.Interrupt.Notice = t.Interrupt.Before
	}
	t.Batch, t.Array, t.NoRequeue, t.Workdir = b, s.array, !s.requeue, s.chdir
	t.Output = s.output
	if t.Output == "" {
		t.Output = "slurm-%j.out"
		if t.Array != nil {
			t.Output = "slurm-%A_%a.out"
		}
	}
	if nodes > 1 {
		p.warn(s.said["nodes"], "the script runs on each of the %d nodes, not on the first alone; srun starts each node's own tasks", nodes)
	}
	if s.chdir == "" {
		p.warn(place{1, 1}, "no folder travels with the script: #SBATCH --chdir=. takes its own along")
	}
	if t.Name == "" {
		t.Name = scriptName(p.file)
	}
	t.Run = s.run()
	s.models(gpu, at)
}

// saidOf returns which of the options were given.
func (s *script) saidOf(names ...string) []string {
	return slices.DeleteFunc(names, func(n string) bool { _, ok := s.said[n]; return !ok })
}

// gpu returns the GPUs of each node.
func (s *script) gpu(nodes int, b *compute.Batch) (gpuWish, place) {
	given := s.saidOf("gres", "gpus", "gpus-per-node", "gpus-per-task")
	if len(given) == 0 {
		return gpuWish{}, place{}
	}
	at := s.said[given[0]]
	var wish gpuWish
	switch {
	case len(s.gpus) > 0:
		wish = s.gpus[0]
		for _, g := range s.gpus[1:] {
			if g != wish {
				s.p.wrong(at, "--gres and --gpus-per-node differ: give one of them")
			}
		}
	case s.gpuPerTask.count > 0:
		wish = gpuWish{s.gpuPerTask.model, s.gpuPerTask.count * b.TasksPerNode}
	default:
		wish = s.gpuTotal
		if wish.count%nodes != 0 {
			s.p.wrong(at, "--gpus=%d over %d nodes: a job here has as many on each: write --gpus-per-node", wish.count, nodes)
		}
		wish.count /= nodes
	}
	if wish.count > 1024 {
		s.p.wrong(at, "%d GPUs on a node are more than any has", wish.count)
	}
	if s.gpuTotal.count > 0 && s.gpuTotal.count != wish.count*nodes {
		s.p.wrong(at, "--gpus=%d in all and %d on each of %d nodes do not agree", s.gpuTotal.count, wish.count, nodes)
	}
	return wish, at
}

// models sets the GPUs: those named, or any of the site's.
func (s *script) models(g gpuWish, _ place) {
	t := s.p.task
	if g.count == 0 {
		return
	}
	t.Resources.GPUs, t.Resources.Accelerator = g.count, g.model
	if g.model != "" {
		return
	}
	t.Resources.Accelerator = AnyGPU
	if s.p.o.Site == nil || len(s.p.o.Site.GPUs) == 0 {
		return
	}
	var all []compute.Resources
	for _, m := range s.p.o.Site.GPUs {
		r := t.Resources
		r.Accelerator = m
		all = append(all, r)
	}
	s.p.choose(all)
}

// scriptName is the job's name where the script gives none: the file's.
func scriptName(file string) string {
	name := file[strings.LastIndexAny(file, `/\`)+1:]
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, name)
	if clean = strings.Trim(clean[:min(len(clean), 100)], "._-"); clean == "" {
		return "sbatch"
	}
	return clean
}

// minutes rounds a time up as Slurm keeps it.
func minutes(d time.Duration) time.Duration {
	return (d + time.Minute - 1) / time.Minute * time.Minute
}

func invalid(format string, args ...any) error { return fmt.Errorf(format, args...) }
