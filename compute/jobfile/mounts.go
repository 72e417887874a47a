package jobfile

import (
	"path"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"sluice/compute"
)

var variable = regexp.MustCompile(`\$\{?\b([a-zA-Z_][a-zA-Z0-9_]*)\b\}?`)

// expand puts the task's variables into a name or a path, as SkyPilot does. A
// name that is no variable of the task stays as it is. A secret is refused: paths
// are kept in the clear.
func (p *parser) expand(e pair, s string) string {
	return variable.ReplaceAllStringFunc(s, func(m string) string {
		name := strings.Trim(m, "${}")
		_, given := p.o.Secrets[name]
		if _, ok := p.task.Secrets[name]; ok || given {
			p.wrong(where(e.value), "%s: %s is a secret, and this is kept in the clear: make it one of envs", e.key, name)
			return m
		}
		if p.missing[name] {
			p.wrong(where(e.value), "%s: %s has no value: give it with --env %s=VALUE", e.key, name, name)
			return m
		}
		for _, from := range []map[string]string{p.o.Env, p.task.Envs} {
			if v, ok := from[name]; ok {
				return v
			}
		}
		return m
	})
}

// workdir reads a folder of the client's, or a Git repository, which the job
// clones before its setup.
func (p *parser) workdir(e pair) {
	if e.node == nil {
		return
	}
	if !isMapping(e.value) {
		s := p.expand(e, p.text(e))
		if strings.Contains(s, "://") {
			p.wrong(where(e.value), "workdir %s: a folder on your side, or {url: …, ref: …} for a Git repository", s)
			return
		}
		p.task.Workdir = s
		return
	}
	url, ref := "", ""
	for _, f := range p.pairs(e.value, "workdir") {
		switch f.key {
		case "url":
			url = p.expand(f, p.text(f))
		case "ref":
			ref = p.expand(f, p.text(f))
		default:
			p.wrong(where(f.node), "unknown field %q in workdir%s", f.key, meant(f.key, []string{"url", "ref"}))
		}
	}
	if url == "" || strings.HasPrefix(url, "-") || strings.HasPrefix(ref, "-") {
		p.wrong(where(e.node), "workdir: url is missing: the address of a Git repository")
		return
	}
	if ref == "" {
		ref = "HEAD"
	}
	p.task.Setup = "# workdir, a Git repository\n" +
		"git init -q . && git remote add origin " + quoted(url) + " || exit\n" +
		"{ git fetch -q --depth 1 origin " + quoted(ref) + " && git checkout -q FETCH_HEAD; } ||\n" +
		"\t{ git fetch -q --tags origin '+refs/heads/*:refs/remotes/origin/*' && git checkout -q " + quoted(ref) + "; } || exit\n" +
		p.task.Setup
}

// quoted makes one word of a shell of it.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// fileMounts reads what is copied from the client's side into the job.
func (p *parser) fileMounts(f pair) {
	for _, e := range p.pairs(f.value, "file_mounts") {
		target := p.target(e, "file_mounts")
		if isMapping(e.value) {
			p.storage(e, target)
			continue
		}
		source := p.expand(e, p.text(e))
		switch {
		case source == "":
			p.wrong(where(e.node), "file_mounts: %s has no source: name a file or folder on your side", e.key)
		case strings.Contains(source, "://"):
			p.cloudPath(e.value, source)
		default:
			p.mount(&p.task.FileMounts, e.node, compute.Mount{Target: target, Source: source})
		}
	}
}

func (p *parser) cloudPath(n ast.Node, source string) {
	p.wrong(where(n), "file_mounts: %s is not supported: Sluice holds no key to your cloud; fetch it in setup, with a key from secrets, "+
		"or copy it here first and name the folder", source)
}

