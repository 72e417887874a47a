package jobfile

import (
	"path"
	"strconv"
	"strings"
	"time"
)

// argument is whether an option takes a value.
type argument int

const (
	needs    argument = iota // always
	optional                 // after = or directly after the letter
	none
)

// option is one of sbatch's. apply honours it; refuse says why it cannot be, with
// the way out; leave why it means nothing here.
type option struct {
	name, letter  string
	arg           argument
	apply         func(s *script, value string) error
	refuse, leave string
}

// Reasons that several options share.
const (
	hostsAreChosen = "hosts are chosen by what the job needs: ask for it with --gres, --mem or --cpus-per-task"
	noTopology     = "a job's CPUs are not laid out by sockets and cores"
	whenHanded     = "hand the script in when it may start, or use --dependency"
	ofTheTenant    = "what a job may use is its tenant's"
	ofSbatch       = "it is for the sbatch command"
)

// batchOptions are all of sbatch's options that a script may hold.
var batchOptions = []option{
	{name: "job-name", letter: "J", apply: (*script).jobName},
	{name: "nodes", letter: "N", apply: (*script).nodeCount},
	{name: "ntasks", letter: "n", apply: number(func(s *script) *int { return &s.tasks })},
	{name: "ntasks-per-node", apply: number(func(s *script) *int { return &s.perNode })},
	{name: "cpus-per-task", letter: "c", apply: number(func(s *script) *int { return &s.cpus })},
	{name: "mincpus", apply: number(func(s *script) *int { return &s.minCPUs })},
	{name: "cpus-per-gpu", apply: number(func(s *script) *int { return &s.cpusPerGPU })},
	{name: "gres", apply: (*script).gres},
	{name: "gpus", letter: "G", apply: wish(func(s *script, g gpuWish) { s.gpuTotal = g })},
	{name: "gpus-per-node", apply: wish(func(s *script, g gpuWish) { s.gpus = append(s.gpus, g) })},
	{name: "gpus-per-task", apply: wish(func(s *script, g gpuWish) { s.gpuPerTask = g })},
	{name: "mem", apply: megabytes(func(s *script) *int { return &s.memMB })},
	{name: "mem-per-cpu", apply: megabytes(func(s *script) *int { return &s.memPerCPUMB })},
	{name: "mem-per-gpu", apply: megabytes(func(s *script) *int { return &s.memPerGPUM })},
	{name: "tmp", apply: func(s *script, v string) error {
		mb, err := memory(v)
		s.p.task.Resources.DiskGB = float64(mb) / 1024
		return err
	}},
	{name: "time", letter: "t", apply: func(s *script, v string) error {
		d, err := slurmTime(v)
		s.p.task.TimeLimit = minutes(d)
		return err
	}},
	{name: "array", letter: "a", apply: func(s *script, v string) (err error) {
		s.array, err = arrayOf(v)
		return err
	}},
	{name: "dependency", letter: "d", apply: func(s *script, v string) (err error) {
		s.p.task.After, err = dependencies(v)
		return err
	}},
	{name: "signal", apply: (*script).signal},
	{name: "requeue", arg: none, apply: func(s *script, _ string) error { s.requeue = true; return nil }},
	{name: "no-requeue", arg: none, apply: func(s *script, _ string) error { s.requeue = false; return nil }},
	{name: "output", letter: "o", apply: file(func(s *script) *string { return &s.output })},
	{name: "error", letter: "e", apply: file(func(s *script) *string { return &s.errOut })},
	{name: "input", letter: "i", apply: file(func(s *script) *string { return &s.input })},
	{name: "export", arg: optional, apply: (*script).export},
	{name: "chdir", letter: "D", apply: func(s *script, v string) error {
		if v == "" || strings.ContainsRune(v, '%') {
			return invalid("%q is no folder", v)
		}
		s.chdir = v
		return nil
	}},
	{name: "nice", arg: optional, apply: (*script).nice},

	{name: "begin", letter: "b", refuse: whenHanded},
	{name: "deadline", refuse: "set the job's time with --time"},
	{name: "hold", letter: "H", arg: none, refuse: whenHanded},
	{name: "constraint", letter: "C", refuse: "name the GPU in --gres=gpu:MODEL:COUNT, or write a SkyPilot task with resources.labels"},
	{name: "nodelist", letter: "w", refuse: hostsAreChosen},
	{name: "nodefile", letter: "F", refuse: hostsAreChosen},
	{name: "exclude", letter: "x", refuse: hostsAreChosen},
	{name: "reservation", refuse: "there are no reservations"},
	{name: "licenses", letter: "L", refuse: "licences are not counted here"},
	{name: "bb", refuse: "there is no burst buffer: use the working folder"},
	{name: "bbf", refuse: "there is no burst buffer: use the working folder"},
	{name: "container", refuse: "write a SkyPilot task with image_id: docker:IMAGE"},
	{name: "gpus-per-socket", refuse: "write --gpus-per-node"},
	{name: "ntasks-per-gpu", refuse: "write --ntasks-per-node and --gpus-per-node"},
	{name: "tres-per-task", refuse: "write --cpus-per-task and --gpus-per-task"},
	{name: "uid", refuse: "a job runs as its tenant"},
	{name: "gid", refuse: "a job runs as its tenant"},
	{name: "wrap", refuse: ofSbatch + ": write the command into the script"},
	{name: "test-only", arg: none, refuse: "use sluice job check"},
	{name: "export-file", refuse: "write the variables with --export=NAME=VALUE"},
	{name: "batch", refuse: hostsAreChosen},
	{name: "cluster-constraint", refuse: hostsAreChosen},
	{name: "reboot", arg: none, refuse: "a host is not restarted for a job"},

	{name: "partition", letter: "p", leave: "a site has no partitions: the job's needs and its price decide"},
	{name: "account", letter: "A", leave: ofTheTenant},
	{name: "qos", letter: "q", leave: ofTheTenant},
	{name: "wckey", leave: ofTheTenant},
	{name: "mcs-label", leave: ofTheTenant},
	{name: "clusters", letter: "M", leave: "there is one site"},
	{name: "comment", leave: "it changes nothing"},
	{name: "extra", leave: "it changes nothing"},
	{name: "mail-type", leave: "no mail is sent: follow the job with sluice job logs --follow"},
	{name: "mail-user", leave: "no mail is sent: follow the job with sluice job logs --follow"},
	{name: "exclusive", arg: optional, leave: "a job has the CPUs, memory and GPUs that it asks for to itself; ask for a whole host's to have it"},
	{name: "oversubscribe", letter: "s", arg: none, leave: "a job has what it asks for to itself"},
	{name: "overcommit", letter: "O", arg: none, leave: "a job has what it asks for to itself"},
	{name: "prefer", leave: hostsAreChosen},
	{name: "contiguous", arg: none, leave: hostsAreChosen},
	{name: "spread-job", arg: none, leave: hostsAreChosen},
	{name: "use-min-nodes", arg: none, leave: "a job runs on as few nodes as it asks for"},
	{name: "switches", leave: hostsAreChosen},
	{name: "distribution", letter: "m", leave: noTopology},
	{name: "extra-node-info", letter: "B", leave: noTopology},
	{name: "sockets-per-node", leave: noTopology},
	{name: "cores-per-socket", leave: noTopology},
	{name: "threads-per-core", leave: noTopology},
	{name: "ntasks-per-core", leave: noTopology},
	{name: "ntasks-per-socket", leave: noTopology},
	{name: "core-spec", letter: "S", leave: noTopology},
	{name: "thread-spec", leave: noTopology},
	{name: "hint", leave: noTopology},
	{name: "mem-bind", leave: noTopology},
	{name: "gpu-bind", leave: "each task sees all GPUs that its node has for the job"},
	{name: "tres-bind", leave: noTopology},
	{name: "gres-flags", leave: noTopology},
	{name: "gpu-freq", leave: "the site sets its GPUs' power"},
	{name: "cpu-freq", leave: "the site sets its hosts' power"},
	{name: "power", leave: "the site sets its hosts' power"},
	{name: "time-min", leave: "a job has the time of --time"},
	{name: "priority", leave: ofTheTenant},
	{name: "no-kill", letter: "k", arg: optional, leave: "a job that loses a node goes on from its checkpoint on as many"},
	{name: "kill-on-invalid-dep", leave: "a job whose dependency cannot hold any more does not run"},
	{name: "delay-boot", leave: "hosts are up"},
	{name: "network", leave: "a site has one network"},
	{name: "profile", leave: "each job's use is measured anyway"},
	{name: "acctg-freq", leave: "each job's use is measured anyway"},
	{name: "propagate", arg: optional, leave: "limits are the host's"},
	{name: "get-user-env", arg: optional, leave: "a job has no login: give variables with --export or --env"},
	{name: "open-mode", leave: "output is appended"},
	{name: "wait-all-nodes", leave: "a job has all its nodes or none"},
	{name: "wait", letter: "W", arg: none, leave: "use sluice job submit --follow"},
	{name: "parsable", arg: optional, leave: ofSbatch},
	{name: "quiet", letter: "Q", arg: none, leave: ofSbatch},
	{name: "verbose", letter: "v", arg: none, leave: ofSbatch},
	{name: "ignore-pbs", arg: none, leave: "#PBS lines are left aside anyway"},
}

