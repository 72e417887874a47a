package site

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/feed"
)

// What is shared out is never more than wanted, nor than the classes have that
// may stand ready, for any set of the reserves; and where all may take from all,
// nothing that is wanted is left.
func TestShareProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, k := rapid.IntRange(1, 4).Draw(t, "reserves"), rapid.IntRange(1, 5).Draw(t, "classes")
		watts := rapid.Map(rapid.Int64Range(0, 100), func(w int64) sluice.Watts { return sluice.Watts(w) })
		want := rapid.SliceOfN(watts, n, n).Draw(t, "want")
		room := rapid.SliceOfN(watts, k, k).Draw(t, "room")
		price := rapid.SliceOfN(rapid.Float64Range(0, 100), n, n).Draw(t, "price")
		may := make([][]bool, n)
		open := true
		for i := range may {
			may[i] = rapid.SliceOfN(rapid.Bool(), k, k).Draw(t, "may")
			for j := range may[i] {
				open = open && may[i][j]
			}
		}
		got := share(want, price, may, append([]sluice.Watts{}, room...))
		for set := 1; set < 1<<n; set++ {
			var given, there, wanted sluice.Watts
			for i := range n {
				if set>>i&1 == 1 {
					given += got[i]
					wanted += want[i]
				}
			}
			for j := range k {
				for i := range n {
					if set>>i&1 == 1 && may[i][j] {
						there += room[j]
						break
					}
				}
			}
			if given > there || given > wanted || given < 0 {
				t.Fatalf("the reserves %b get %d of %d, and want %d", set, given, there, wanted)
			}
			if all := set == 1<<n-1; all && open && given != min(there, wanted) {
				t.Fatalf("%d of %d are given out, and %d are wanted", given, there, wanted)
			}
		}
		best := 0
		for i := range price {
			if price[i] > price[best] {
				best = i
			}
		}
		var there sluice.Watts
		for j := range room {
			if may[best][j] {
				there += room[j]
			}
		}
		if got[best] != min(want[best], there) {
			t.Fatalf("the best paid gets %d of %d, and wants %d", got[best], there, want[best])
		}
	})
}

// What was measured over the end of an interval is shared by time: none of it is
// lost, and none of it stands in the other's records.
func TestSplitSharesWhatWasReady(t *testing.T) {
	from := time.Date(2023, 8, 20, 21, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		end := from.Add(5 * time.Minute)
		p := Progress{From: from, At: from.Add(time.Duration(rapid.IntRange(1, 3600).Draw(t, "seconds")) * time.Second)}
		for i := range rapid.IntRange(0, 3).Draw(t, "reserves") {
			p.Reserves = append(p.Reserves, Ready{Name: fmt.Sprint(i), PlannedW: sluice.Watts(i + 1), ReadyWs: rapid.Int64Range(0, 1_000_000_000).Draw(t, "ready")})
		}
		kept := append([]Ready{}, p.Reserves...)
		mine, rest := p.split(end)
		for i, r := range kept {
			a, b := mine.Reserves[i], rest.Reserves[i]
			if a.ReadyWs+b.ReadyWs != r.ReadyWs || b.Name != r.Name || b.PlannedW != r.PlannedW || p.Reserves[i] != r {
				t.Fatalf("%+v is split into %+v and %+v, and is then %+v", r, a, b, p.Reserves[i])
			}
			share := min(1, float64(5*time.Minute)/float64(p.At.Sub(from)))
			if d := float64(a.ReadyWs) - share*float64(r.ReadyWs); d > 1 || d < -1 {
				t.Fatalf("%+v keeps %d of it, want %.0f %%", r, a.ReadyWs, 100*share)
			}
			if len(rest.Reserves) > 0 {
				rest.Reserves[i].ReadyWs += 7 // what goes on is not what was settled
				if mine.Reserves[i] != a {
					t.Fatal("the two share their memory")
				}
			}
		}
	})
}

