package site

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"sluice"
)

// What makes a point of a curve.
const (
	curveSamples = 128             // steady readings remembered of a class in a mode
	curveEnough  = 20              // from how many on they count
	curveEvery   = 5 * time.Minute // at most one reading of a machine in this time
	curveSteady  = 5 * time.Minute // how long a machine must have stood in its mode, or 4 wake times
	curveSaves   = 16              // new readings after which the point is kept
	curveStep    = 0.01            // figures that are nearer than this to those in use change nothing
	curveFar     = 0.15            // off the nameplate by more than this is an alarm
	curveNear    = 0.12            // by less than this it is over
)

// curve is what machines of a class were seen to draw and to hash in one mode:
// the newest steady readings.
type curve struct {
	W     []float32 `json:"w"`  // at the plug
	TH    []float32 `json:"th"` // TH/s
	Next  int       `json:"next"`
	fresh int       // readings since it was kept
	moved bool      // readings since its medians were taken
}

func (k *curve) add(w, th float32) {
	k.fresh++
	k.moved = true
	if len(k.W) < curveSamples {
		k.W, k.TH = append(k.W, w), append(k.TH, th)
		return
	}
	k.Next %= curveSamples
	k.W[k.Next], k.TH[k.Next] = w, th
	k.Next++
}

// medians: half of what is broken does not move them.
func (k *curve) medians() (w, th float64) { return median(k.W), median(k.TH) }

func median(x []float32) float64 {
	s := slices.Clone(x)
	slices.Sort(s)
	n := len(s)
	if n == 0 {
		return 0
	}
	return float64(s[(n-1)/2]+s[n/2]) / 2
}

func (k *curve) enough() bool { return k != nil && len(k.W) >= curveEnough }

// steady takes a reading for its class's curve if the machine has stood long
// enough in the mode that it reports, and says itself what it draws. The caller
// holds s.mu.
func (s *Site) steady(m *miner, at time.Time) {
	r := &m.read
	if s.o.Bare || m.cut || m.phase != settled || !r.HasPower || r.PowerSource == sluice.SourceNameplate || r.Mode != m.want ||
		at.Sub(m.steadyAt) < curveEvery || at.Sub(m.since) < max(curveSteady, 4*m.class.spec.WakeTime) || at.Before(m.badUntil) {
		return
	}
	i := slices.IndexFunc(m.class.modes, func(x sluice.Mode) bool { return x.Name == m.want })
	if i < 0 || (i > 0 && (!r.HasHashRate || r.HashRate <= 0 || r.Power <= 0)) {
		return
	}
	m.steadyAt = at
	k := s.curveOf(m.class, i)
	th := float32(0)
	if i > 0 {
		th = float32(r.HashRate)
	}
	k.add(float32(r.Power), th)
}

func (s *Site) curveOf(c *class, i int) *curve {
	if s.curves == nil {
		s.curves = map[*class][]*curve{}
	}
	if s.curves[c] == nil {
		s.curves[c] = make([]*curve, len(c.modes))
	}
	if s.curves[c][i] == nil {
		s.curves[c][i] = &curve{}
	}
	return s.curves[c][i]
}

func (s *Site) recallCurve(c *class, mode string, doc []byte) error {
	i := slices.IndexFunc(c.modes, func(x sluice.Mode) bool { return x.Name == mode })
	if i < 0 {
		return nil // no longer one of its modes
	}
	var k curve
	if err := json.Unmarshal(doc, &k); err != nil {
		return err
	}
	if len(k.W) != len(k.TH) || len(k.W) > curveSamples || k.Next < 0 {
		return sluice.Errorf(sluice.Invalid, "", "%d powers and %d hashrates", len(k.W), len(k.TH))
	}
	for j := range k.W {
		if !(k.W[j] >= 0 && k.W[j] < 1e9) || !(k.TH[j] >= 0 && k.TH[j] < 1e9) {
			return sluice.Errorf(sluice.Invalid, "", "a reading of %v W and %v TH/s", k.W[j], k.TH[j])
		}
	}
	k.moved = true
	*s.curveOf(c, i) = k
	return nil
}

// learnCurves makes the modes of each class what its machines were seen to draw
// and to hash. A mode that was not seen often enough keeps its configured figures,
// times what those that were have more or less than theirs: a class that draws 4 %
// more in one profile than its nameplate says does so in the next. Figures whose
// order is not that of the configured ones are left out. The caller holds s.mu.
func (s *Site) learnCurves(now time.Time) {
	for _, c := range s.classes {
		seen := s.curves[c]
		if !slices.ContainsFunc(seen, func(k *curve) bool { return k != nil && k.moved }) {
			continue
		}
		for _, k := range seen {
			if k != nil {
				k.moved = false
			}
		}
		s.farOff(c, now)
		if modes, ok := learned(c.plate, seen); ok && moved(c.modes, modes) {
			copy(c.modes, modes)
		}
	}
}

// moved says whether new figures differ from those in use by so much that plans
// should follow.
func moved(use, found []sluice.Mode) bool {
	far := func(a, b float64) bool { return math.Abs(a-b) > curveStep*math.Max(a, b) }
	for i := 1; i < len(use); i++ {
		if far(float64(use[i].Power), float64(found[i].Power)) || far(float64(use[i].HashRate), float64(found[i].HashRate)) {
			return true
		}
	}
	return dist(use[0].Power, found[0].Power) > sluice.Watts(curveStep*float64(use[len(use)-1].Power))
}