func number(of func(*script) *int) func(*script, string) error {
	return func(s *script, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 1<<20 {
			return invalid("%q is no number from 1 on", v)
		}
		*of(s) = n
		return nil
	}
}

func wish(set func(*script, gpuWish)) func(*script, string) error {
	return func(s *script, v string) error {
		g, err := gpuCount(v)
		if err == nil {
			set(s, g)
		}
		return err
	}
}

func megabytes(of func(*script) *int) func(*script, string) error {
	return func(s *script, v string) error {
		mb, err := memory(v)
		*of(s) = mb
		return err
	}
}

// file reads a name in the working folder; one elsewhere goes there too.
func file(of func(*script) *string) func(*script, string) error {
	return func(s *script, v string) error {
		if v == "" || strings.ContainsAny(v, "\n\x00`$\"\\") {
			return invalid("%q is no name of a file", v)
		}
		if strings.ToLower(v) == "none" {
			v = "/dev/null"
		}
		clean := path.Clean(v)
		if v != "/dev/null" && (path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../")) {
			s.p.warn(place{1, 1}, "%s is outside of the working folder: %s in it is taken", v, path.Base(clean))
			clean = path.Base(clean)
		}
		if _, err := pattern(clean); err != nil {
			return err
		}
		*of(s) = clean
		return nil
	}
}

