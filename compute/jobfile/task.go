package jobfile

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

const maxNodes = 1024

// fields of a task that are honoured; refused and left say what becomes of the rest.
var taskFields = []string{
	"name", "num_nodes", "workdir", "resources", "envs", "secrets", "managed_secrets", "file_mounts", "volumes",
	"setup", "run", "config",
}

// taskRefused is what SkyPilot knows and a task here cannot have, with the way
// out. Running such a task without it would run something else than was asked for.
var taskRefused = map[string]string{
	"service":             "only tasks that end can run here; take the section out to run one replica as a job",
	"pool":                "submit the task as a job of its own",
	"event_callback":      "follow the job with sluice job logs --follow, or the site's events",
	"file_mounts_mapping": "it is internal to SkyPilot: write file_mounts",
	"volume_mounts":       "it is internal to SkyPilot: write volumes",
	"_metadata":           "it is internal to SkyPilot",
}

// taskLeft says why what is left aside means nothing here.
var taskLeft = map[string]string{
	"inputs":            "an estimate for choosing between clouds",
	"outputs":           "an estimate for choosing between clouds",
	"api_server_access": "there is no SkyPilot server here",
}

func (p *parser) skypilot(data []byte) {
	root := p.root(data)
	if root == nil {
		return
	}
	fields := map[string]pair{}
	for _, e := range p.pairs(root, "a task") {
		fields[e.key] = e
		way, refused := taskRefused[e.key]
		why, left := taskLeft[e.key]
		switch {
		case slices.Contains(taskFields, e.key):
		case refused:
			p.wrong(where(e.node), "%s is not supported: %s", e.key, way)
		case left:
			p.warn(where(e.node), "%s is left aside: %s", e.key, why)
		case known(e.key, resourceFields, resourceRefused, resourceLeft):
			p.wrong(where(e.node), "%s belongs under resources", e.key)
		default:
			p.wrong(where(e.node), "unknown field %q%s", e.key, meant(e.key, taskFields))
		}
	}
	// Variables first: paths name them.
	p.envs(fields["envs"])
	p.secrets(fields["secrets"])
	p.managedSecrets(fields["managed_secrets"])
	if e, ok := fields["name"]; ok {
		p.name(e)
	}
	if e, ok := fields["num_nodes"]; ok {
		p.task.NumNodes = p.count(e, 1, maxNodes)
	}
	p.task.Setup = p.script(fields["setup"])
	p.workdir(fields["workdir"])
	p.fileMounts(fields["file_mounts"])
	p.volumes(fields["volumes"])
	p.resources(fields["resources"])
	p.config(fields["config"])
	p.run(root, fields)
	p.skyWorkdir()
}

// known says whether a word is in any of the three lists.
func known(word string, fields []string, refused, left map[string]string) bool {
	_, no := refused[word]
	_, aside := left[word]
	return no || aside || slices.Contains(fields, word)
}

func (p *parser) name(e pair) {
	name := p.expand(e, p.text(e))
	if name == "" {
		return
	}
	if !taskName.MatchString(name) {
		p.wrong(where(e.value), "name %q: use up to 100 letters, digits, -, _ and .", name)
		return
	}
	p.task.Name = name
}

// count reads a whole number of at least least.
func (p *parser) count(e pair, least, most int) int {
	s := p.text(e)
	if s == "" {
		return least
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		p.wrong(where(e.value), "%s: %q is no number from %d to %d", e.key, s, least, most)
		return least
	}
	return n
}

// script reads a text that a shell will run.
func (p *parser) script(e pair) string {
	if e.node == nil {
		return ""
	}
	return p.text(e)
}

// run reads what the task does. SkyPilot takes a task without it, which only
// sets a machine up: here it ends with its setup.
func (p *parser) run(root ast.Node, fields map[string]pair) {
	e, has := fields["run"]
	if p.task.Run = p.script(e); strings.TrimSpace(p.task.Run) != "" {
		return
	}
	_, resources := fields["resources"]
	switch {
	case !has && (resources || strings.TrimSpace(p.task.Setup) != ""):
		p.warn(where(root), "run is missing: the job ends when its setup has ended")
		p.task.Run = "true\n"
	case has && (isNull(e.value) || p.task.Run != "" || isText(e.value)):
		p.wrong(where(e.node), "run is empty: say what the task shall do")
	case !has && len(p.mistakes) == 0:
		p.wrong(where(root), "run is missing: say what the task shall do")
	}
}

func isText(n ast.Node) bool {
	_, ok := scalar(n)
	return ok
}

// skyWorkdir lets scripts find the working folder where SkyPilot has it.
func (p *parser) skyWorkdir() {
	const link = `[ -e "$HOME/sky_workdir" ] || ln -s "$PWD" "$HOME/sky_workdir"` + "\n"
	if strings.Contains(p.task.Setup, "sky_workdir") {
		p.task.Setup = link + p.task.Setup
	}
	if strings.Contains(p.task.Run, "sky_workdir") {
		p.task.Run = link + p.task.Run
	}
}

