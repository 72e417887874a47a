package site

import (
	"math"
	"sort"
)

// Responses is what is known of how soon power moves: GET /api/v1/fleet/response.
type Responses struct {
	// DelayS is what passes in Sluice itself between an order and nearly every
	// first command, in seconds of site time.
	DelayS    float64    `json:"delay_s"`
	Firmwares []Response `json:"firmwares"`
}

// Response is what is known of one lane of a firmware or of a machine, in seconds
// of site time from the first command to the proof.
type Response struct {
	Firmware  string   `json:"firmware"`
	Lane      string   `json:"lane"`      // sleep, wake, profile, power, throttle
	Direction string   `json:"direction"` // down or up
	Samples   int      `json:"samples"`   // acts that are remembered
	Events    int      `json:"events,omitempty"`
	Never     int      `json:"never"`           // of them refused, ignored or unanswered
	P50S      *float64 `json:"p50_s,omitempty"` // absent where half never do
	P95S      *float64 `json:"p95_s,omitempty"` // absent where that many never do
	DialectS  float64  `json:"dialect_s"`       // the figure that counts while little is measured
}

// Responses lists what was learned of each firmware.
func (s *Site) Responses() Responses {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Responses{DelayS: s.delay().Seconds(), Firmwares: []Response{}}
	for fw, byLane := range s.learned.firmware {
		for l, t := range byLane {
			r := s.response(fw, l, t, s.general(fw, l))
			seen := map[int32]bool{}
			for _, e := range t.event {
				seen[e] = true
			}
			r.Events = len(seen)
			out.Firmwares = append(out.Firmwares, r)
		}
	}
	sortResponses(out.Firmwares)
	return out
}

func sortResponses(rs []Response) {
	sort.Slice(rs, func(i, j int) bool {
		a, b := rs[i], rs[j]
		if a.Firmware != b.Firmware {
			return a.Firmware < b.Firmware
		}
		if a.Lane != b.Lane {
			return a.Lane < b.Lane
		}
		return a.Direction < b.Direction
	})
}

func (s *Site) response(fw string, l lane, t *times, d []atom) Response {
	r := Response{Firmware: fw, Lane: l.name, Direction: l.direction(), Samples: t.n(), Never: t.failed(), DialectS: s.dialect(fw, l)}
	set := func(p float64) *float64 {
		if q := quantile(d, p); !math.IsInf(q, 1) {
			q = math.Round(q*1000) / 1000
			return &q
		}
		return nil
	}
	r.P50S, r.P95S = set(0.5), set(0.95)
	return r
}

// responsesOf lists what was learned of a machine, drawn toward its firmware. The
// caller holds s.mu.
func (s *Site) responsesOf(m *miner) []Response {
	fw := s.firmwareOf(m)
	var out []Response
	for l, t := range m.times {
		out = append(out, s.response(fw, l, t, mixed(t, s.general(fw, l))))
	}
	sortResponses(out)
	return out
}
