package jobfile

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/compute"
)

// memory reads an amount in MB, of 2^20 bytes, with K, M, G or T behind it.
func memory(v string) (int, error) {
	digits := strings.TrimRight(v, "kKmMgGtTbB")
	n, err := strconv.Atoi(digits)
	factor, ok := map[string]float64{"": 1, "k": 1.0 / 1024, "m": 1, "g": 1024, "t": 1 << 20}[strings.TrimSuffix(strings.ToLower(v[len(digits):]), "b")]
	mb := float64(n) * factor
	if err != nil || !ok || n < 0 || mb > 1<<30 || strings.EqualFold(v[len(digits):], "b") {
		return 0, invalid("%q is no amount of memory (write 4G or 500M)", v)
	}
	if mb > 0 && mb < 1 {
		mb = 1
	}
	return int(mb), nil
}

// slurmTime reads minutes, minutes:seconds, hours:minutes:seconds, days-hours,
// days-hours:minutes and days-hours:minutes:seconds. 0 is no limit.
func slurmTime(v string) (time.Duration, error) {
	switch strings.ToUpper(v) {
	case "UNLIMITED", "INFINITE", "-1":
		return 0, nil
	}
	bad := invalid("%q is no time (write 90, 1:30:00 or 2-12:00:00)", v)
	days, rest, hasDays := strings.Cut(v, "-")
	if !hasDays {
		days, rest = "0", v
	}
	parts := strings.Split(rest, ":")
	units := [][]time.Duration{{time.Minute}, {time.Minute, time.Second}, {time.Hour, time.Minute, time.Second}}
	if hasDays {
		units = [][]time.Duration{{time.Hour}, {time.Hour, time.Minute}, {time.Hour, time.Minute, time.Second}}
	}
	if len(parts) > 3 {
		return 0, bad
	}
	d := time.Duration(0)
	add := func(s string, unit time.Duration) bool {
		n, err := strconv.Atoi(s)
		d += time.Duration(n) * unit
		return err == nil && n >= 0 && n <= 10_000_000 && d >= 0 && d <= 100*365*24*time.Hour
	}
	if !add(days, 24*time.Hour) {
		return 0, bad
	}
	if hasDays && rest == "" {
		return d, nil
	}
	for i, unit := range units[len(parts)-1] {
		if !add(parts[i], unit) {
			return 0, bad
		}
	}
	return d, nil
}

// arrayOf reads indexes such as 0-15:4,20%2.
func arrayOf(v string) (*compute.Array, error) {
	a := &compute.Array{}
	list, most, has := strings.Cut(v, "%")
	bad := invalid("%q is no array (write 0-15, 1,3,5 or 0-15:4%%2)", v)
	if has {
		var err error
		if a.Most, err = strconv.Atoi(most); err != nil || a.Most < 0 {
			return nil, bad
		}
	}
	index := func(s string) (int, bool) {
		n, err := strconv.Atoi(s)
		return n, err == nil && n >= 0 && n <= 4_000_000
	}
	for _, part := range strings.Split(list, ",") {
		span, by, stepped := strings.Cut(part, ":")
		from, to, isRange := strings.Cut(span, "-")
		first, ok := index(from)
		last, step := first, 1
		if isRange {
			var ok2 bool
			last, ok2 = index(to)
			ok = ok && ok2
		}
		if stepped {
			var ok3 bool
			step, ok3 = index(by)
			ok = ok && ok3 && isRange && step > 0
		}
		if !ok || last < first {
			return nil, bad
		}
		if len(a.Indexes)+(last-first)/step >= compute.MaxArray {
			return nil, invalid("more than %d jobs", compute.MaxArray)
		}
		for i := first; i <= last; i += step {
			a.Indexes = append(a.Indexes, i)
		}
	}
	slices.Sort(a.Indexes)
	a.Indexes = slices.Compact(a.Indexes)
	return a, nil
}

var jobID = regexp.MustCompile(`^(j-)?([0-9]{1,9})$`)

// dependencies reads KIND:JOB[:JOB…] with commas between, of which all must
// hold, or question marks, of which one is enough.
func dependencies(v string) ([]compute.Dependency, error) {
	kinds := []string{"after", "afterok", "afternotok", "afterany", "aftercorr", "singleton"}
	any := strings.Contains(v, "?") // with one of them, sbatch takes all so
	var out []compute.Dependency
	for _, part := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == '?' }) {
		kind, jobs, has := strings.Cut(part, ":")
		if jobID.MatchString(kind) && !has {
			kind, jobs, has = "afterany", kind, true // an old form of sbatch's
		}
		switch {
		case kind == "expand" || kind == "afterburstbuffer":
			return nil, invalid("%s is not supported", kind)
		case !slices.Contains(kinds, kind):
			return nil, invalid("unknown kind %q%s", kind, meant(kind, kinds))
		case kind == "singleton" && !has:
			out = append(out, compute.Dependency{Kind: kind, Any: any})
			continue
		case kind == "singleton" || !has || jobs == "":
			return nil, invalid("%q names no jobs: write afterok:12 or afterok:j-000012", part)
		}
		for _, job := range strings.Split(jobs, ":") {
			id, delay, delayed := strings.Cut(job, "+")
			m := jobID.FindStringSubmatch(id)
			if strings.Contains(id, "_") {
				return nil, invalid("%s: each job of an array has an ID of its own here, which sluice job list shows: name that", id)
			}
			if m == nil {
				return nil, invalid("%q is no ID of a job (write 12 or j-000012)", id)
			}
			n, _ := strconv.Atoi(m[2]) // nine digits at most
			d := compute.Dependency{Kind: kind, Jobs: []string{fmt.Sprintf("j-%06d", n)}, Any: any}
			if delayed {
				minutes, err := strconv.Atoi(delay)
				if err != nil || minutes < 0 || minutes > 1_000_000 || kind != "after" {
					return nil, invalid("%q: only after takes +MINUTES", job)
				}
				d.Delay = time.Duration(minutes) * time.Minute
			}
			out = append(out, d)
		}
	}
	if len(out) == 0 {
		return nil, invalid("%q names no job", v)
	}
	if len(out) > 1000 {
		return nil, invalid("more than 1000 jobs")
	}
	return out, nil
}

