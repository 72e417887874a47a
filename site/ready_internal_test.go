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
			c.LoadBeforeKW = rapid.Float64Range(0, 50).Draw(t, "before")
			s.orders = append(s.orders, c)
			if c.State == Active {
				asked += max(0, sluice.WattsOfKW(c.LoadBeforeKW)-s.usable(c.limit))
			}
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "reserves") {
			r := ReserveSpec{Name: fmt.Sprintf("r%d", i), Max: sluice.Watts(rapid.IntRange(0, 8_000).Draw(t, "max"))}
			for _, c := range s.classes {
				if rapid.Bool().Draw(t, "takes") {
					r.Classes = append(r.Classes, c.spec.Name)
				}
			}
			s.o.Reserves = append(s.o.Reserves, r)
			s.acc.reserve(r.Name).PlannedW = sluice.Watts(rapid.IntRange(0, 40_000).Draw(t, "planned"))
		}
		s.o.Feeds = feed.NewBook(nil)
		ready := s.ready(now)
		var sold, drawn sluice.Watts
		for i, w := range ready {
			r := &s.o.Reserves[i]
			if w < 0 || w > s.acc.reserve(r.Name).PlannedW || r.Max > 0 && w > r.Max {
				t.Fatalf("%d W are ready for %+v, of which %d are planned", w, r, s.acc.reserve(r.Name).PlannedW)
			}
			sold += w
		}
		for _, c := range s.classes {
			for _, m := range c.miners {
				if p, _ := m.power(); controlled[c.spec.Name] && m.pin == nil && m.fresh(now, s.o.MaxReadingAge) {
					drawn += max(0, s.atMeter(p-modes[0].Power))
				}
			}
		}
		if sold > drawn+asked {
			t.Fatalf("%d W are sold; the machines could drop %d, and orders have dropped %d at most", sold, drawn, asked)
		}
	})
}

func genMiner(t *rapid.T, c *class, now time.Time) *miner {
	names := []string{sluice.ModeSleep, "low", "mine"}
	m := &miner{class: c, prior: []byte("p"), since: now.Add(-time.Duration(rapid.IntRange(0, 400).Draw(t, "since")) * time.Minute)}
	m.want = rapid.SampledFrom(names).Draw(t, "want")
	m.asleep = rapid.Bool().Draw(t, "asleep")
	m.read = sluice.Reading{
		At: now.Add(-time.Duration(rapid.IntRange(0, 4).Draw(t, "readingAge")) * time.Minute), Mode: rapid.SampledFrom(names).Draw(t, "mode"),
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
