package compute

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"sluice"
)

// shareHalf is the time in which what a tenant has used counts half for its fair
// share.
const shareHalf = 24 * time.Hour

// used is what a tenant has had lately, in unit-seconds.
type used struct {
	sec float64
	at  time.Time
}

func (u used) now(t time.Time) float64 {
	return u.sec * math.Exp2(-max(0, t.Sub(u.at).Hours())/shareHalf.Hours())
}

// share adds to what a tenant has had. Callers hold mu.
func (s *Service) share(tenant string, sec float64) {
	now := s.cfg.Now()
	s.shares[tenant] = used{s.shares[tenant].now(now) + sec, now}
}

// seedShare counts a job of before a restart. Callers hold mu.
func (s *Service) seedShare(r Record, now time.Time) {
	at := now
	if r.Job.EndedAt != nil {
		at = *r.Job.EndedAt
	}
	u := used{float64(r.UsedMS) / 1000, at}
	s.shares[r.Job.Tenant] = used{s.shares[r.Job.Tenant].now(now) + u.now(now), now}
}

// Open returns the jobs that have not ended: those that hold units, the oldest
// first, then those that wait, in the order in which they should go: by priority,
// then in turns so that each tenant gets its share of the units, then by age. A
// job that may not start yet says why in Held, and stands behind those that may.
func (s *Service) Open() []Job {
	s.refresh()
	s.mu.Lock()
	defer s.mu.Unlock()
	var active, waiting []*entry
	for _, e := range s.open {
		if e.Job.State == Queued {
			waiting = append(waiting, e)
		} else {
			active = append(active, e)
		}
	}
	older := func(a, b *entry) int { return cmp.Compare(a.number, b.number) }
	slices.SortFunc(active, older)
	slices.SortFunc(waiting, older)
	waiting = s.inTurn(waiting)
	out := make([]Job, 0, len(active)+len(waiting))
	for _, e := range active {
		out = append(out, s.view(e))
	}
	units, arrays := map[string]int{}, map[string]int{}
	for _, e := range s.active {
		units[e.Job.Tenant] += e.Job.Units
		arrays[e.Job.Array]++
	}
	var held []Job
	for _, e := range waiting {
		j := s.view(e)
		if j.Held = s.holdsIn(e, units[j.Tenant], arrays[j.Array]); j.Held != "" {
			held = append(held, j)
			continue
		}
		units[j.Tenant] += j.Units
		arrays[j.Array]++
		out = append(out, j)
	}
	return append(out, held...)
}

// Active returns the jobs that hold units, the oldest first, without asking how
// they are.
func (s *Service) Active() []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Job, 0, len(s.active))
	for _, e := range s.active {
		out = append(out, s.view(e))
	}
	slices.SortFunc(out, func(a, b Job) int { return cmp.Compare(a.number(), b.number()) })
	return out
}

// inTurn orders waiting jobs, which are sorted by age. Of each priority the next
// job is that of the tenant that has had least for its weight, what it holds, has
// had lately and would have got by then counted in. Callers hold mu.
func (s *Service) inTurn(waiting []*entry) []*entry {
	if len(waiting) < 2 {
		return waiting
	}
	now := s.cfg.Now()
	had, weight, byTenant := map[string]float64{}, map[string]float64{}, map[int]map[string][]*entry{}
	var priorities []int
	for _, e := range waiting {
		t := e.Job.Tenant
		if _, ok := had[t]; !ok {
			policy, _ := s.tenant(t)
			had[t], weight[t] = s.shares[t].now(now), cmp.Or(policy.Weight, 1)
		}
		p := e.Job.Priority
		if byTenant[p] == nil {
			byTenant[p] = map[string][]*entry{}
			priorities = append(priorities, p)
		}
		byTenant[p][t] = append(byTenant[p][t], e)
	}
	for _, e := range s.active {
		if _, ok := had[e.Job.Tenant]; ok {
			had[e.Job.Tenant] += float64(e.liveMS()) / 1000
		}
	}
	slices.SortFunc(priorities, func(a, b int) int { return cmp.Compare(b, a) })
	out := make([]*entry, 0, len(waiting))
	for _, p := range priorities {
		queues := byTenant[p]
		for len(queues) > 0 {
			next := ""
			for t := range queues {
				a, b := had[t]/weight[t], had[next]/weight[next]
				if next == "" || a < b || a == b && queues[t][0].number < queues[next][0].number {
					next = t
				}
			}
			e := queues[next][0]
			out = append(out, e)
			had[next] += float64(e.Job.Units) * cmp.Or(e.Job.ExpectSeconds, 3600)
			if queues[next] = queues[next][1:]; len(queues[next]) == 0 {
				delete(queues, next)
			}
		}
	}
	return out
}

// heldUnits is what a tenant holds now. Callers hold mu.
func (s *Service) heldUnits(tenant string) int {
	n := 0
	for _, e := range s.active {
		if e.Job.Tenant == tenant {
			n += e.Job.Units
		}
	}
	return n
}

