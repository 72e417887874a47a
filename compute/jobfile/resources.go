package jobfile

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"sluice/compute"
)

var resourceFields = []string{
	"accelerators", "gpus", "cpus", "memory", "disk_size", "ephemeral_storage", "image_id", "ports", "use_spot", "job_recovery",
	"spot_recovery", "max_hourly_cost", "any_of", "ordered", "labels", "infra", "region", "priority", "autostop",
}

var resourceRefused = map[string]string{
	"volumes":                    "write volumes: {PATH: NAME} at the top of the task",
	"_cluster_config_overrides":  "it is internal to SkyPilot",
	"_docker_login_config":       "images come from the host: ask the operator to load it there",
	"_is_image_managed":          "it is internal to SkyPilot",
	"_requires_fuse":             "it is internal to SkyPilot",
	"_no_missing_accel_warnings": "it is internal to SkyPilot",
}

// resourceLeft is what tells SkyPilot where and how to rent. There is one site
// here: it changes nothing about the result.
var resourceLeft = map[string]string{
	"cloud":            "it is a hint for other providers",
	"zone":             "it is a hint for other providers",
	"instance_type":    "it is a hint for other providers: say cpus, memory and accelerators",
	"disk_tier":        "a site has one kind of disk",
	"network_tier":     "a site has one network",
	"local_disk":       "jobs write to the host's own disk",
	"accelerator_args": "it is for TPUs",
	"priority_class":   "say priority, a number",
}

// choice is what one set of resources asks for: the alternatives of its
// accelerators, and whether their order is one of preference.
type choice struct {
	options []compute.Resources
	ordered bool
	once    *bool // job_recovery: none
}

// resources reads the base and merges each alternative over it.
func (p *parser) resources(f pair) {
	base := p.pairs(f.value, "resources")
	var alternatives []ast.Node
	var which pair
	rest := base[:0:0]
	for _, e := range base {
		if e.key != "any_of" && e.key != "ordered" {
			rest = append(rest, e)
			continue
		}
		if which.node != nil {
			p.wrong(where(e.node), "resources: give any_of or ordered, not both")
			continue
		}
		which = e
		if _, ok := e.value.(*ast.SequenceNode); !ok && !isNull(e.value) {
			p.wrong(where(e.value), "%s must be a list of resources", e.key)
			continue
		}
		alternatives = items(e.value)
	}
	own := p.choice(rest, false)
	t := p.task
	t.Ordered = own.ordered || which.key == "ordered"
	all := own.options
	if len(alternatives) > 0 {
		all = nil
		if len(alternatives) > 50 {
			p.wrong(where(which.node), "%s has more than 50 alternatives", which.key)
			return
		}
		if len(own.options) > 1 && t.Ordered {
			p.wrong(where(which.node), "resources: %s and a choice of accelerators exclude each other when one of them is an order: put the accelerators into %s",
				which.key, which.key)
		}
		for _, n := range alternatives {
			c := p.choice(p.merged(rest, p.pairs(n, "an alternative")), true)
			if c.ordered && !own.ordered { // else said once, of the whole
				p.wrong(where(n), "%s: name one kind of accelerator in each alternative", which.key)
			}
			if (c.once != nil && *c.once) != (own.once != nil && *own.once) {
				p.wrong(where(n), "%s: job_recovery holds for the task: put it beside %s", which.key, which.key)
			}
			all = append(all, c.options...)
		}
	}
	t.NoRequeue = own.once != nil && *own.once
	var distinct []compute.Resources
	for _, r := range all {
		if !slices.ContainsFunc(distinct, func(o compute.Resources) bool { return reflect.DeepEqual(o, r) }) {
			distinct = append(distinct, r)
		}
	}
	p.choose(distinct)
}

// choose sets the alternatives, which differ and are at least one.
func (p *parser) choose(all []compute.Resources) {
	p.task.Resources = all[0]
	if len(all) > 1 {
		p.task.Choices = all
	} else {
		p.task.Ordered = false
	}
}

// merged lays an alternative over the base. Labels of both hold.
func (p *parser) merged(base, over []pair) []pair {
	var out []pair
	for _, b := range base {
		if b.key == "labels" || !slices.ContainsFunc(over, func(o pair) bool { return alias(o.key) == alias(b.key) }) {
			out = append(out, b)
		}
	}
	return append(out, over...)
}

