package site

import (
	"sort"
	"time"

	"sluice"
)

// alarmBook holds the open alarms; one for each name and subject.
type alarmBook struct {
	open  map[string]*Alarm
	next  int64
	dirty []Alarm
}

func (b *alarmBook) init() { b.open = map[string]*Alarm{}; b.next = 1 }

// alarm raises an alarm unless the same is open already. The caller holds s.mu.
func (s *Site) alarm(at time.Time, sev sluice.Severity, name, subject, text, hint string) {
	key := name + "\x00" + subject
	if s.alarms.open[key] != nil {
		return
	}
	a := &Alarm{ID: s.alarms.next, At: at, Severity: sev, Name: name, Subject: subject, Text: text, Hint: hint}
	s.alarms.next++
	s.alarms.open[key] = a
	s.alarms.dirty = append(s.alarms.dirty, *a)
	s.log.Warn("alarm", "name", name, "subject", subject, "severity", string(sev), "text", text, "hint", hint)
	s.events.send(Event{Kind: "alarm", Data: *a})
}

// clearAlarm ends an alarm. The caller holds s.mu.
func (s *Site) clearAlarm(at time.Time, name, subject string) {
	if len(s.alarms.open) == 0 {
		return
	}
	key := name + "\x00" + subject
	a := s.alarms.open[key]
	if a == nil {
		return
	}
	t := at
	a.ClearedAt = &t
	delete(s.alarms.open, key)
	s.alarms.dirty = append(s.alarms.dirty, *a)
	s.log.Info("alarm cleared", "name", name, "subject", subject)
	s.events.send(Event{Kind: "alarm", Data: *a})
}

// setAlarm raises or clears by the condition. The caller holds s.mu.
func (s *Site) setAlarm(on bool, at time.Time, sev sluice.Severity, name, subject, text, hint string) {
	if on {
		s.alarm(at, sev, name, subject, text, hint)
	} else {
		s.clearAlarm(at, name, subject)
	}
}

// openAlarms lists the open alarms, the gravest and newest first.
func (s *Site) openAlarms() []Alarm {
	out := make([]Alarm, 0, len(s.alarms.open))
	for _, a := range s.alarms.open {
		out = append(out, *a)
	}
	rank := map[sluice.Severity]int{sluice.Critical: 0, sluice.Warning: 1, sluice.Info: 2}
	sort.Slice(out, func(i, j int) bool {
		if a, b := rank[out[i].Severity], rank[out[j].Severity]; a != b {
			return a < b
		}
		return out[i].ID > out[j].ID
	})
	return out
}
