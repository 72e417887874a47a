package compute

import (
	"fmt"
	"time"

	"sluice"
)

// look answers what is asked of many waiting jobs in one hold of mu, each question
// once: ten thousand jobs that wait for ten thousand others are no hundred million
// questions.
type look struct {
	s       *Service
	units   map[string]int          // held, by tenant
	running map[string]int          // by array
	owed    map[string]sluice.Money // used and not posted, by tenant
	oldest  map[[2]string]*entry    // open, by tenant and name
	byIndex map[string]map[int][]*entry
	known   map[question]answer
}

// question is a dependency on a job or array of a tenant.
type question struct {
	tenant, kind, id string
	delay            time.Duration
}

// answer is what is still waited for, and whether it can never come.
type answer struct {
	why   string
	never bool
}

// look begins one. Callers hold mu for as long as they use it.
func (s *Service) look() *look {
	return &look{s: s, byIndex: map[string]map[int][]*entry{}, known: map[question]answer{}}
}

// holds says why a waiting job may not start, or "".
func (l *look) holds(e *entry) string {
	if l.units == nil {
		l.units, l.running = map[string]int{}, map[string]int{}
		for _, x := range l.s.active {
			l.units[x.Job.Tenant] += x.Job.Units
			l.running[x.Job.Array]++
		}
	}
	return l.holdsIn(e, l.units[e.Job.Tenant], l.running[e.Job.Array])
}

// took counts a job that has got its units since.
func (l *look) took(e *entry) {
	if l.units != nil {
		l.units[e.Job.Tenant] += e.Job.Units
		l.running[e.Job.Array]++
	}
}

// holdsIn is holds where the tenant holds so many units and so many jobs of the
// array run.
func (l *look) holdsIn(e *entry, units, array int) string {
	if why, never := l.depends(e); why != "" || never {
		return why
	}
	if a := e.Task.ArrayTask; a != nil && a.Most > 0 && array >= a.Most {
		return fmt.Sprintf("%d of its array run, which is the most that it wants at once", array)
	}
	t, known := l.s.tenant(e.Job.Tenant)
	if !known {
		return fmt.Sprintf("there is no tenant %q any more", e.Job.Tenant)
	}
	why, _ := t.MayStart(l.spent(t), units, e.Job.Units)
	return why
}

// spent is what a tenant with a spending limit has spent, posted or not.
func (l *look) spent(t Tenant) sluice.Money {
	if t.SpendLimit <= 0 {
		return 0
	}
	if l.owed == nil {
		l.owed = map[string]sluice.Money{}
		for _, e := range l.s.unbilled {
			l.owed[e.Job.Tenant] += e.soFar() - e.BilledUSD
		}
	}
	return l.s.posted[t.Name] + l.owed[t.Name]
}

// depends says what a job still waits for, and whether that can never come.
func (l *look) depends(e *entry) (why string, never bool) {
	any, met := false, false
	for _, d := range e.Task.After {
		w, n := l.dependency(e, d)
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

func (l *look) dependency(e *entry, d Dependency) (why string, never bool) {
	if d.Kind == "singleton" {
		if x := l.first(e); x != nil && x.number < e.number {
			return "an older job of its name has not ended: " + x.Job.ID, false
		}
		return "", false
	}
	for _, id := range d.Jobs {
		var a answer
		if d.Kind == "aftercorr" && e.Job.ArrayIndex != nil && len(l.s.arrays[id]) > 0 {
			a = l.among(e.Job.Tenant, d, l.indexed(id)[*e.Job.ArrayIndex])
		} else {
			q := question{e.Job.Tenant, d.Kind, id, d.Delay}
			var known bool
			if a, known = l.known[q]; !known {
				a = l.among(e.Job.Tenant, d, l.s.members(id))
				l.known[q] = a
			}
		}
		if a.why != "" || a.never {
			return a.why, a.never
		}
	}
	return "", false
}

// first is the oldest open job of the same tenant and name.
func (l *look) first(e *entry) *entry {
	if l.oldest == nil {
		l.oldest = map[[2]string]*entry{}
		for _, x := range l.s.open {
			k := [2]string{x.Job.Tenant, x.Job.Name}
			if o := l.oldest[k]; !x.Job.State.Ended() && (o == nil || x.number < o.number) {
				l.oldest[k] = x
			}
		}
	}
	return l.oldest[[2]string{e.Job.Tenant, e.Job.Name}]
}

// indexed is an array by index.
func (l *look) indexed(id string) map[int][]*entry {
	if m := l.byIndex[id]; m != nil {
		return m
	}
	m := map[int][]*entry{}
	for _, x := range l.s.arrays[id] {
		if x.Job.ArrayIndex != nil {
			m[*x.Job.ArrayIndex] = append(m[*x.Job.ArrayIndex], x)
		}
	}
	l.byIndex[id] = m
	return m
}

// among says what a dependency of a tenant's job on others still waits for.
func (l *look) among(tenant string, d Dependency, others []*entry) answer {
	for _, x := range others {
		if x.Job.Tenant != tenant {
			return answer{"there is no job " + x.Job.ID, true}
		}
		st := x.Job.State
		switch d.Kind {
		case "after":
			if st == Queued && x.Job.Runs == 0 {
				return answer{x.Job.ID + " has not begun", false}
			}
			if x.Job.BeganAt != nil && d.Delay > 0 {
				if left := x.Job.BeganAt.Add(d.Delay).Sub(l.s.cfg.Now()); left > 0 {
					return answer{fmt.Sprintf("%s has begun, it waits %s more", x.Job.ID, left.Round(time.Second)), false}
				}
			}
		case "afterany":
			if !st.Ended() {
				return answer{x.Job.ID + " has not ended", false}
			}
		case "afternotok":
			if st == Succeeded {
				return answer{x.Job.ID + " has succeeded", true}
			}
			if !st.Ended() {
				return answer{x.Job.ID + " has not ended", false}
			}
		default: // afterok, aftercorr
			if st.Ended() && st != Succeeded {
				return answer{x.Job.ID + " is " + string(st), true}
			}
			if !st.Ended() {
				return answer{x.Job.ID + " has not ended", false}
			}
		}
	}
	return answer{}
}