func alias(key string) string {
	switch key {
	case "gpus":
		return "accelerators"
	case "ephemeral_storage":
		return "disk_size"
	case "spot_recovery":
		return "job_recovery"
	}
	return key
}

// choice reads one complete set of resources.
func (p *parser) choice(fields []pair, alternative bool) choice {
	r, c := compute.Resources{}, choice{}
	var gpus []gpuWish
	for _, e := range fields {
		switch alias(e.key) {
		case "accelerators":
			gpus, c.ordered = p.accelerators(e)
		case "cpus":
			r.CPUs = p.amount(e, 4096, "4 or 4+")
		case "memory":
			r.MemoryGB = p.size(e, 1<<20, true)
		case "disk_size":
			r.DiskGB = p.size(e, 1<<30, false)
		case "image_id":
			r.Image = p.image(e)
		case "ports":
			r.Ports = p.ports(e)
		case "use_spot":
			r.UseSpot = p.yes(e)
		case "job_recovery":
			c.once = p.recovery(e, &r)
		case "max_hourly_cost":
			r.MaxUSDPerHour = p.amount(e, 1e6, "10 (USD an hour)")
		case "labels":
			p.labels(e, &r, alternative)
		case "infra", "region":
			p.region(e, &r)
		case "priority":
			if n := p.count(e, -1000, 1000); !alternative {
				p.task.Priority = n
			}
		case "autostop":
			p.autostop(e)
		case "any_of", "ordered":
			p.wrong(where(e.node), "%s cannot stand inside of an alternative", e.key)
		default:
			why, left := resourceLeft[e.key]
			way, refused := resourceRefused[e.key]
			switch {
			case left:
				p.warn(where(e.node), "%s is left aside: %s", e.key, why)
			case refused:
				p.wrong(where(e.node), "%s is not supported: %s", e.key, way)
			case known(e.key, taskFields, taskRefused, taskLeft):
				p.wrong(where(e.node), "%s does not belong under resources", e.key)
			default:
				p.wrong(where(e.node), "unknown field %q%s", e.key, meant(e.key, resourceFields))
			}
		}
	}
	if len(gpus) == 0 {
		gpus = []gpuWish{{}}
	}
	for _, g := range gpus {
		one := r
		one.Accelerator, one.GPUs, one.Labels = g.model, g.count, maps.Clone(r.Labels)
		c.options = append(c.options, one)
	}
	return c
}

// recovery reads what SkyPilot does after a preemption or an error. The answer
// says whether the job must not run again, nil where the file does not.
func (p *parser) recovery(e pair, r *compute.Resources) *bool {
	strategy := func(n ast.Node, s string) *bool {
		once := false
		switch strings.ToLower(s) {
		case "none":
			once = true
		case "":
			return nil
		case "failover", "eager_next_region":
			p.warn(where(n), "job_recovery: %s is left aside: a job that was preempted goes on at this site", s)
		default:
			p.wrong(where(n), "job_recovery: unknown strategy %q%s", s, meant(s, []string{"none", "failover", "eager_next_region"}))
		}
		return &once
	}
	if !isMapping(e.value) {
		return strategy(e.value, p.text(e))
	}
	var once *bool
	for _, f := range p.pairs(e.value, "job_recovery") {
		switch f.key {
		case "strategy":
			once = strategy(f.value, p.text(f))
		case "max_restarts_on_errors":
			r.MaxRestarts = p.count(f, 0, 1000)
		case "recover_on_exit_codes":
			for _, n := range items(f.value) {
				r.RestartExitCodes = append(r.RestartExitCodes, p.count(pair{f.key, f.node, n}, 0, 255))
			}
		default:
			p.wrong(where(f.node), "unknown field %q in job_recovery%s", f.key,
				meant(f.key, []string{"strategy", "max_restarts_on_errors", "recover_on_exit_codes"}))
		}
	}
	return once
}

// autostop tells SkyPilot when to stop a machine that has nothing to do. A job
// holds its machine no longer than it runs.
func (p *parser) autostop(e pair) {
	if isMapping(e.value) {
		for _, f := range p.pairs(e.value, "autostop") {
			if f.key == "hook" {
				p.wrong(where(f.node), "autostop.hook is not supported: put it under config.hooks")
			}
		}
	}
	p.warn(where(e.node), "autostop is left aside: a job holds its host no longer than it runs")
}

