package site

import (
	"slices"
	"sort"
	"time"

	"sluice"
)

// callLasts is how long an order counts as a call of what stood ready when it
// came: the longest that a reserve is called for (non-spinning reserve). A longer
// order is a limit like any other.
const callLasts = 4 * time.Hour

// call is an order in force that has dropped load, and how much it asked for.
type call struct {
	order *curtailment
	left  sluice.Watts // of what it asked for, not yet found among the machines
}

// calls lists the orders that count as calls of reserves.
func (s *Site) calls(now time.Time) []call {
	var out []call
	for _, c := range s.orders {
		asked := sluice.WattsOfKW(c.LoadBeforeKW) - s.usable(c.limit)
		if c.State == Active && asked > 0 && now.Before(c.From.Add(callLasts)) {
			out = append(out, call{c, asked})
		}
	}
	return out
}

// droppable is what each class has ready now, at the meter: what its machines,
// by their readings, could still drop, and what orders in force have dropped of
// them. Machines that Sluice may not move do not count. The caller holds s.mu.
func (s *Site) droppable(now time.Time) map[*class]sluice.Watts {
	out := make(map[*class]sluice.Watts, len(s.classes))
	calls := s.calls(now)
	for _, c := range s.classes {
		full := s.sheds(c, c.full().Power)
		if full == 0 || !s.mayAct(c) {
			continue
		}
		for _, m := range c.miners {
			if !m.available(now, s.o.MaxReadingAge) {
				continue
			}
			p, _ := m.power()
			if m.phase != settled {
				p = min(p, m.act.expect) // what goes down anyway is no longer the grid's to drop
			}
			can := s.sheds(c, p)
			out[c] += can
			for i := range calls {
				if x := &calls[i]; c.node.under(x.order.node) && !m.since.Before(x.order.From) && m.want != c.full().Name {
					down := min(max(0, full-can), x.left)
					x.left -= down
					out[c] += down
					break
				}
			}
		}
	}
	return out
}

// ready is what is kept ready for each reserve now: what the plan says, cut to
// what stands ready, the best paid first. The caller holds s.mu.
func (s *Site) ready(now time.Time) []sluice.Watts {
	n := len(s.o.Reserves)
	if n == 0 {
		return nil
	}
	stands := s.droppable(now)
	price := make([]float64, n)
	want := make([]sluice.Watts, n)
	may := make([][]bool, n)
	room := make([]sluice.Watts, len(s.classes))
	for j, c := range s.classes {
		room[j] = stands[c]
	}
	for i := range s.o.Reserves {
		r := &s.o.Reserves[i]
		want[i] = s.acc.reserve(r.Name).PlannedW
		if r.Max > 0 {
			want[i] = min(want[i], r.Max)
		}
		may[i] = make([]bool, len(s.classes))
		for j, c := range s.classes {
			may[i][j] = r.takes(c)
		}
		if n > 1 {
			price[i] = s.reservePrice(r.Name, now, now).Value
		}
	}
	return share(want, price, may, room)
}

// share gives each reserve what it wants of the room in the classes that it may
// take from, the best paid reserve first, and from classes that few others may
// take from before those that many may. It uses room up.
func share(want []sluice.Watts, price []float64, may [][]bool, room []sluice.Watts) []sluice.Watts {
	order := make([]int, len(want))
	sought := make([]int, len(room)) // by how many reserves
	for i := range want {
		order[i] = i
		for j := range room {
			if may[i][j] {
				sought[j]++
			}
		}
	}
	sort.SliceStable(order, func(a, b int) bool { return price[order[a]] > price[order[b]] })
	classes := make([]int, len(room))
	for j := range classes {
		classes[j] = j
	}
	sort.SliceStable(classes, func(a, b int) bool { return sought[classes[a]] < sought[classes[b]] })
	out := make([]sluice.Watts, len(want))
	for _, i := range order {
		for _, j := range classes {
			if !may[i][j] {
				continue
			}
			w := max(0, min(want[i]-out[i], room[j]))
			out[i] += w
			room[j] -= w
		}
	}
	return out
}

// accrueReserves adds what stood ready over the last d to the interval that runs.
// While no Sluice ran there was nobody to drop it. The caller holds s.mu.
func (s *Site) accrueReserves(now time.Time, d time.Duration) {
	d = min(d, now.Sub(s.began))
	if d <= 0 {
		return
	}
	for i, w := range s.ready(now) {
		s.acc.reserve(s.o.Reserves[i].Name).ReadyWs += sluice.MulDiv(int64(w), int64(d), int64(time.Second))
	}
}

// reserve returns what is known of a reserve in the running interval; it adds it
// where there is nothing yet.
func (p *Progress) reserve(name string) *Ready {
	i := slices.IndexFunc(p.Reserves, func(r Ready) bool { return r.Name == name })
	if i < 0 {
		i = len(p.Reserves)
		p.Reserves = append(p.Reserves, Ready{Name: name})
	}
	return &p.Reserves[i]
}

// reserveViews is what people see of the reserves, and what they earn in an hour.
// The caller holds s.mu.
func (s *Site) reserveViews(now time.Time) (out []Reserve, usdPerHour float64) {
	out = []Reserve{}
	for i, w := range s.ready(now) {
		name := s.o.Reserves[i].Name
		usd := s.reservePrice(name, now, now).Value
		v := Reserve{Name: name, PlannedKW: s.acc.reserve(name).PlannedW.KW(), ReadyKW: w.KW(), USDPerMWh: usd, USDPerHour: w.KW() / 1000 * usd}
		usdPerHour += v.USDPerHour
		out = append(out, v)
	}
	return out, usdPerHour
}
