package compute

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

var taskFields = []string{"name", "num_nodes", "workdir", "resources", "envs", "setup", "run"}

var resourceFields = []string{"accelerators", "cpus", "memory", "use_spot"}

// refused is what SkyPilot knows and a task here cannot have, with the way out.
// Running such a task without it would run something else than was asked for.
var refused = map[string]string{
	"file_mounts":     "put the files into workdir, or fetch them in setup",
	"secrets":         "give them with --env, or read them from a file in workdir",
	"service":         "only tasks that end can run here",
	"volumes":         "write to $SLUICE_CHECKPOINT_DIR, which is kept",
	"pool":            "submit the task as a job of its own",
	"inputs":          "put the files into workdir, or fetch them in setup",
	"outputs":         "write to $SLUICE_CHECKPOINT_DIR, which is kept",
	"config":          "set the site's side in sluice.yaml",
	"event_callback":  "follow the job with sluice job logs --follow",
	"image_id":        "jobs run on the host itself; install what is missing in setup",
	"ports":           "jobs here serve no ports",
	"any_of":          "name one kind of resources",
	"ordered":         "name one kind of resources",
	"max_hourly_cost": "the price is in the site's offer",
}

// hints is what tells SkyPilot where and how to rent. There is one site here:
// they change nothing about the result, so they are only reported.
var hints = []string{
	"cloud", "infra", "region", "zone", "instance_type", "disk_size", "disk_tier", "network_tier", "local_disk",
	"job_recovery", "spot_recovery", "accelerator_args", "labels", "autostop", "priority",
}

func (p *taskParser) top(root ast.Node) {
	t := p.task
	hasRun := false
	for _, e := range p.pairs(root, "a task") {
		switch e.key {
		case "name":
			if t.Name = p.text(e); t.Name != "" && !taskName.MatchString(t.Name) {
				p.wrong(e.value, "", "name %q: use up to 100 letters, digits, -, _ and .", t.Name)
			}
		case "num_nodes":
			if s := p.text(e); s != "" && s != "1" {
				p.wrong(e.value, "", "num_nodes %s is not supported: a task runs on one host", s)
			}
		case "workdir":
			t.Workdir = p.text(e)
		case "resources":
			p.resources(e.value)
		case "envs":
			p.envs(e.value)
		case "setup":
			t.Setup = p.text(e)
		case "run":
			hasRun = true
			if t.Run = p.text(e); strings.TrimSpace(t.Run) == "" {
				p.wrong(e.node, "", "run is empty: say what the task shall do")
			}
		default:
			p.other(e, taskFields, false)
		}
	}
	if !hasRun && len(p.mistakes) == 0 {
		p.wrong(root, "", "run is missing: say what the task shall do")
	}
}

// other refuses what cannot be honoured and reports what does not matter.
func (p *taskParser) other(e pair, known []string, inResources bool) {
	way, no := refused[e.key]
	switch {
	case no:
		p.wrong(e.node, "", "%s is not supported: %s", e.key, way)
	case inResources && slices.Contains(hints, e.key):
		p.warn(e.node, "%s means nothing on this site and is left aside", e.key)
	case !inResources && slices.Contains(resourceFields, e.key):
		p.wrong(e.node, "", "%s belongs under resources", e.key)
	case inResources && slices.Contains(taskFields, e.key):
		p.wrong(e.node, "", "%s does not belong under resources", e.key)
	default:
		p.wrong(e.node, nearest(e.key, known), "unknown field %q", e.key)
	}
}

func (p *taskParser) resources(n ast.Node) {
	r := &p.task.Resources
	for _, e := range p.pairs(n, "resources") {
		switch e.key {
		case "accelerators":
			p.accelerators(e)
		case "cpus":
			r.CPUs = p.amount(e, 4096, "4 or 4+")
		case "memory":
			r.MemoryGB = p.amount(e, 1<<20, "16 or 16+ (GB)", "GiB", "GB", "G")
		case "use_spot":
			switch s := strings.ToLower(p.text(e)); s {
			case "true":
				r.UseSpot = true
			case "false", "":
			default:
				p.wrong(e.value, "", "use_spot must be true or false")
			}
		default:
			p.other(e, resourceFields, true)
		}
	}
}

// accelerators reads A100, A100:8 or {A100: 8}.
func (p *taskParser) accelerators(e pair) {
	var spec string
	switch e.value.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		ps := p.pairs(e.value, "accelerators")
		if len(ps) != 1 {
			p.wrong(e.value, "", "accelerators: name one kind; a choice of several is not supported")
			return
		}
		spec = ps[0].key
		if n := p.text(ps[0]); n != "" {
			spec += ":" + n
		}
	case *ast.SequenceNode:
		p.wrong(e.value, "", "accelerators: name one kind; a choice of several is not supported")
		return
	default:
		if spec = p.text(e); spec == "" {
			return
		}
	}
	model, count, given := strings.Cut(spec, ":")
	n := 1
	if given {
		var err error
		if n, err = strconv.Atoi(strings.TrimSpace(count)); err != nil || n < 1 || n > 1024 {
			p.wrong(e.value, "", "accelerators: %q is no number of GPUs (write A100:8)", count)
			return
		}
	}
	if model = strings.TrimSpace(model); model == "" || !taskName.MatchString(model) {
		p.wrong(e.value, "", "accelerators: %q is no GPU model (write A100:8)", model)
		return
	}
	p.task.Resources.Accelerator, p.task.Resources.GPUs = model, n
}

// amount reads a number that may end in + (at least) and a unit.
func (p *taskParser) amount(e pair, most float64, form string, units ...string) float64 {
	s := p.text(e)
	if s == "" {
		return 0
	}
	num := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "+"))
	for _, u := range units {
		if t, ok := strings.CutSuffix(num, u); ok {
			num = strings.TrimSpace(t)
			break
		}
	}
	v, err := strconv.ParseFloat(num, 64)
	if err != nil || math.IsNaN(v) || v <= 0 || v > most {
		p.wrong(e.value, "", "%s: %q is no amount, write %s", e.key, s, form)
		return 0
	}
	return v
}

func (p *taskParser) envs(n ast.Node) {
	for _, e := range p.pairs(n, "envs") {
		value, overridden := p.given[e.key]
		if !overridden {
			if isNull(e.value) {
				p.wrong(e.node, "", "envs: %s has no value: write one here, or give it with --env %s=VALUE", e.key, e.key)
				continue
			}
			var ok bool
			if value, ok = scalar(e.value); !ok {
				p.wrong(e.value, "", "envs: the value of %s must be text", e.key)
				continue
			}
		}
		if msg := badEnv(e.key, value); msg != "" {
			p.wrong(e.node, "", "envs: %s: %s", e.key, msg)
			continue
		}
		p.task.Envs[e.key] = value
	}
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