// signals that a job may ask for, by their numbers on Linux.
var signals = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "USR1": 10, "USR2": 12, "ALRM": 14, "TERM": 15, "CONT": 18, "TSTP": 20, "URG": 23,
}

// signalName reads a signal by its name, with or without SIG, or its number.
func signalName(v string) (string, error) {
	name := strings.TrimPrefix(strings.ToUpper(v), "SIG")
	if _, ok := signals[name]; ok {
		return name, nil
	}
	if n, err := strconv.Atoi(v); err == nil {
		for name, num := range signals {
			if num == n {
				return name, nil
			}
		}
	}
	if name == "KILL" || name == "STOP" || v == "9" || v == "19" {
		return "", invalid("%s leaves a job no time to save its work: use TERM or USR1", v)
	}
	return "", invalid("%q is no signal that a job may ask for (write USR1)", v)
}

// gpuCount reads COUNT or MODEL:COUNT.
func gpuCount(v string) (gpuWish, error) {
	if strings.Contains(v, ",") {
		return gpuWish{}, invalid("%q: a job's nodes have one kind of GPU", v)
	}
	model, count, has := strings.Cut(v, ":")
	if !has {
		model, count = "", v
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > 1024 || has && !taskName.MatchString(model) {
		return gpuWish{}, invalid("%q is no number of GPUs (write 2 or h100:2)", v)
	}
	return gpuWish{model, n}, nil
}

// gres reads gpu, gpu:COUNT, gpu:MODEL or gpu:MODEL:COUNT.
func (s *script) gres(v string) error {
	if strings.EqualFold(v, "none") {
		return nil
	}
	for _, part := range strings.Split(v, ",") {
		part = strings.TrimPrefix(part, "gres:")
		f := strings.Split(part, ":")
		if f[0] != "gpu" {
			return invalid("%q is not counted here: gpu is", f[0])
		}
		if len(s.gpus) > 0 && strings.Contains(v, ",") {
			return invalid("%q: a job's nodes have one kind of GPU", v)
		}
		g := gpuWish{count: 1}
		var err error
		switch len(f) {
		case 1:
		case 2:
			if _, notNumber := strconv.Atoi(f[1]); notNumber != nil {
				g, err = gpuCount(f[1] + ":1")
			} else {
				g, err = gpuCount(f[1])
			}
		case 3:
			g, err = gpuCount(f[1] + ":" + f[2])
		default:
			err = invalid("%q is no number of GPUs (write gpu:h100:2)", part)
		}
		if err != nil {
			return err
		}
		s.gpus = append(s.gpus, g)
	}
	return nil
}

// pattern makes a word of the shell of a file name with sbatch's patterns.
func pattern(v string) (string, error) {
	vars := map[byte]string{
		'A': `${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID}}`, 'a': `${SLURM_ARRAY_TASK_ID:-4294967294}`, 'J': `${SLURM_JOB_ID}`, 'j': `${SLURM_JOB_ID}`,
		'N': `${SLURMD_NODENAME:-localhost}`, 'n': `${SLURM_NODEID:-0}`, 's': `batch`, 't': `0`, 'u': `${SLURM_JOB_USER:-$(id -un)}`,
		'x': `${SLURM_JOB_NAME}`,
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] != '%' {
			b.WriteByte(v[i])
			continue
		}
		end := i + 1
		for end < len(v) && v[end] >= '0' && v[end] <= '9' {
			end++
		}
		if end == len(v) {
			return "", invalid("%q ends in a %%: write %%%% for one", v)
		}
		width := v[i+1 : end]
		value, ok := vars[v[end]]
		switch {
		case v[end] == '%' && width == "":
			value = "%"
		case !ok || len(width) > 2:
			return "", invalid("%q: unknown pattern %%%s%c", v, width, v[end])
		case width != "" && strings.ContainsRune("AaJjnt", rune(v[end])):
			value = "$(printf %0" + strings.TrimLeft(width, "0") + "d \"" + value + "\")"
			if strings.TrimLeft(width, "0") == "" {
				value = vars[v[end]]
			}
		}
		b.WriteString(value)
		i = end
	}
	return `"` + b.String() + `"`, nil
}