// What one machine of 3 kW has ready, by what it does and what it was told.
func TestWhatAMachineHasReady(t *testing.T) {
	now := time.Date(2023, 8, 20, 21, 0, 0, 0, time.UTC)
	began := now.Add(-30 * time.Minute) // of the order
	root := &node{spec: NodeSpec{Name: "site"}}
	reads := func(mode string, w sluice.Watts) sluice.Reading {
		return sluice.Reading{At: now, Mode: mode, Power: w, HasPower: true}
	}
	running := miner{want: "mine", prior: []byte("p"), since: began.Add(-time.Hour), read: reads("mine", 2900)}
	asleep := miner{want: sluice.ModeSleep, asleep: true, prior: []byte("p"), since: began, read: reads(sluice.ModeSleep, 20)}
	with := func(m miner, f func(*miner)) miner { f(&m); return m }
	for name, c := range map[string]struct {
		m     miner
		asked float64 // kW, of the order
		want  sluice.Watts
	}{
		"it runs":                  {running, 0, 2880},
		"it runs under an order":   {running, 50, 2880},
		"it wakes":                 {with(running, func(m *miner) { m.read, m.since = reads(sluice.ModeSleep, 20), now }), 50, 0},
		"it goes down for a price": {with(running, func(m *miner) { m.phase, m.act.expect, m.want, m.asleep = verifying, 20, sluice.ModeSleep, true }), 0, 0},
		"it goes down for the order": {with(running, func(m *miner) {
			m.phase, m.act.expect, m.want, m.asleep, m.since = verifying, 20, sluice.ModeSleep, true, now
		}), 50, 2980},
		"it sleeps for a price":              {asleep, 0, 0},
		"it slept before the order came":     {with(asleep, func(m *miner) { m.since = began.Add(-time.Second) }), 50, 0},
		"it sleeps for the order":            {asleep, 50, 2980},
		"the order asks for less":            {asleep, 1, 1000},
		"it runs lower for the order":        {with(running, func(m *miner) { m.want, m.read, m.since = "low", reads("low", 2000), now }), 50, 2980},
		"it stands lower since before":       {with(running, func(m *miner) { m.want, m.read = "low", reads("low", 2000) }), 50, 1980},
		"it is locked":                       {with(running, func(m *miner) { m.pin = &Pin{Mode: PinLocked} }), 0, 0},
		"it has not been heard of":           {with(running, func(m *miner) { m.read.At = now.Add(-time.Hour) }), 0, 0},
		"it does not obey":                   {with(running, func(m *miner) { m.badUntil = now.Add(time.Minute) }), 0, 0},
		"it was put to sleep by another":     {with(asleep, func(m *miner) { m.asleep = false }), 50, 0},
		"nobody knows how to put it back":    {with(running, func(m *miner) { m.prior = nil }), 0, 0},
		"it sleeps for an order of long ago": {with(asleep, func(m *miner) { m.spec.Name = "old" }), 50, 0},
	} {
		s := &Site{o: Options{Overhead: 1, MaxReadingAge: 2 * time.Minute, Control: func(string) bool { return true }, Reserves: []ReserveSpec{{Name: "r"}}}}
		k := &class{node: root, modes: []sluice.Mode{{Name: sluice.ModeSleep, Power: 20}, {Name: "low", Power: 2000}, {Name: "mine", Power: 3000}}}
		m := c.m
		m.class, k.miners, s.classes = k, []*miner{&m}, []*class{k}
		if c.asked > 0 {
			o := &curtailment{node: root, limit: 5000}
			o.State, o.From, o.LoadBeforeKW = Active, began, 5+c.asked
			if m.spec.Name == "old" {
				o.From = now.Add(-callLasts)
			}
			s.orders = append(s.orders, o)
		}
		if got := s.droppable(now)[k]; got != c.want {
			t.Errorf("%s: %d W are ready, want %d", name, got, c.want)
		}
	}
}

