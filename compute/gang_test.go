package compute_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/compute"
)

func cpuHost(name string, units int) compute.Host {
	return compute.Host{Name: name, Class: "cpu", Executor: "process", Units: units, CPUs: units, MemoryGB: 8, IdleW: 60, UnitW: 20, Real: true, Address: "127.0.0." + name[len(name)-1:]}
}

func gang(nodes int, run string) compute.SubmitRequest {
	r := script(run)
	r.Task.NumNodes = nodes
	r.Task.Resources.CPUs = 2
	return r
}

// A gang runs on all of its hosts at once, and each node knows who it is.
func TestGang(t *testing.T) {
	w := newWorld(t, cpuHost("h1", 2), cpuHost("h2", 2), cpuHost("h3", 2))
	one := w.submit(gang(1, "while [ ! -e go ]; do sleep 0.02; done"))
	w.start(one.ID)
	three := w.submit(gang(3, "true"))
	wantKind(t, w.svc.Start(t.Context(), w.Now(), three.ID, ""), sluice.Conflict)
	if j := w.job(three.ID); j.State != compute.Queued || j.Units != 6 || j.Nodes != 3 {
		t.Fatalf("a gang without room: %+v", j)
	}
	two := w.submit(gang(2, `{ echo "$SKYPILOT_NODE_RANK of $SKYPILOT_NUM_NODES"; echo "$SKYPILOT_NODE_IPS"; } > "$SLUICE_CHECKPOINT_DIR/node-$SKYPILOT_NODE_RANK"
echo x > mine-$SKYPILOT_NODE_RANK; ls > "$SLUICE_CHECKPOINT_DIR/ls-$SKYPILOT_NODE_RANK"`))
	w.start(two.ID)
	j := w.reach(two.ID, compute.Succeeded)
	hosts := slices.Clone(j.Hosts)
	if len(hosts) != 2 || hosts[0] == hosts[1] {
		t.Fatalf("hosts %v", hosts)
	}
	for rank := range 2 {
		b, err := os.ReadFile(filepath.Join(w.dir, "jobs", two.ID, "checkpoint", fmt.Sprint("node-", rank)))
		want := fmt.Sprintf("%d of 2\n127.0.0.%s\n127.0.0.%s\n", rank, hosts[0][1:], hosts[1][1:])
		if err != nil || string(b) != want {
			t.Errorf("node %d: %q (%v), want %q", rank, b, err, want)
		}
		b, err = os.ReadFile(filepath.Join(w.dir, "jobs", two.ID, "checkpoint", fmt.Sprint("ls-", rank)))
		if err != nil || strings.Contains(string(b), fmt.Sprint("mine-", 1-rank)) {
			t.Errorf("node %d sees the other's files: %q (%v)", rank, b, err)
		}
	}
	if u := w.svc.Meter(w.Now()); len(u) != 2 || u[1].UnitSeconds <= 0 {
		t.Errorf("uses %+v", u)
	}
}

// The loss of one node stops the others and queues the whole gang again; one that
// fails fails the gang.
func TestGangIsAllOrNothing(t *testing.T) {
	w := newWorld(t, cpuHost("h1", 2), cpuHost("h2", 2))
	body := `if [ -e "$SLUICE_CHECKPOINT_DIR/n$SKYPILOT_NODE_RANK" ]; then exit 0; fi
echo x > "$SLUICE_CHECKPOINT_DIR/n$SKYPILOT_NODE_RANK"; sleep 1000`
	j := w.submit(gang(2, body))
	w.start(j.ID)
	for rank := range 2 {
		w.until("both run", func() bool {
			_, err := os.Stat(filepath.Join(w.dir, "jobs", j.ID, "checkpoint", fmt.Sprint("n", rank)))
			return err == nil
		})
	}
	killKeeper(t, filepath.Join(w.dir, "jobs", j.ID, "runs", j.ID+"-r1-n1"))
	got := w.reach(j.ID, compute.Queued)
	if !strings.Contains(got.Why, "node 1 on ") || got.Host != "" {
		t.Fatalf("%+v", got)
	}
	if use := w.svc.HostUse(); use["h1"].UnitsBusy+use["h2"].UnitsBusy != 0 {
		t.Fatalf("units are held: %+v", use)
	}
	w.start(j.ID)
	if got := w.reach(j.ID, compute.Succeeded); got.Runs != 2 {
		t.Fatalf("%+v", got)
	}

	bad := w.submit(gang(2, `[ $SKYPILOT_NODE_RANK = 1 ] && exit 7; sleep 1000`))
	w.start(bad.ID)
	if got := w.reach(bad.ID, compute.Failed); got.ExitCode == nil || *got.ExitCode != 7 || !strings.Contains(got.Why, "node 1") {
		t.Fatalf("%+v", got)
	}
}