// learned are the modes by what was seen of them; false where that makes no
// curve.
func learned(plate []sluice.Mode, seen []*curve) ([]sluice.Mode, bool) {
	out := slices.Clone(plate)
	var moreW, moreTH []float32
	for i := 1; i < len(plate); i++ {
		if seen[i].enough() && plate[i].Power > 0 && plate[i].HashRate > 0 {
			w, th := seen[i].medians()
			moreW = append(moreW, float32(w/float64(plate[i].Power)))
			moreTH = append(moreTH, float32(th/float64(plate[i].HashRate)))
		}
	}
	for i := range out {
		switch {
		case seen[i].enough():
			w, th := seen[i].medians()
			out[i].Power = sluice.Watts(math.Round(w))
			if i > 0 {
				out[i].HashRate = sluice.HashRate(th)
			}
		case i > 0 && len(moreW) > 0:
			out[i].Power = sluice.Watts(math.Round(float64(plate[i].Power) * median(moreW)))
			out[i].HashRate = sluice.HashRate(float64(plate[i].HashRate) * median(moreTH))
		}
		if i > 0 && (out[i].Power <= out[i-1].Power || (out[i].HashRate <= out[i-1].HashRate) != (plate[i].HashRate <= plate[i-1].HashRate)) {
			return nil, false
		}
	}
	return out, true
}

// farOff raises an alarm for each mode whose figures are far from the configured
// ones. The caller holds s.mu.
func (s *Site) farOff(c *class, now time.Time) {
	for i := 1; i < len(c.plate); i++ {
		k := s.curves[c][i]
		if !k.enough() || c.plate[i].Power <= 0 {
			continue
		}
		w, th := k.medians()
		off := math.Abs(w/float64(c.plate[i].Power) - 1)
		if h := float64(c.plate[i].HashRate); h > 0 {
			off = max(off, math.Abs(th/h-1))
		}
		subject := c.spec.Name + "/" + c.plate[i].Name
		switch {
		case off > curveFar:
			s.alarm(now, sluice.Warning, "curve-off", subject,
				fmt.Sprintf("draws %.0f W and hashes %.1f TH/s by its machines' readings, %v and %.1f TH/s by the configuration", w, th, c.plate[i].Power, float64(c.plate[i].HashRate)),
				"plans go by what was measured; correct classes[].modes, or look at what is wrong with the machines")
		case off < curveNear:
			s.clearAlarm(now, "curve-off", subject)
		}
	}
}

// Curve is what a class draws and hashes, mode by mode: GET /api/v1/fleet/curves.
type Curve struct {
	Class string `json:"class"`
	Model string `json:"model"`
	// MeterScale is what the meter above shows for each unit that the readings
	// below it add up to, overhead included; absent where there is no meter. Limits
	// have the difference taken off already; it does not enter the modes.
	MeterScale float64      `json:"meter_scale,omitempty"`
	Modes      []CurvePoint `json:"modes"`
}

// CurvePoint is one mode of a Curve.
type CurvePoint struct {
	Mode        string  `json:"mode"`
	PowerW      float64 `json:"power_w"`      // that plans use, at the plug
	HashrateTHs float64 `json:"hashrate_ths"` // that plans use
	Source      string  `json:"source"`       // measured, scaled (by its class's measured modes), configured
	Samples     int     `json:"samples"`      // steady readings that count
	PlateW      float64 `json:"configured_power_w"`
	PlateTHs    float64 `json:"configured_hashrate_ths"`
	// MeterW is PowerW times MeterScale.
	MeterW float64 `json:"meter_power_w,omitempty"`
	// JTH is the average, MarginalJTH what each further TH/s costs from the mode
	// below on; absent where nothing is hashed.
	JTH         float64 `json:"j_per_th,omitempty"`
	MarginalJTH float64 `json:"marginal_j_per_th,omitempty"`
}

// Curves lists what is known of each class's modes, the least power first.
func (s *Site) Curves() []Curve {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := s.sum()
	out := make([]Curve, 0, len(s.classes))
	for _, c := range s.classes {
		v := Curve{Class: c.spec.Name, Model: c.spec.Model, Modes: []CurvePoint{}, MeterScale: s.meterScale(c.node, by)}
		measured := false
		for _, k := range s.curves[c] {
			measured = measured || k.enough()
		}
		for i, x := range c.modes {
			p := CurvePoint{
				Mode: x.Name, PowerW: float64(x.Power), HashrateTHs: float64(x.HashRate), Source: "configured",
				PlateW: float64(c.plate[i].Power), PlateTHs: float64(c.plate[i].HashRate), MeterW: math.Round(float64(x.Power) * v.MeterScale),
			}
			if ks := s.curves[c]; ks != nil && ks[i] != nil {
				p.Samples = len(ks[i].W)
				if ks[i].enough() {
					p.Source = "measured"
				}
			}
			if p.Source == "configured" && measured && x != c.plate[i] {
				p.Source = "scaled"
			}
			if x.HashRate > 0 {
				p.JTH = float64(x.Power) / float64(x.HashRate)
			}
			if i > 0 {
				if dh := float64(x.HashRate - c.modes[i-1].HashRate); dh > 0 {
					p.MarginalJTH = float64(x.Power-c.modes[i-1].Power) / dh
				}
			}
			v.Modes = append(v.Modes, p)
		}
		out = append(out, v)
	}
	return out
}

// meterScale is what the nearest meter above shows for each watt of readings, 0
// where there is none. The caller holds s.mu.
func (s *Site) meterScale(n *node, by sums) float64 {
	for ; n != nil; n = n.parent {
		if n.spec.Meter != nil && !n.meterAt.IsZero() && s.now.Sub(n.meterAt) <= s.o.MaxReadingAge && by.load[n] > 0 {
			return float64(n.meter) / float64(by.load[n])
		}
	}
	return 0
}