// Whatever the machines do, are told and are seen to do: a reserve is never paid
// for more than it offers, nor all of them for more than the machines under
// control draw above sleep and what orders in force made them drop.
func TestReadyIsNeverMoreThanCanBeDropped(t *testing.T) {
	now := time.Date(2023, 8, 20, 21, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		s := &Site{
			o:       Options{Overhead: 1.03, MaxReadingAge: 2 * time.Minute, Guard: 0.01},
			classBy: map[string]*class{},
		}
		root := &node{spec: NodeSpec{Name: "site"}}
		s.nodes = []*node{root, {spec: NodeSpec{Name: "a"}, parent: root}}
		controlled := map[string]bool{}
		s.o.Control = func(c string) bool { return controlled[c] }
		modes := []sluice.Mode{{Name: sluice.ModeSleep, Power: 20}, {Name: "low", Power: 2000, HashRate: 80}, {Name: "mine", Power: 3000, HashRate: 100}}
		for i := range rapid.IntRange(1, 3).Draw(t, "classes") {
			name := fmt.Sprintf("c%d", i)
			controlled[name] = rapid.IntRange(0, 4).Draw(t, "control") > 0
			c := &class{spec: ClassSpec{Name: name, Modes: modes}, node: s.nodes[rapid.IntRange(0, 1).Draw(t, "node")], modes: modes}
			for range rapid.IntRange(0, 6).Draw(t, "machines") {
				c.miners = append(c.miners, genMiner(t, c, now))
			}
			s.classes = append(s.classes, c)
			s.classBy[name] = c
		}
		var asked sluice.Watts
		for range rapid.IntRange(0, 2).Draw(t, "orders") {
			c := &curtailment{node: s.nodes[rapid.IntRange(0, 1).Draw(t, "ordered")], limit: sluice.Watts(rapid.IntRange(0, 30_000).Draw(t, "limit"))}
			c.State = rapid.SampledFrom([]string{Active, Active, Pending, Ended}).Draw(t, "state")
			c.From = now.Add(-time.Duration(rapid.IntRange(0, 400).Draw(t, "age")) * time.Minute)
			// Often an order asks for little, of machines that would give more.
			c.LoadBeforeKW = rapid.OneOf(rapid.Float64Range(0, 50), rapid.Map(rapid.Float64Range(0, 2), func(kw float64) float64 { return kw + s.usable(c.limit).KW() })).Draw(t, "before")
			s.orders = append(s.orders, c)
			if c.State == Active {
				asked += max(0, sluice.WattsOfKW(c.LoadBeforeKW)-s.usable(c.limit))
			}
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "reserves") {
			r := ReserveSpec{Name: fmt.Sprintf("r%d", i), Max: sluice.Watts(max(0, rapid.IntRange(-8_000, 8_000).Draw(t, "max")))}
			for _, c := range s.classes {
				if rapid.IntRange(0, 3).Draw(t, "takes") == 0 {
					r.Classes = append(r.Classes, c.spec.Name)
				}
			}
			s.o.Reserves = append(s.o.Reserves, r)
			s.acc.reserve(r.Name).PlannedW = sluice.Watts(rapid.SampledFrom([]int{0, 5_000, 60_000}).Draw(t, "planned"))
		}
		s.o.Feeds = feed.NewBook(nil)
		ready := s.ready(now)
		var sold, drawn, dropped sluice.Watts
		for i, w := range ready {
			r := &s.o.Reserves[i]
			if w < 0 || w > s.acc.reserve(r.Name).PlannedW || r.Max > 0 && w > r.Max {
				t.Fatalf("%d W are ready for %+v, of which %d are planned", w, r, s.acc.reserve(r.Name).PlannedW)
			}
			sold += w
		}
		for _, c := range s.classes {
			for _, m := range c.miners {
				p, _ := m.power()
				if m.phase != settled { // what goes down anyway is not the grid's to drop
					p = min(p, m.act.expect)
				}
				if !controlled[c.spec.Name] || m.pin != nil || !m.fresh(now, s.o.MaxReadingAge) {
					continue
				}
				drawn += max(0, s.atMeter(p-modes[0].Power))
				for _, o := range s.orders {
					if o.State == Active && c.node.under(o.node) && !m.since.Before(o.From) {
						dropped += s.atMeter(modes[2].Power - max(p, modes[0].Power))
						break
					}
				}
			}
		}
		if sold > drawn+min(asked, dropped)+18 { // a watt of rounding for each machine
			t.Fatalf("%d W are sold; the machines could drop %d; orders asked for %d, and %d went since they came", sold, drawn, asked, dropped)
		}
	})
}

func genMiner(t *rapid.T, c *class, now time.Time) *miner {
	names := []string{sluice.ModeSleep, "low", "mine"}
	m := &miner{class: c, prior: []byte("p"), since: now.Add(-time.Duration(rapid.OneOf(rapid.IntRange(0, 400), rapid.IntRange(0, 9)).Draw(t, "since")) * time.Minute)}
	m.want = rapid.SampledFrom(names).Draw(t, "want")
	m.asleep = rapid.Bool().Draw(t, "asleep")
	m.read = sluice.Reading{
		At: now.Add(-time.Duration(max(0, rapid.IntRange(-4, 4).Draw(t, "readingAge"))) * time.Minute), Mode: rapid.SampledFrom(names).Draw(t, "mode"),
		Power: sluice.Watts(rapid.IntRange(0, 3_500).Draw(t, "power")), HasPower: rapid.Bool().Draw(t, "measures"),
	}
	if rapid.IntRange(0, 3).Draw(t, "acting") == 0 {
		m.phase = verifying
		m.act = act{expect: c.modes[rapid.IntRange(0, 2).Draw(t, "expect")].Power}
	}
	if rapid.IntRange(0, 5).Draw(t, "pinned") == 0 {
		m.pin = &Pin{Mode: PinLocked}
	}
	return m
}