// storage reads a mount that is a mapping: a bucket, which is refused, a volume,
// or after all something on the client's side.
func (p *parser) storage(e pair, target string) {
	known := []string{"name", "source", "store", "persistent", "mode", "config", "type", "mount_options"}
	text := map[string]string{}
	for _, f := range p.pairs(e.value, "a mount") {
		switch f.key {
		case "name", "source", "store", "mode", "type":
			if _, list := f.value.(*ast.SequenceNode); list {
				p.wrong(where(f.value), "file_mounts: several sources in one bucket are not supported: give each a path of its own")
				return
			}
			text[f.key] = p.expand(f, p.text(f))
		case "persistent", "config", "mount_options":
			p.warn(where(f.node), "file_mounts: %s is left aside: it is a setting of another provider's storage", f.key)
		default:
			p.wrong(where(f.node), "unknown field %q in a mount%s", f.key, meant(f.key, known))
		}
	}
	mode, source := strings.ToUpper(text["mode"]), text["source"]
	switch {
	case strings.EqualFold(text["store"], "volume"):
		if text["name"] == "" {
			p.wrong(where(e.node), "file_mounts: a volume without a name is not supported: the working folder is scratch space; name a volume to keep it")
			return
		}
		p.mount(&p.task.Volumes, e.node, compute.Mount{Target: target, Source: text["name"]})
		if source != "" {
			p.wrong(where(e.node), "file_mounts: filling a volume from %s is not supported: mount it beside and copy it in setup", source)
		}
	case strings.Contains(source, "://"):
		p.cloudPath(e.node, source)
	case source == "" || text["name"] != "" || text["store"] != "" || mode == "MOUNT" || mode == "MOUNT_CACHED" || mode == "":
		p.wrong(where(e.node), "file_mounts: %s is a bucket, which is not supported: write %s: PATH to copy a folder in, "+
			"volumes: {%s: NAME} for what shall be kept, and checkpoints to $SLUICE_CHECKPOINT_DIR", e.key, e.key, e.key)
	default:
		p.mount(&p.task.FileMounts, e.node, compute.Mount{Target: target, Source: source})
	}
}

// volumes reads named storage of the tenant.
func (p *parser) volumes(f pair) {
	for _, e := range p.pairs(f.value, "volumes") {
		target, name := p.target(e, "volumes"), ""
		if isMapping(e.value) {
			for _, g := range p.pairs(e.value, "a volume") {
				switch g.key {
				case "name":
					name = p.expand(g, p.text(g))
				case "size", "labels", "type", "infra", "config", "use_existing":
					p.warn(where(g.node), "volumes: %s is left aside", g.key)
				case "sub_path":
					p.wrong(where(g.node), "volumes: sub_path is not supported: mount the whole volume and change into the folder")
				default:
					p.wrong(where(g.node), "unknown field %q in a volume%s", g.key, meant(g.key, []string{"name", "size", "sub_path"}))
				}
			}
			if name == "" {
				p.wrong(where(e.node), "volumes: %s has no name: the working folder is scratch space; name a volume to keep it between jobs", e.key)
				continue
			}
		} else if name = p.expand(e, p.text(e)); name == "" {
			p.wrong(where(e.node), "volumes: %s names no volume", e.key)
			continue
		}
		if !taskName.MatchString(name) {
			p.wrong(where(e.value), "volumes: %q is no name of a volume: use up to 100 letters, digits, -, _ and .", name)
			continue
		}
		p.mount(&p.task.Volumes, e.node, compute.Mount{Target: target, Source: name})
	}
}

// target returns the path of a mount's key, in the form that Mount.Target has.
func (p *parser) target(e pair, what string) string {
	named := e
	named.value = e.node
	t := p.expand(named, e.key)
	t = strings.TrimPrefix(strings.TrimPrefix(t, "~/sky_workdir/"), "~/")
	bad := func(why string) string {
		p.wrong(where(e.node), "%s: %s %s", what, e.key, why)
		return ""
	}
	switch clean := path.Clean(t); {
	case t == "" || clean == "." || clean == "/" || t == "~" || t == "~/sky_workdir":
		return bad("is the whole working folder or machine: name a path below it")
	case strings.HasPrefix(t, "~"), clean == "..", strings.HasPrefix(clean, "../"), strings.ContainsRune(t, 0):
		return bad("leads out of the job's own files")
	case len(clean) > 1000:
		return bad("is too long")
	default:
		return clean
	}
}

func (p *parser) mount(to *[]compute.Mount, n ast.Node, m compute.Mount) {
	if m.Target == "" {
		return
	}
	for _, other := range append(append([]compute.Mount{}, p.task.FileMounts...), p.task.Volumes...) {
		if other.Target == m.Target {
			p.wrong(where(n), "%s is mounted twice", m.Target)
			return
		}
	}
	*to = append(*to, m)
}