// holds says why a waiting job may not start, or "". Callers hold mu.
func (s *Service) holds(e *entry) string {
	running, units := 0, 0
	if t, _ := s.tenant(e.Job.Tenant); t.MaxUnits > 0 {
		units = s.heldUnits(t.Name)
	}
	if a := e.Task.ArrayTask; a != nil && a.Most > 0 {
		for _, x := range s.active {
			if x.Job.Array == e.Job.Array {
				running++
			}
		}
	}
	return s.holdsIn(e, units, running)
}

func (s *Service) holdsIn(e *entry, units, array int) string {
	if why, never := s.depends(e); why != "" || never {
		return why
	}
	if a := e.Task.ArrayTask; a != nil && a.Most > 0 && array >= a.Most {
		return fmt.Sprintf("%d of its array run, which is the most that it wants at once", array)
	}
	t, known := s.tenant(e.Job.Tenant)
	if !known {
		return fmt.Sprintf("there is no tenant %q any more", e.Job.Tenant)
	}
	why, _ := t.MayStart(s.posted[t.Name]+s.unpostedOf(t), units, e.Job.Units)
	return why
}

// unpostedOf is unposted where it counts. Callers hold mu.
func (s *Service) unpostedOf(t Tenant) sluice.Money {
	if t.SpendLimit <= 0 {
		return 0
	}
	return s.unposted(t.Name)
}

// askSpent asks what was posted to the tenants of open jobs that have a spending
// limit: the question may reach a disk, so it is asked without a lock and its answer
// kept.
func (s *Service) askSpent(also ...string) {
	if s.cfg.Tenants == nil {
		return
	}
	ask := map[string]bool{}
	for _, t := range also {
		ask[t] = true
	}
	s.mu.Lock()
	for _, e := range s.open {
		ask[e.Job.Tenant] = true
	}
	s.mu.Unlock()
	for name := range ask {
		t, known := s.tenant(name)
		if !known || t.SpendLimit <= 0 {
			continue
		}
		m := s.cfg.Tenants.Spent(name)
		s.mu.Lock()
		s.posted[name] = m
		s.mu.Unlock()
	}
}

// depends says what a job still waits for, and whether that can never come.
// Callers hold mu.
func (s *Service) depends(e *entry) (why string, never bool) {
	any, met := false, false
	for _, d := range e.Task.After {
		w, n := s.dependency(e, d)
		if d.Any {
			any = true
			met = met || w == "" && !n
			if w != "" {
				why, never = w, n
			}
			continue
		}
		if w != "" || n {
			return w, n
		}
	}
	if any && met {
		return "", false
	}
	return why, never
}

func (s *Service) dependency(e *entry, d Dependency) (why string, never bool) {
	if d.Kind == "singleton" {
		for _, x := range s.open {
			if x.number < e.number && x.Job.Tenant == e.Job.Tenant && x.Job.Name == e.Job.Name && !x.Job.State.Ended() {
				return "an older job of its name has not ended: " + x.Job.ID, false
			}
		}
		return "", false
	}
	for _, id := range d.Jobs {
		for _, x := range s.members(id) {
			if x.Job.Tenant != e.Job.Tenant {
				return "there is no job " + id, true
			}
			if d.Kind == "aftercorr" && x.Job.ArrayIndex != nil && e.Job.ArrayIndex != nil && *x.Job.ArrayIndex != *e.Job.ArrayIndex {
				continue
			}
			st := x.Job.State
			switch d.Kind {
			case "after":
				if st == Queued && x.Job.Runs == 0 {
					return x.Job.ID + " has not begun", false
				}
				if x.Job.BeganAt != nil && d.Delay > 0 {
					if left := x.Job.BeganAt.Add(d.Delay).Sub(s.cfg.Now()); left > 0 {
						return fmt.Sprintf("%s has begun, it waits %s more", x.Job.ID, left.Round(time.Second)), false
					}
				}
			case "afterany":
				if !st.Ended() {
					return x.Job.ID + " has not ended", false
				}
			case "afternotok":
				if st == Succeeded {
					return x.Job.ID + " has succeeded", true
				}
				if !st.Ended() {
					return x.Job.ID + " has not ended", false
				}
			default: // afterok, aftercorr
				if st.Ended() && st != Succeeded {
					return x.Job.ID + " is " + string(st), true
				}
				if !st.Ended() {
					return x.Job.ID + " has not ended", false
				}
			}
		}
	}
	return "", false
}

// members is the job of an ID, or all of the array that begins with it. What was
// forgotten has ended and does not count. Callers hold mu.
func (s *Service) members(id string) []*entry {
	if all := s.arrays[id]; len(all) > 0 {
		return all
	}
	if e := s.jobs[id]; e != nil {
		return []*entry{e}
	}
	return nil
}
