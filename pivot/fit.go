package pivot

import (
	"cmp"
	"slices"
)

// slack is by how many kW a load may be over a limit: rounding.
const slack = 1e-6

// fit looks for the best plan under the limits without solving for it, and says
// which share of each part is served in each hour. It has two cases.
//
// The plan without limits keeps them. It is then the best under them too.
//
// It is over the connection's limit, and wherever it is, all miners stand in their
// modes of least power. Then no plan leaves more room for the load in these hours,
// and none earns more with the miners; the load has no cost of switching, so that
// each hour is a question of its own: what must not be served costs least where
// the loss for a kW is least. That plan is the best.
//
// In any other case it says so, and the plant has to be solved.
func (t *table) fit(w *week, at *plant, miners []settled, parts []part, serving [][]float64, kw float64) ([][]float64, bool) {
	if !t.nodesFit(at, miners) {
		return nil, false
	}
	x := make([][]float64, len(parts))
	copy(x, serving)
	for h := range hoursPerWeek {
		load, least := 0.0, 0.0
		for i, n := range at.kept {
			load += float64(n) * miners[i].kw[h]
			least += float64(n) * t.p.Site.leastKW(i)
		}
		room := t.p.limit(w, kw, h) - load
		for i := range parts {
			room -= parts[i].kwAt(x[i][h])
		}
		if room >= -slack {
			continue
		}
		if len(parts) == 0 || load > least+slack || !w.called[h] {
			return nil, false
		}
		for i := range x {
			if &x[i][0] == &serving[i][0] {
				x[i] = slices.Clone(x[i])
			}
		}
		if !shed(parts, x, h, -room) {
			return nil, false
		}
	}
	return x, true
}

// shed serves less in an hour until so many kW are saved, beginning with what
// loses least for a kW.
func shed(parts []part, x [][]float64, h int, kw float64) bool {
	order := make([]int, len(parts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(parts[a].lossUSDPerKW[h], parts[b].lossUSDPerKW[h]) })
	for _, i := range order {
		each := parts[i].kw - parts[i].elseKW
		part := min(x[i][h], kw/each)
		x[i][h] -= part
		kw -= part * each
		if kw <= slack {
			return true
		}
	}
	return false
}

func (p *part) kwAt(x float64) float64 { return x*p.kw + (1-x)*p.elseKW }

// leastKW is the least that a machine of the class draws, at the meter.
func (s *Site) leastKW(class int) float64 {
	least := slices.MinFunc(s.Classes[class].Modes, func(a, b Mode) int { return cmp.Compare(a.KW, b.KW) })
	return least.KW * s.Overhead.Value
}

// nodesFit says whether the miners keep the limits below the connection.
func (t *table) nodesFit(at *plant, miners []settled) bool {
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
