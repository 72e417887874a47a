package site

import (
	"encoding/json"
	"strings"

	"sluice/device"
)

// lessonsPerTurn bounds how many lessons of machines a turn stores: a command goes
// out after the turn is kept, and what was learned can wait.
const lessonsPerTurn = 400

// firmwareLesson is what is kept of a firmware.
type firmwareLesson struct {
	Times map[string]*times      `json:"times"` // by lane and direction
	Lanes map[string]device.Lane `json:"lanes,omitempty"`
}

// lessons adds to a turn what was learned since it was last kept, and returns
// what to call when it is. The caller holds s.mu.
func (s *Site) lessons(t *Turn) (kept func()) {
	add := func(kind, key string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			s.log.Error("what was learned cannot be written", "kind", kind, "of", key, "err", err)
			return
		}
		t.Lessons = append(t.Lessons, Lesson{Kind: kind, Key: key, Doc: b})
	}
	byLane := func(in map[lane]*times) map[string]*times {
		out := make(map[string]*times, len(in))
		for l, x := range in {
			out[l.key()] = x
		}
		return out
	}
	var firmwares []string
	for name := range s.learned.dirty {
		firmwares = append(firmwares, name)
		add(LessonFirmware, name, firmwareLesson{byLane(s.learned.firmware[name]), s.learned.lanes[name]})
	}
	var machines []*miner
	for m := range s.unlearned {
		if len(machines) == lessonsPerTurn {
			break
		}
		machines = append(machines, m)
		add(LessonDevice, m.spec.Name, byLane(m.times))
	}
	var curves []*curve
	for c, modes := range s.curves {
		for i, k := range modes {
			if k != nil && k.fresh >= curveSaves {
				curves = append(curves, k)
				add(LessonCurve, c.spec.Name+"/"+c.modes[i].Name, k)
			}
		}
	}
	delays := s.learned.newDelays
	if delays {
		add(LessonDelay, "", &s.learned.delays)
	}
	return func() {
		s.learned.newDelays = s.learned.newDelays && !delays
		for _, name := range firmwares {
			delete(s.learned.dirty, name)
		}
		for _, m := range machines {
			delete(s.unlearned, m)
		}
		for _, k := range curves {
			k.fresh = 0
		}
	}
}

// recall takes up what an earlier process has learned. What cannot be read is
// learned again.
func (s *Site) recall(lessons []Lesson) {
	for _, l := range lessons {
		var err error
		switch l.Kind {
		case LessonFirmware:
			var f firmwareLesson
			if err = json.Unmarshal(l.Doc, &f); err == nil {
				s.learned.firmware[l.Key] = lanes(f.Times)
				if len(f.Lanes) > 0 {
					s.learned.lanes[l.Key] = f.Lanes
				}
			}
		case LessonDelay:
			err = json.Unmarshal(l.Doc, &s.learned.delays)
		case LessonDevice:
			var byLane map[string]*times
			if m := s.minerBy[l.Key]; m != nil {
				if err = json.Unmarshal(l.Doc, &byLane); err == nil {
					m.times = lanes(byLane)
				}
			}
		case LessonCurve:
			name, mode, _ := strings.Cut(l.Key, "/")
			if c := s.classBy[name]; c != nil {
				err = s.recallCurve(c, mode, l.Doc)
			}
		}
		if err != nil {
			s.log.Warn("what was learned earlier cannot be read, and is learned again", "kind", l.Kind, "of", l.Key, "err", err)
		}
	}
}

func lanes(in map[string]*times) map[lane]*times {
	out := make(map[lane]*times, len(in))
	for key, x := range in {
		if l, ok := laneOfKey(key); ok && x != nil {
			out[l] = x
		}
	}
	return out
}

// askLanes asks a machine for its dialect's own figures, once for each firmware.
// The caller does not hold s.mu.
func (s *Site) askLanes(fw string, ask func() (map[string]device.Lane, error)) {
	s.mu.Lock()
	_, known := s.learned.lanes[fw]
	if !known {
		s.learned.lanes[fw] = nil // nobody else asks
	}
	s.mu.Unlock()
	if known {
		return
	}
	got, err := ask()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.learned.asked[fw]++
		if s.learned.asked[fw] < 5 {
			delete(s.learned.lanes, fw)
		}
		return
	}
	if len(got) > 0 {
		s.learned.lanes[fw] = got
		s.learned.dirty[fw] = true
		for _, t := range s.learned.firmware[fw] {
			t.p50, t.p95 = 0, 0
		}
	}
}