func (p *parser) envs(f pair) {
	for _, e := range p.pairs(f.value, "envs") {
		value, overridden := p.o.Env[e.key]
		if _, secret := p.o.Secrets[e.key]; secret {
			continue
		}
		if !overridden {
			if isNull(e.value) {
				p.wants(where(e.node), e.key, "envs: %s has no value: write one here, or give it with --env %s=VALUE", e.key, e.key)
				if msg := badEnv(e.key, ""); msg != "" {
					p.wrong(where(e.node), "envs: %s: %s", e.key, msg)
				} else if p.o.Check {
					p.task.Envs[e.key] = ""
				}
				continue
			}
			var ok bool
			if value, ok = scalar(e.value); !ok {
				p.wrong(where(e.value), "envs: the value of %s must be text", e.key)
				continue
			}
		}
		if msg := badEnv(e.key, value); msg != "" {
			p.wrong(where(e.node), "envs: %s: %s", e.key, msg)
			continue
		}
		p.task.Envs[e.key] = value
	}
}

// secrets reads a mapping of names to values, of which null is one to be given,
// or a list of names that SkyPilot's server would keep, which are to be given too.
func (p *parser) secrets(f pair) {
	if seq, ok := f.value.(*ast.SequenceNode); ok {
		for _, n := range seq.Values {
			if s, ok := scalar(n); ok {
				p.secret(n, keptName(s), "", true)
			} else {
				p.wrong(where(n), "secrets: a list holds names, such as secrets:HF_TOKEN")
			}
		}
		return
	}
	for _, e := range p.pairs(f.value, "secrets") {
		value, ok := scalar(e.value)
		if !ok && !isNull(e.value) {
			p.wrong(where(e.value), "secrets: the value of %s must be text", e.key)
			continue
		}
		p.secret(e.node, keptName(e.key), value, isNull(e.value))
	}
}

func (p *parser) managedSecrets(f pair) {
	for _, n := range items(f.value) {
		if s, ok := scalar(n); ok {
			p.secret(n, keptName(s), "", true)
		} else {
			p.wrong(where(n), "managed_secrets: a secret in a file is not supported: give it as a variable, and write it in setup")
		}
	}
}

// keptName is the variable of a secret that SkyPilot's server would keep.
func keptName(s string) string {
	s = strings.TrimPrefix(s, "secrets:")
	for _, scope := range []string{"personal.", "workspace.", "global."} {
		s = strings.TrimPrefix(s, scope)
	}
	return s
}

func (p *parser) secret(n ast.Node, name, value string, missing bool) {
	if _, ok := p.o.Secrets[name]; ok {
		return // given adds it
	}
	if v, ok := p.o.Env[name]; ok {
		p.wrong(where(n), "secrets: %s is a secret: give it with --secret %s, not with --env", name, name)
		value, missing = v, false
	}
	if missing {
		p.wants(where(n), name, "secrets: %s has no value: give it with --secret %s, which takes it from your environment, or --secret-file %s=PATH",
			name, name, name)
		if !p.o.Check {
			return
		}
	}
	if msg := badEnv(name, value); msg != "" {
		p.wrong(where(n), "secrets: %s: %s", name, msg)
		return
	}
	p.task.Secrets[name] = value
}

// config has the hooks; the rest of it are settings of other providers.
func (p *parser) config(f pair) {
	providers := []string{
		"kubernetes", "docker", "nvidia_gpus", "ssh", "slurm", "aws", "gcp", "azure", "oci", "vast", "lambda", "nebius", "runpod",
		"active_workspace", "jobs", "serve", "mithril", "allowed_clouds",
	}
	for _, e := range p.pairs(f.value, "config") {
		switch {
		case e.key == "hooks":
			p.hooks(e)
		case slices.Contains(providers, e.key):
			p.warn(where(e.node), "config.%s is left aside: it is a setting of another provider", e.key)
		default:
			p.wrong(where(e.node), "unknown field %q in config%s", e.key, meant(e.key, append([]string{"hooks"}, providers...)))
		}
	}
}

// hooks reads the scripts that run when the job is interrupted. Several run one
// after the other, each in a shell of its own, whatever the one before returned;
// their notice is the sum of theirs.
func (p *parser) hooks(f pair) {
	if _, ok := f.value.(*ast.SequenceNode); !ok && !isNull(f.value) {
		p.wrong(where(f.value), "config.hooks must be a list of {run, events, timeout}")
		return
	}
	var scripts []string
	for _, n := range items(f.value) {
		script, interrupts, notice, at := "", true, time.Duration(0), where(n)
		for _, e := range p.pairs(n, "a hook") {
			switch e.key {
			case "run":
				script = p.text(e)
			case "timeout":
				notice = time.Duration(p.count(e, 1, 24*3600)) * time.Second
			case "events":
				interrupts = false
				for _, ev := range items(e.value) {
					s, _ := scalar(ev)
					switch s {
					case "preemption":
						interrupts = true
					case "stop", "down":
					default:
						p.wrong(where(ev), "config.hooks: unknown event %q%s", s, meant(s, []string{"preemption", "stop", "down"}))
					}
				}
			default:
				p.wrong(where(e.node), "unknown field %q in a hook%s", e.key, meant(e.key, []string{"run", "events", "timeout"}))
			}
		}
		switch {
		case strings.TrimSpace(script) == "":
			p.wrong(at, "config.hooks: a hook has no run")
		case !interrupts:
			p.wrong(at, "config.hooks: a hook runs here when the job is interrupted: add preemption to its events, or put it at the end of run")
		default:
			scripts = append(scripts, strings.TrimRight(script, "\n")+"\n")
			p.task.Interrupt.Notice += notice
		}
	}
	if len(scripts) == 1 {
		p.task.Interrupt.Hook = scripts[0]
		return
	}
	for _, s := range scripts {
		p.task.Interrupt.Hook += "(\n" + s + ")\n"
	}
}
