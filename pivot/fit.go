package pivot

import (
	"cmp"
	"math"
	"slices"

	"sluice/dispatch"
)

// slack is by how many kW a load may be over a limit: rounding.
const slack = 1e-6

// miner is one machine of a class in a week without limits.
type miner struct {
	settled
	class *dispatch.Class
	mode  []int // by hour, of the class's
	best  []int // by hour, what would earn most if waking cost nothing
}

// margin is what the machine earns in the mode over an hour after energy.
func (m *miner) margin(w *week, mode, h int) float64 {
	x := &m.class.Modes[mode]
	return x.USDPerHour.At(h) - w.price[h]/1000*x.PowerKW
}

// fitted is a plan of a plant that was found without solving for it.
type fitted struct {
	serve [][]float64   // by part and hour: the share that is served
	modes [][][]float64 // by class, hour and mode: the share of the machines; nil: as without limits
	gap   float64       // no plan is worth more than this one and the gap, in USD
}

// fit looks for the best plan under the limits without solving for it. It says so
// where it finds none: then the plant has to be solved.
//
// Where the plan without limits keeps them, it is the best under them too. Where
// the load is over the connection's limit, each such hour is a question of its
// own: what loses least for a kW steps down first, be it a machine that goes into
// a lower mode or AI that is not served. That leaves out only what the machines
// lose that have to wake again for it, so that the plan is the best one but for
// this. How far it may be from the best is proven: no plan earns more than if
// waking cost nothing in the whole week.
func (t *table) fit(w *week, at *plant, miners []miner, parts []part, serving [][]float64, kw float64) (fitted, bool) {
	f := fitted{serve: serving}
	if !t.nodesFit(at, miners) {
		return f, false
	}
	lost := 0.0 // to the limit, if waking cost nothing
	for h := range hoursPerWeek {
		limit := t.p.limit(w, kw, h)
		if over := loadAt(at, miners, parts, serving, h, false) - limit; over > slack {
			if f.modes == nil {
				f.serve = slices.Clone(serving)
				for i := range f.serve {
					f.serve[i] = slices.Clone(serving[i])
				}
				f.modes = make([][][]float64, len(miners))
			}
			if _, ok := f.stepDown(steps(w, at, miners, parts, serving, h, false), over, miners, h); !ok {
				return f, false
			}
		}
		if over := loadAt(at, miners, parts, serving, h, true) - limit; over > slack {
			usd, ok := (*fitted)(nil).stepDown(steps(w, at, miners, parts, serving, h, true), over, miners, h)
			if !ok {
				return f, false
			}
			lost += usd
		}
	}
	if f.modes != nil {
		f.gap = t.ceiling(w, at, miners, parts, serving) - lost - t.value(w, at, miners, parts, &f)
	}
	return f, true
}

func loadAt(at *plant, miners []miner, parts []part, serving [][]float64, h int, best bool) float64 {
	load := 0.0
	for i, n := range at.kept {
		m := &miners[i]
		mode := m.mode[h]
		if best {
			mode = m.best[h]
		}
		load += float64(n) * m.class.Modes[mode].PowerKW
	}
	for i := range parts {
		load += parts[i].kwAt(serving[i][h])
	}
	return load
}

// step is a way to draw less in an hour: a class's machines from one mode into a
// lower one, or a part of the load that is not served.
type step struct {
	kw, usdPerKW float64
	class        int // -1: a part
	from, to     int // modes; to is the part
	each         float64
}

// steps lists them for an hour, the cheapest first. Those of a class come in
// order, since each goes to the mode that loses least for a kW.
func steps(w *week, at *plant, miners []miner, parts []part, serving [][]float64, h int, best bool) []step {
	var out []step
	for i, n := range at.kept {
		m := &miners[i]
		from := m.mode[h]
		if best {
			from = m.best[h]
		}
		for n > 0 {
			to, least := -1, math.Inf(1)
			for j := range m.class.Modes {
				if kw := m.class.Modes[from].PowerKW - m.class.Modes[j].PowerKW; kw > 0 {
					if usd := (m.margin(w, from, h) - m.margin(w, j, h)) / kw; usd < least {
						to, least = j, usd
					}
				}
			}
			if to < 0 {
				break
			}
			out = append(out, step{kw: float64(n) * (m.class.Modes[from].PowerKW - m.class.Modes[to].PowerKW), usdPerKW: least, class: i, from: from, to: to})
			from = to
		}
	}
	for i := range parts {
		if each := parts[i].kw - parts[i].elseKW; serving[i][h] > 0 && each > 0 {
			out = append(out, step{kw: each * serving[i][h], usdPerKW: parts[i].lossUSDPerKW[h], class: -1, to: i, each: each})
		}
	}
	slices.SortStableFunc(out, func(a, b step) int { return cmp.Compare(a.usdPerKW, b.usdPerKW) })
	return out
}