// Each node begins with what the job came with, not with what the first has written
// by then.
func TestNodesBeginAlike(t *testing.T) {
	w := newWorld(t, cpuHost("h1", 2), cpuHost("h2", 2))
	r := gang(2, `echo mine >> zz/z`)
	r.WorkdirPath = t.TempDir()
	for i := range 3000 { // it takes longer to copy them than to begin
		if err := os.WriteFile(filepath.Join(r.WorkdirPath, fmt.Sprint("f", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(r.WorkdirPath, "zz"), 0o700); err != nil {
		t.Fatal(err)
	}
	j := w.submit(r)
	w.start(j.ID)
	w.reach(j.ID, compute.Succeeded)
	if b, err := os.ReadFile(filepath.Join(w.dir, "jobs", j.ID, "work-1", "zz", "z")); err != nil || string(b) != "mine\n" {
		t.Errorf("the second node has %q, %v", b, err)
	}
}

// A restart in the middle finds every node again, also those that ended meanwhile.
func TestGangRecovers(t *testing.T) {
	w := newWorld(t, cpuHost("h1", 2), cpuHost("h2", 2))
	j := w.submit(gang(2, `echo x > "$SLUICE_CHECKPOINT_DIR/up$SKYPILOT_NODE_RANK"
while [ ! -e "$SLUICE_CHECKPOINT_DIR/go$SKYPILOT_NODE_RANK" ]; do sleep 0.02; done`))
	w.start(j.ID)
	w.reach(j.ID, compute.Running)
	w.svc.Close()
	if err := os.WriteFile(filepath.Join(w.dir, "jobs", j.ID, "checkpoint", "go0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.restart()
	// That it ran may not have been stored yet: then it is started again and found.
	if got := w.reach(j.ID, compute.Running); len(got.Hosts) != 2 {
		t.Fatalf("%+v", got)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "jobs", j.ID, "checkpoint", "go1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := w.reach(j.ID, compute.Succeeded); got.Runs != 1 {
		t.Fatalf("%+v", got)
	}
}

// Errors of its own restart a job as often as its task allows.
func TestRestartOnErrors(t *testing.T) {
	w := newWorld(t, thisMachine)
	r := script(`n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n; [ $n -ge 2 ] && exit 0; exit 33`)
	r.Task.Resources.MaxRestarts = 2
	other := script(`n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n; [ $n -ge 1 ] && exit 34; exit 33`)
	other.Task.Resources.RestartExitCodes = []int{33}
	a, b := w.submit(r), w.submit(other)
	w.start(b.ID)
	w.until("it is restarted after 33", func() bool { j := w.job(b.ID); return j.State == compute.Queued && j.Runs == 1 })
	w.start(b.ID)
	w.reach(b.ID, compute.Failed) // but not after 34
	for i := 1; i <= 2; i++ {
		w.start(a.ID)
		w.until("it waits again", func() bool { j := w.job(a.ID); return j.State == compute.Queued && j.Runs == i })
	}
	w.start(a.ID)
	w.reach(a.ID, compute.Succeeded)
}

// The array's jobs know their index, run no more at once than they want, and hold
// what depends on them.
func TestArrayAndDependencies(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"))
	r := gpus(1, 60)
	r.Task.Array = &compute.Array{Indexes: []int{0, 2, 4}, Most: 2}
	jobs, err := w.svc.SubmitAll(t.Context(), w.Now(), r)
	if err != nil || len(jobs) != 3 || *jobs[2].ArrayIndex != 4 || jobs[2].Array != jobs[0].ID {
		t.Fatalf("%+v, %v", jobs, err)
	}
	after := func(kind string, ids ...string) compute.Job {
		r := gpus(1, 60)
		r.Task.After = []compute.Dependency{{Kind: kind, Jobs: ids}}
		return w.submit(r)
	}
	ok, notok, begun := after("afterok", jobs[0].ID), after("afternotok", jobs[0].ID), after("after", jobs[0].ID)
	bad := gpus(1, 60)
	bad.Task.After = []compute.Dependency{{Kind: "afterok", Jobs: []string{"j-000999"}}}
	_, err = w.svc.Submit(t.Context(), w.Now(), bad)
	wantKind(t, err, sluice.Invalid)
	w.start(jobs[0].ID)
	w.start(jobs[1].ID)
	wantKind(t, w.svc.Start(t.Context(), w.Now(), jobs[2].ID, ""), sluice.Conflict)
	for _, j := range []compute.Job{ok, notok, begun} {
		if err := w.svc.Start(t.Context(), w.Now(), j.ID, ""); err == nil {
			t.Fatalf("%s started before what it waits for", j.ID)
		}
	}
	w.pass(time.Minute)
	w.start(jobs[2].ID)
	w.pass(time.Minute)
	w.start(ok.ID)
	w.start(begun.ID)
	if n := w.svc.Tend(t.Context(), w.Now()); len(n) != 1 || n[0].Kind != "never" || n[0].About != notok.ID {
		t.Fatalf("notices %+v", n)
	}
	if j := w.job(notok.ID); j.State != compute.Cancelled || !strings.Contains(j.Why, "succeeded") {
		t.Fatalf("%+v", j)
	}
	w.restart()
	if j := w.job(jobs[1].ID); *j.ArrayIndex != 2 || j.Name != "train-2" {
		t.Fatalf("after a restart %+v", j)
	}
}

// What must stay in a region, on attested hosts, or behind a wall stays there.
func TestPolicy(t *testing.T) {
	de, us := gpuHost("de"), gpuHost("us")
	de.Region, us.Region = "DE-HE", "US-TX"
	de.Labels = map[string]string{"cert": "c5"}
	w := newWorld(t, de, us)
	w.tenants = tenants{"acme": {Name: "acme", Regions: []string{"de"}, Version: 7}, "free": {Name: "free"}}
	w.restart()
	start := func(r compute.SubmitRequest) compute.Job {
		t.Helper()
		j := w.submit(r)
		w.start(j.ID)
		return w.job(j.ID)
	}
	if j := start(gpus(8, 60)); j.Host != "de" {
		t.Fatalf("placed on %s", j.Host)
	}
	p, err := w.db.Placements().Placements(t.Context(), "j-000001")
	if err != nil || len(p) != 1 || p[0].PolicyVersion != 7 || p[0].Hosts[0] != "de" || !strings.Contains(p[0].Refused["us"], "US-TX") {
		t.Fatalf("decision %+v", p)
	}
	again := w.submit(gpus(8, 60))
	err = w.svc.Start(t.Context(), w.Now(), again.ID, "")
	wantKind(t, err, sluice.Conflict)
	if p, err := w.db.Placements().Placements(t.Context(), again.ID); err != nil || len(p) != 1 || p[0].Run != "" || p[0].Refused["us"] == "" {
		t.Errorf("the refusal left %+v (%v)", p, err)
	}
	if !strings.Contains(err.Error(), "US-TX") {
		t.Errorf("the refusal does not say why: %v", err)
	}
	free := gpus(8, 60)
	free.Tenant = "free"
	if j := start(free); j.Host != "us" {
		t.Fatalf("placed on %s", j.Host)
	}
	for _, change := range []func(*compute.SubmitRequest){
		func(r *compute.SubmitRequest) { r.Task.Resources.Region = "US-TX" },
		func(r *compute.SubmitRequest) { r.Task.Resources.Labels = map[string]string{"cert": "iso"} },
		func(r *compute.SubmitRequest) { r.Tenant = "nobody" },
	} {
		r := gpus(1, 60)
		change(&r)
		_, err := w.svc.Submit(t.Context(), w.Now(), r)
		wantKind(t, err, sluice.Invalid)
	}
	cpu := newWorld(t, thisMachine)
	cpu.tenants = tenants{"acme": {Name: "acme"}}
	cpu.restart()
	_, err = cpu.svc.Submit(t.Context(), w.Now(), script("true"))
	wantKind(t, err, sluice.Invalid) // not trusted, and there is no container
}

// Tenants get their share in turns, priorities go first, and nobody holds more
// than he may.
func TestFairShare(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"))
	w.tenants = tenants{
		"a": {Name: "a", Trusted: true, MaxPriority: 5}, "b": {Name: "b", Trusted: true, Weight: 2}, "c": {Name: "c", Trusted: true, MaxUnits: 2},
	}
	w.restart()
	put := func(tenant string, n, priority int) (ids []string) {
		for range n {
			r := gpus(1, 3600)
			r.Tenant, r.Priority = tenant, priority
			ids = append(ids, w.submit(r).ID)
		}
		return ids
	}
	a, b, c := put("a", 4, 0), put("b", 4, 0), put("c", 3, 0)
	urgent := put("a", 1, 5)
	var got []string
	for _, j := range w.svc.Open() {
		got = append(got, j.ID)
	}
	// b gets two hours for each one of the others, equal ones go by age; a's urgent
	// job counts; c may hold two of the host's units.
	want := []string{urgent[0], b[0], c[0], b[1], a[0], b[2], c[1], b[3], a[1], a[2], a[3], c[2]}
	if !slices.Equal(got, want) {
		t.Errorf("order %v\nwant  %v", got, want)
	}
	last := w.svc.Open()[11]
	if !strings.Contains(last.Held, "2 units of the 2") {
		t.Errorf("held: %q", last.Held)
	}
}

// A tenant's spending limit stops its jobs, which go on when it is raised.
func TestSpendingLimit(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"))
	w.tenants = tenants{"acme": {Name: "acme", SpendLimit: 4 * sluice.USD}, "other": {Name: "other"}}
	w.restart()
	r := gpus(4, 7200)
	r.RateUSDHour = 1
	j := w.submit(r)
	r.Tenant = "other"
	o := w.submit(r)
	w.start(j.ID)
	w.start(o.ID)
	w.pass(50 * time.Minute)
	if n := w.svc.Tend(t.Context(), w.Now()); len(n) != 1 || n[0].Kind != "spending" || n[0].About != "acme" || n[0].Spending.Turn != compute.SpendWarn {
		t.Fatalf("notices %+v", n)
	}
	w.pass(10 * time.Minute)
	if n := w.svc.Tend(t.Context(), w.Now()); len(n) != 1 || n[0].Kind != "spending" || n[0].Spending.Turn != compute.SpendStop {
		t.Fatalf("notices %+v", n)
	}
	got := w.job(j.ID)
	if got.State != compute.Queued || !strings.Contains(got.Held, "spending limit") || got.CheckpointAt == nil {
		t.Fatalf("%+v", got)
	}
	for _, l := range w.svc.Jobs() {
		if want := w.job(l.ID).Held; l.Held != want {
			t.Errorf("the list says of %s %q, and by itself it says %q", l.ID, l.Held, want)
		}
	}
	if w.job(o.ID).State != compute.Running {
		t.Error("another tenant's job stopped too")
	}
	wantKind(t, w.svc.Start(t.Context(), w.Now(), j.ID, ""), sluice.Conflict)
	_, err := w.svc.Submit(t.Context(), w.Now(), gpus(1, 60))
	wantKind(t, err, sluice.Conflict)
	w.tenants["acme"] = compute.Tenant{Name: "acme", SpendLimit: 9 * sluice.USD}
	w.start(j.ID)
	w.pass(time.Hour)
	if got := w.job(j.ID); got.State != compute.Succeeded || got.RunSeconds != 7200 {
		t.Fatalf("%+v", got)
	}
}

// The energy of jobs is posted once, whatever happens between two postings: what was
// posted adds up to what the jobs used.
func TestEnergyIsPostedOnce(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"), gpuHost("gpu-2"))
	r := gpus(8, 3600)
	r.Task.NumNodes = 2
	j := w.submit(r)
	var wh int64
	bill := func() {
		for _, u := range w.svc.Meter(w.Now()) {
			wh += u.MilliWh
		}
		w.bill()
	}
	w.start(j.ID)
	w.pass(13 * time.Minute)
	bill()
	w.pass(7 * time.Minute)
	if err := w.svc.Preempt(t.Context(), w.Now(), j.ID, "price"); err != nil {
		t.Fatal(err)
	}
	w.restart()
	bill()
	w.start(j.ID)
	w.pass(11 * time.Minute)
	bill()
	w.restart()
	w.pass(time.Hour)
	bill()
	bill()
	got := w.job(j.ID)
	// Two hosts' eight GPUs at 400 W for an hour.
	if got.State != compute.Succeeded || wh != 6_400_000 || got.EnergyWh != 6400 || !got.EnergyEstimated {
		t.Fatalf("%d mWh posted, the job has %v Wh: %+v", wh, got.EnergyWh, got)
	}
}

// A time limit ends a job, at its signal's time where it asks for one before.
func TestTimeLimit(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"))
	r := gpus(1, 7200)
	r.Task.TimeLimit, r.Task.Interrupt.Before = time.Hour, 5*time.Minute
	j := w.submit(r)
	w.start(j.ID)
	w.pass(54 * time.Minute)
	w.svc.Tend(t.Context(), w.Now())
	if w.job(j.ID).State != compute.Running {
		t.Fatal("ended early")
	}
	w.pass(time.Minute)
	w.svc.Tend(t.Context(), w.Now())
	if got := w.job(j.ID); got.State != compute.Failed || !strings.Contains(got.Why, "time limit of 1h") {
		t.Fatalf("%+v", got)
	}
}

// Gangs of any shape: never more than a host has, no GPU twice, all nodes or none.
func TestGangsNeverOverfill(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, gpuHost("gpu-1"), gpuHost("gpu-2"), gpuHost("gpu-3"))
		defer w.close()
		var ids []string
		for range rapid.IntRange(1, 12).Draw(rt, "jobs") {
			r := gpus(rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(rt, "gpus"), float64(rapid.IntRange(60, 600).Draw(rt, "seconds")))
			r.Task.NumNodes = rapid.IntRange(1, 3).Draw(rt, "nodes")
			ids = append(ids, w.submit(r).ID)
		}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			id := rapid.SampledFrom(ids).Draw(rt, "id")
			switch rapid.SampledFrom([]string{"start", "start", "preempt", "cancel", "pass", "restart"}).Draw(rt, "what") {
			case "start":
				_ = w.svc.Start(t.Context(), w.Now(), id, "")
			case "preempt":
				_ = w.svc.Preempt(t.Context(), w.Now(), id, "")
			case "cancel":
				_, _ = w.svc.Cancel(t.Context(), w.Now(), id)
			case "pass":
				w.pass(time.Duration(rapid.IntRange(1, 300).Draw(rt, "pass")) * time.Second)
			case "restart":
				w.restart()
			}
			recs, err := w.LoadJobs(t.Context())
			if err != nil {
				rt.Fatal(err)
			}
			held := map[string]bool{}
			for _, r := range recs {
				n := max(1, r.Job.Nodes)
				if len(r.Nodes) != 0 && len(r.Nodes) != n {
					rt.Fatalf("job %s of %d nodes has %d", r.Job.ID, n, len(r.Nodes))
				}
				for _, node := range r.Nodes {
					if len(node.GPUs) != r.Job.Units/n {
						rt.Fatalf("job %s holds %v", r.Job.ID, node.GPUs)
					}
					for _, g := range node.GPUs {
						key := fmt.Sprint(node.Host, "/", g)
						if held[key] || g < 0 || g > 7 {
							rt.Fatalf("%s is held twice or is none", key)
						}
						held[key] = true
					}
				}
			}
			for name, u := range w.svc.HostUse() {
				if u.UnitsBusy > 8 {
					rt.Fatalf("%s holds %d", name, u.UnitsBusy)
				}
			}
		}
	})
}

// A task that would run on several kinds of hosts waits for the cheapest, and goes to
// another when only that has room; one with an order of its own keeps to it.
func TestChoices(t *testing.T) {
	big, small := gpuHost("big"), gpuHost("small")
	small.Class, small.GPUModel, small.Units = "l4", "L4", 2
	w := newWorld(t, big, small)
	ask := func(ordered bool) compute.Job {
		r := gpus(2, 3600)
		a, l := compute.Resources{Accelerator: "A100", GPUs: 2}, compute.Resources{Accelerator: "L4", GPUs: 2}
		r.Task.Resources, r.Task.Ordered = a, ordered
		r.Choices = []compute.Choice{{Resources: a, RateUSDHour: 2}, {Resources: l, RateUSDHour: 0.5}}
		return w.submit(r)
	}
	cheap, prefers := ask(false), ask(true)
	if cheap.Class != "l4" || cheap.RateUSDHour != 0.5 || prefers.Class != "a100" {
		t.Fatalf("%+v\n%+v", cheap, prefers)
	}
	w.start(cheap.ID)
	other := ask(false)
	w.svc.Tend(t.Context(), w.Now())
	if got := w.job(other.ID); got.Class != "a100" || got.RateUSDHour != 2 || got.Task.Resources.Accelerator != "A100" {
		t.Fatalf("%+v", got)
	}
	w.restart()
	w.pass(time.Hour) // the cheap one has room again
	w.svc.Tend(t.Context(), w.Now())
	if got := w.job(other.ID); got.Class != "l4" {
		t.Fatalf("%+v", got)
	}
	w.start(other.ID)
	w.start(prefers.ID)
	w.pass(time.Hour)
	if a, b := w.job(other.ID), w.job(prefers.ID); a.State != compute.Succeeded || b.State != compute.Succeeded {
		t.Fatalf("%+v\n%+v", a, b)
	}
}

// What an isolation keeps back waits, with its reason, and nothing else does.
func TestHoldBack(t *testing.T) {
	h := cpuHost("h1", 4)
	h.Executors = map[compute.Isolation]string{compute.IsolationContainer: "process"} // as good as any here
	h.Isolations = []compute.Isolation{compute.IsolationNone, compute.IsolationContainer}
	w := newWorld(t, h)
	r := script("true")
	r.Task.Resources.Isolation = compute.IsolationContainer
	inside := w.submit(r)
	plain := w.submit(script("true"))
	if err := w.svc.HoldBack("h1", compute.IsolationContainer, "its containers do not start: no engine"); err != nil {
		t.Fatal(err)
	}
	err := w.svc.Start(t.Context(), w.Now(), inside.ID, "")
	wantKind(t, err, sluice.Conflict)
	if err == nil || !strings.Contains(err.Error(), "do not start: no engine") || w.job(inside.ID).State != compute.Queued {
		t.Errorf("%v, %s", err, w.job(inside.ID).State)
	}
	if held := w.svc.HostUse()["h1"].Held; !strings.Contains(held, "no engine") {
		t.Errorf("the host says %q", held)
	}
	if in, out := w.svc.HeldBack(inside.ID), w.svc.HeldBack(plain.ID); !strings.Contains(in, "held back on h1: its containers do not start: no engine") || out != "" {
		t.Errorf("held back: %q, %q", in, out)
	}
	w.start(plain.ID)
	w.reach(plain.ID, compute.Succeeded)
	w.svc.RoomFreed()
	if err := w.svc.HoldBack("h1", compute.IsolationContainer, ""); err != nil {
		t.Fatal(err)
	}
	if !w.svc.RoomFreed() {
		t.Error("nobody hears that containers start again")
	}
	if _ = w.svc.HoldBack("h1", compute.IsolationContainer, ""); w.svc.RoomFreed() {
		t.Error("what was not held back was freed")
	}
	w.start(inside.ID)
	wantKind(t, w.svc.HoldBack("h9", compute.IsolationContainer, ""), sluice.NotFound)
}

// boxes are hosts whose containers a process stands for.
func boxes(name string, units int, net compute.GangNet) compute.Host {
	h := cpuHost(name, units)
	h.Executors = map[compute.Isolation]string{compute.IsolationContainer: "process"}
	h.Isolations, h.GangNet = []compute.Isolation{compute.IsolationContainer}, net
	return h
}

// A gang in containers goes where its nodes reach each other: on one host, or on
// those of a network, where each has an address that no other run has, also after a
// restart.
func TestGangInContainers(t *testing.T) {
	net := func(part string) compute.GangNet {
		return compute.GangNet{Name: "gangs", Addresses: netip.MustParsePrefix(part)}
	}
	w := newWorld(t, boxes("h1", 7, compute.GangNet{}), boxes("h2", 7, net("10.30.0.16/31")), boxes("h3", 7, net("10.30.0.32/31")))
	of := func(nodes int, cpus float64) compute.SubmitRequest {
		r := gang(nodes, `[ "$SKYPILOT_NODE_RANK" = 0 ] && echo "$SKYPILOT_NODE_IPS" > "$SLUICE_CHECKPOINT_DIR/ips.new" && mv "$SLUICE_CHECKPOINT_DIR/ips.new" "$SLUICE_CHECKPOINT_DIR/ips"; exec sleep 600`)
		r.Task.Resources.CPUs = cpus
		return r
	}
	runs := func(id, want string) {
		t.Helper()
		w.start(id)
		file := filepath.Join(w.dir, "jobs", id, "checkpoint", "ips")
		w.until("it says where it is", func() bool { _, err := os.Stat(file); return err == nil })
		b, _ := os.ReadFile(file)
		got := strings.Fields(string(b))
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s is on %v at %s, want %s", id, w.job(id).Hosts, got, want)
		}
	}
	_, err := w.svc.Submit(t.Context(), w.Now(), of(7, 2))
	wantKind(t, err, sluice.Invalid)
	if err == nil || !strings.Contains(err.Error(), "only 6 in containers that reach each other") || !strings.Contains(err.Error(), "gang_network") {
		t.Error(err)
	}
	runs(w.submit(of(2, 2)).ID, "127.0.0.1 127.0.0.1")
	if err := w.svc.Block("h1", compute.BlockedByHand, "it has no network"); err != nil {
		t.Fatal(err)
	}
	a, b, c := w.submit(of(2, 4)).ID, w.submit(of(2, 2)).ID, w.submit(of(2, 1)).ID
	first := w.job(w.svc.Jobs()[0].ID)
	if err := w.svc.Preempt(t.Context(), w.Now(), first.ID, ""); err != nil {
		t.Fatal(err)
	}
	w.reach(first.ID, compute.Queued)
	runs(a, "10.30.0.16 10.30.0.32")
	runs(b, "10.30.0.17 10.30.0.33")
	err = w.svc.Start(t.Context(), w.Now(), c, "")
	if wantKind(t, err, sluice.Conflict); err == nil || !strings.Contains(err.Error(), "no address left on the network gangs") {
		t.Error(err)
	}
	w.restart()
	if err := w.svc.Block("h1", compute.BlockedByHand, "it has no network"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.svc.Start(t.Context(), w.Now(), c, ""), sluice.Conflict)
	if err := w.svc.Preempt(t.Context(), w.Now(), a, ""); err != nil {
		t.Fatal(err)
	}
	w.reach(a, compute.Queued)
	w.start(c)
	if hosts := w.job(c).Hosts; hosts[0] != hosts[1] {
		t.Errorf("with room on one host it is on %v", hosts)
	}
}