// labels are what a host must have, but for those of Sluice's own.
func (p *parser) labels(e pair, r *compute.Resources, alternative bool) {
	own := []string{"sluice/isolation", "sluice/power-cap", "sluice/notice", "sluice/signal"}
	for _, f := range p.pairs(e.value, "labels") {
		value := p.text(f)
		if !strings.HasPrefix(f.key, "sluice/") {
			if f.key == "" || len(f.key)+len(value) > 400 {
				p.wrong(where(f.node), "labels: a name is missing, or too long")
				continue
			}
			if r.Labels == nil {
				r.Labels = map[string]string{}
			}
			r.Labels[f.key] = value
			continue
		}
		switch f.key {
		case "sluice/isolation":
			if r.Isolation = compute.Isolation(value); !slices.Contains(compute.Isolations(), r.Isolation) {
				p.wrong(where(f.value), "sluice/isolation: %q is none of %v", value, compute.Isolations())
			}
		case "sluice/power-cap":
			share, err := strconv.ParseFloat(value, 64)
			if err != nil || !(share >= 0.1 && share <= 1) {
				p.wrong(where(f.value), "sluice/power-cap: %q is no share from 0.1 to 1 of the GPU's power that the job accepts", value)
				continue
			}
			r.PowerCapOK, r.MinPowerShare = true, share
		case "sluice/notice":
			d, err := time.ParseDuration(value)
			if err != nil || d <= 0 || d > 24*time.Hour {
				p.wrong(where(f.value), "sluice/notice: %q is no time up to 24h: write 90s or 5m", value)
				continue
			}
			if !alternative {
				p.task.Interrupt.Notice = d
			}
		case "sluice/signal":
			name, err := signalName(value)
			if err != nil {
				p.wrong(where(f.value), "sluice/signal: %v", err)
				continue
			}
			if !alternative {
				p.task.Interrupt.Signal = name
			}
		default:
			p.wrong(where(f.node), "unknown label %q: those that begin with sluice/ are Sluice's own%s", f.key, meant(f.key, own))
		}
	}
}

// clouds are the first words that SkyPilot knows for infra.
var clouds = []string{
	"aws", "azure", "gcp", "ibm", "lambda", "scp", "oci", "kubernetes", "k8s", "runpod", "vast", "vsphere", "cudo", "fluidstack",
	"paperspace", "primeintellect", "do", "nebius", "ssh", "slurm", "hyperbolic", "seeweb", "shadeform", "yotta", "mithril", "verda", "local",
}

// region reads infra, which is CLOUD/REGION/ZONE with * for any, and region. The
// site answers to its own name, to sluice and to *; any other cloud is left aside.
func (p *parser) region(e pair, r *compute.Resources) {
	text := p.text(e)
	if text == "" || text == "*" {
		return
	}
	parts := strings.Split(text, "/")
	cloud, region := parts[0], ""
	if len(parts) > 1 {
		region = parts[1]
	}
	if e.key == "region" || len(parts) == 1 && p.o.Site != nil && slices.Contains(p.o.Site.Regions, cloud) {
		cloud, region = "*", cloud
	}
	ours := cloud == "*" || strings.EqualFold(cloud, "sluice") || p.o.Site != nil && strings.EqualFold(cloud, p.o.Site.Name)
	switch {
	case p.o.Site == nil && !slices.Contains(clouds, strings.ToLower(cloud)):
		p.warn(where(e.value), "%s %s: whether it names the site or one of its regions, only the site knows", e.key, text)
	case ours && (region == "" || region == "*"):
	case ours && p.o.Site != nil && slices.Contains(p.o.Site.Regions, region):
		r.Region = region
	case ours && e.key == "infra" && cloud != "*":
		p.wrong(where(e.value), "infra %s: this site has no region %q, %s", text, region, listed("it has", p.o.Site))
	case ours || slices.Contains(clouds, strings.ToLower(cloud)):
		p.warn(where(e.value), "%s %s is left aside: it is a hint for other providers", e.key, text)
	default:
		p.wrong(where(e.value), "infra %s names neither this site, one of its regions nor a provider that SkyPilot knows%s", text,
			meant(cloud, append(slices.Clone(p.o.Site.Regions), clouds...)))
	}
}

func listed(what string, s *Site) string {
	if s == nil || len(s.Regions) == 0 {
		return "it names none"
	}
	return fmt.Sprintf("%s %s", what, strings.Join(s.Regions, ", "))
}