// stepDown goes down the steps until so many kW are saved and returns what that
// loses; it is false where all of them do not save so much. Without a plan it only
// counts.
func (f *fitted) stepDown(steps []step, kw float64, miners []miner, h int) (usd float64, ok bool) {
	for _, s := range steps {
		k := min(1, kw/s.kw)
		kw -= k * s.kw
		usd += k * s.kw * s.usdPerKW
		switch {
		case f == nil:
		case s.class < 0:
			f.serve[s.to][h] -= k * s.kw / s.each
		default:
			x := f.shares(s.class, &miners[s.class])[h]
			x[s.to] += k * x[s.from]
			x[s.from] -= k * x[s.from]
		}
		if kw <= slack {
			return usd, true
		}
	}
	return usd, false
}

// shares returns the class's modes by hour, to be changed.
func (f *fitted) shares(class int, m *miner) [][]float64 {
	if f.modes[class] == nil {
		x := make([][]float64, hoursPerWeek)
		for h := range x {
			x[h] = make([]float64, len(m.class.Modes))
			x[h][m.mode[h]] = 1
		}
		f.modes[class] = x
	}
	return f.modes[class]
}

// settled adds up what a machine of the class does in the plan, on average.
func (f *fitted) settled(class int, m *miner, w *week) settled {
	if f.modes == nil || f.modes[class] == nil {
		return m.settled
	}
	out := settled{kw: make([]float64, hoursPerWeek)}
	asleep := 0.0 // before the week all are awake
	for h, x := range f.modes[class] {
		for j, share := range x {
			out.kw[h] += share * m.class.Modes[j].PowerKW
			out.usd += share * m.class.Modes[j].USDPerHour.At(h)
		}
		// Those that wake lose some of the first hour in their new mode: the modes
		// that are awake take them by their shares.
		if woken := asleep - x[0]; woken > 0 {
			for j, share := range x[1:] {
				out.usd -= woken * share / (1 - x[0]) * m.wakeUSD(j+1, h)
			}
		}
		asleep = x[0]
		out.mwh += out.kw[h] / 1000
		out.energyUSD += out.kw[h] / 1000 * w.price[h]
	}
	return out
}

func (m *miner) wakeUSD(mode, h int) float64 {
	for _, s := range m.class.Switches {
		if s.To == m.class.Modes[mode].Name {
			return s.LostMinutes / 60 * m.class.Modes[mode].USDPerHour.At(h)
		}
	}
	return 0
}

// value is what the plan is worth.
func (t *table) value(w *week, at *plant, miners []miner, parts []part, f *fitted) float64 {
	sum := 0.0
	for i, n := range at.kept {
		s := f.settled(i, &miners[i], w)
		sum += float64(n) * (s.usd - s.energyUSD)
	}
	for i := range parts {
		sum += parts[i].value(w, f.serve[i])
	}
	return sum
}

// value is what the part is worth of which the share x is served in each hour.
func (p *part) value(w *week, x []float64) float64 {
	sum := 0.0
	for h, on := range x {
		sum += on*p.usd[h] + (1-on)*p.elseUSD[h] - w.price[h]/1000*p.kwAt(on)
	}
	return sum
}

// ceiling is what no plan without limits is worth more than.
func (t *table) ceiling(w *week, at *plant, miners []miner, parts []part, serving [][]float64) float64 {
	sum := 0.0
	for i, n := range at.kept {
		for h := range hoursPerWeek {
			sum += float64(n) * miners[i].margin(w, miners[i].best[h], h)
		}
	}
	for i := range parts {
		sum += parts[i].value(w, serving[i])
	}
	return sum
}

func (p *part) kwAt(x float64) float64 { return x*p.kw + (1-x)*p.elseKW }

// nodesFit says whether the miners keep the limits below the connection.
func (t *table) nodesFit(at *plant, miners []miner) bool {
	nodes := t.p.Site.Nodes
	load := map[string][]float64{}
	for i, n := range at.kept {
		for name := t.p.Site.Classes[i].Node; name != ""; name = parentOf(nodes, name) {
			if load[name] == nil {
				load[name] = make([]float64, hoursPerWeek)
			}
			for h := range load[name] {
				load[name][h] += float64(n) * miners[i].kw[h]
			}
		}
	}
	for _, n := range nodes {
		if n.KW <= 0 || n.Parent == "" {
			continue
		}
		for _, x := range load[n.Name] {
			if x > n.KW+slack {
				return false
			}
		}
	}
	return true
}