func (s *script) jobName(v string) error {
	name := strings.Map(func(r rune) rune {
		if r == ' ' || r == '/' {
			return '-'
		}
		return r
	}, v)
	if !taskName.MatchString(name) {
		return invalid("%q: use up to 100 letters, digits, -, _ and .", v)
	}
	s.p.task.Name = name
	return nil
}

// nodeCount reads COUNT or MIN-MAX, with k for 1,024; the least is taken.
func (s *script) nodeCount(v string) error {
	from, to, isRange := strings.Cut(v, "-")
	count := func(t string) (int, bool) {
		factor := 1
		if k := strings.TrimSuffix(strings.TrimSuffix(t, "k"), "K"); k != t {
			t, factor = k, 1024
		}
		n, err := strconv.Atoi(t)
		return n * factor, err == nil && n >= 1 && n <= 1<<20
	}
	n, ok := count(from)
	if isRange {
		most, ok2 := count(to)
		ok = ok && ok2 && most >= n
	}
	if !ok {
		return invalid("%q is no number of nodes (write 4 or 2-4)", v)
	}
	s.nodes = n
	return nil
}

// signal reads [{R|B}:]SIGNAL[@SECONDS].
func (s *script) signal(v string) error {
	for _, flag := range []string{"RB:", "BR:", "R:", "B:"} {
		if rest, ok := strings.CutPrefix(v, flag); ok {
			v = rest
			break
		}
	}
	name, seconds, at := strings.Cut(v, "@")
	sig, err := signalName(name)
	if err != nil {
		return err
	}
	before := 60 // as with Slurm
	if at {
		if before, err = strconv.Atoi(seconds); err != nil || before < 0 || before > 65535 {
			return invalid("%q is no number of seconds up to 65535", seconds)
		}
	}
	s.p.task.Interrupt.Signal, s.p.task.Interrupt.Before = sig, time.Duration(before)*time.Second
	return nil
}

// export reads ALL, NONE, NIL and NAME or NAME=VALUE, with commas between.
func (s *script) export(v string) error {
	for _, part := range strings.Split(v, ",") {
		name, value, has := strings.Cut(part, "=")
		switch {
		case part == "ALL" || part == "":
			s.p.warn(s.said["export"], "--export=ALL: variables of your own shell do not travel: name them with --env")
			continue
		case part == "NONE" || part == "NIL":
			continue
		case !has:
			if value, has = s.p.o.Env[name]; !has {
				if _, secret := s.p.o.Secrets[name]; secret {
					continue
				}
				if !s.p.o.Check {
					return invalid("%s has no value: write %s=VALUE, or give it with --env %s", name, name, name)
				}
				s.p.warn(s.said["export"], "--export: %s has no value: write %s=VALUE, or give it with --env %s", name, name, name)
			}
		}
		if msg := badEnv(name, value); msg != "" {
			return invalid("%s: %s", name, msg)
		}
		s.p.task.Envs[name] = value
	}
	return nil
}

// nice lowers the priority.
func (s *script) nice(v string) error {
	n := 100
	if v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			return invalid("%q is no number", v)
		}
	}
	s.p.task.Priority = max(-1000, min(1000, -n))
	return nil
}
