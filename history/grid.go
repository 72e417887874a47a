package history

import (
	"math"
	"time"
)

// Grid is a whole series in memory: Values[i] is the value of
// [Start + i·Step, Start + (i+1)·Step), NaN where it is unknown.
type Grid struct {
	Start    time.Time
	Step     time.Duration
	Column   string // the value's, as the file names it
	Values   []float64
	Findings []Finding
}

// Read reads a whole series.
func Read(spec Spec) (*Grid, error) {
	s, err := Open(spec)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	g := &Grid{Step: s.Step(), Column: s.Column()}
	for {
		r, err := s.Next()
		if err != nil {
			if s.Err() != nil {
				return nil, err
			}
			g.Findings = s.Findings()
			return g, nil
		}
		if len(g.Values) == 0 {
			g.Start = r.At
		}
		g.Values = append(g.Values, r.Value)
	}
}

// At returns the value of the interval that holds t; false where it is not known.
func (g *Grid) At(t time.Time) (float64, bool) {
	d := t.Sub(g.Start)
	if d < 0 || d/g.Step >= time.Duration(len(g.Values)) || math.IsNaN(g.Values[d/g.Step]) {
		return math.NaN(), false
	}
	return g.Values[d/g.Step], true
}

// Time returns the start of the i-th interval.
func (g *Grid) Time(i int) time.Time { return g.Start.Add(time.Duration(i) * g.Step) }
