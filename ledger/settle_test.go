package ledger

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

func example() Interval {
	return Interval{
		From: day, To: day.Add(5 * time.Minute),
		MeterWh: 1_000_000, MiningWh: 780_000, AIWh: 195_000,
		EnergyPrice: sluice.EnergyPriceOf(42.5), PriceOrigin: "ERCOT West real time",
		PricePublished: day.Add(-5 * time.Minute),
		TeraHashes:     150_000_000, Hashprice: sluice.HashpriceFromUSD(60), HashpriceOrigin: "network formula",
		HashpriceEstimated: true, PoolFeePPM: 20_000,
		Reserves: []ReserveUse{{Name: "rrs", ReadyWh: 500_000, Price: sluice.EnergyPriceOf(12), PriceOrigin: "ERCOT day ahead", PricePublished: day.Add(-6 * time.Hour)}},
		Jobs: []JobUse{
			{JobID: "12", Tenant: "acme", Name: "resnet", Class: "h100", UnitMilliseconds: 8 * 300_000, MilliWh: 466_667, RatePerUnitHour: 2_100_000},
			{JobID: "7", Tenant: "beta", Name: "digits", Class: "h100", UnitMilliseconds: 90_000, MilliWh: 17_500, RatePerUnitHour: 1_050_000, Credit: 10_000},
		},
	}
}

func settle(t interface {
	Helper()
	Fatal(...any)
}, in Interval,
) []Entry {
	t.Helper()
	es, err := Settle("west", in)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func balances(t interface {
	Helper()
	Fatal(...any)
}, es []Entry,
) map[string]sluice.Money {
	t.Helper()
	bs, err := TrialBalance(es)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]sluice.Money{}
	for _, b := range bs {
		if b.Amount != 0 {
			m[b.Account+" "+b.Commodity] = b.Amount
		}
	}
	return m
}

func same(a, b map[string]sluice.Money) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func TestSettleByHand(t *testing.T) {
	// 1 MWh at 42.50: 80 % and 20 %. 150e6 TH = 150e3 PH·s at 60 $ a day of
	// 86,400 s: 104.166667; 2 % of it to the pool. 8 units for 5 minutes at 2.10
	// an hour: 1.40; 90 s at 1.05: 0.02625, less a credit of 0.01. 6 MW stood ready
	// for 5 minutes at 12 $/MW·h: 6.00.
	want := map[string]sluice.Money{
		"expenses:mining:energy USD":        34_000_000,
		"expenses:ai:energy USD":            8_500_000,
		"liabilities:energy USD":            -42_500_000,
		"revenue:mining:hashrate USD":       -104_166_667,
		"expenses:mining:pool-fee USD":      2_083_333,
		"assets:receivable:pool USD":        102_083_334,
		"revenue:mining:reserve:rrs USD":    -6_000_000,
		"assets:receivable:grid USD":        6_000_000,
		"revenue:ai:acme USD":               -1_400_000,
		"assets:receivable:tenant:acme USD": 1_400_000,
		"revenue:ai:beta USD":               -26_250,
		"revenue:ai:beta:credits USD":       10_000,
		"assets:receivable:tenant:beta USD": 16_250,
	}
	es := settle(t, example())
	if got := balances(t, es); !same(got, want) {
		t.Fatalf("got %v\nwant %v", got, want)
	}
	if e := es[0]; e.Meta[MetaWh] != "800000" || e.Meta[MetaReadingsWh] != "780000" || e.Meta[MetaResidualWh] != "20000" ||
		e.Meta[MetaPrice] != "42.500000" || e.ID != "settle/west/20230817T000000Z/mining-energy" || e.Division() != sluice.Mining {
		t.Fatalf("energy of mining: %+v", e)
	}
	if e := es[2]; e.Meta[MetaEstimated] != "price" || e.Meta[MetaTeraHashes] != "150000000" {
		t.Fatalf("hashrate: %+v", e)
	}
	if e := es[3]; e.ID != "settle/west/20230817T000000Z/reserve/rrs" || e.Division() != sluice.Mining || e.Meta[MetaReserve] != "rrs" ||
		e.Meta[MetaReadyWh] != "500000" || e.Meta[MetaPrice] != "12.000000" || e.Meta[MetaPriceOrigin] != "ERCOT day ahead" || e.Meta[MetaEstimated] != "" {
		t.Fatalf("reserve: %+v", e)
	}
}

// charged is a use that costs 2 $ and is charged the amount.
func charged(amount sluice.Money) JobUse {
	return JobUse{UnitMilliseconds: 3_600_000, RatePerUnitHour: 2 * sluice.USD, Amount: &amount}
}

func TestSettleEdges(t *testing.T) {
	base := Interval{From: day, To: day.Add(time.Minute)}
	if es := settle(t, base); len(es) != 0 {
		t.Fatalf("nothing happened, and got %v", es)
	}
	in := base
	in.MeterWh, in.EnergyPrice = 1000, sluice.EnergyPriceOf(-30)
	es := settle(t, in)
	if len(es) != 1 || es[0].Postings[0].Amount != -30_000 || es[0].Meta[MetaSplit] == "" {
		t.Fatalf("negative price, no readings: %+v", es)
	}
	in.EnergyPrice, in.AIWh = 0, 1
	es = settle(t, in)
	if len(es) != 1 || es[0].Meta[MetaWh] != "1000" || es[0].Division() != sluice.AI {
		t.Fatalf("free energy must still be told: %+v", es)
	}
	for name, change := range map[string]func(*Interval){
		"empty":            func(in *Interval) { in.To = in.From },
		"negative meter":   func(in *Interval) { in.MeterWh = -1 },
		"negative mining":  func(in *Interval) { in.MiningWh = -1 },
		"negative AI":      func(in *Interval) { in.AIWh = -1 },
		"huge meter":       func(in *Interval) { in.MeterWh = 1 << 60 },
		"huge price":       func(in *Interval) { in.EnergyPrice = -1 << 60 },
		"negative hashes":  func(in *Interval) { in.TeraHashes = -1 },
		"fee above all":    func(in *Interval) { in.PoolFeePPM = 1_000_001 },
		"hashprice":        func(in *Interval) { in.Hashprice = -1 },
		"negative use":     func(in *Interval) { in.Jobs = []JobUse{{UnitMilliseconds: -1}} },
		"negative rate":    func(in *Interval) { in.Jobs = []JobUse{{RatePerUnitHour: -1}} },
		"charge forgotten": func(in *Interval) { in.Jobs = []JobUse{charged(0)} },
		"charge doubled":   func(in *Interval) { in.Jobs = []JobUse{charged(4 * sluice.USD)} },
		"credit as charge": func(in *Interval) { in.Jobs = []JobUse{{Credit: -1}} },
		"negative ready":   func(in *Interval) { in.Reserves = []ReserveUse{{ReadyWh: -1}} },
		"huge ready":       func(in *Interval) { in.Reserves = []ReserveUse{{ReadyWh: 1 << 60}} },
		"negative reserve": func(in *Interval) { in.Reserves = []ReserveUse{{Price: -1}} },
		"a reserve twice":  func(in *Interval) { in.Reserves = []ReserveUse{{Name: "a"}, {Name: "a", ReadyWh: 1}} },
	} {
		in := base
		change(&in)
		if _, err := Settle("west", in); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Correct("west", in, in, 1); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("correct %s: %v", name, err)
		}
	}
	// The largest legal figures neither panic nor overflow silently.
	in = Interval{
		From: day, To: day.Add(time.Minute), MeterWh: maxWh, MiningWh: maxWh, AIWh: maxWh, EnergyPrice: maxPrice,
		TeraHashes: maxTH, Hashprice: maxHashprice, PoolFeePPM: 1_000_000,
		Reserves: []ReserveUse{{Name: "a", ReadyWh: maxWh, Price: maxPrice}},
		Jobs:     []JobUse{{UnitMilliseconds: maxUnitMs, RatePerUnitHour: maxJobMoney, Credit: maxJobMoney}},
	}
	settle(t, in)
}

func TestSettleProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := genInterval().Draw(t, "interval")
		es := settle(t, in)
		var wh, residual int64
		ids := map[string]bool{}
		for _, e := range es {
			if err := e.Check(); err != nil {
				t.Fatal(err)
			}
			if e.Division() == "" || ids[e.ID] {
				t.Fatalf("an entry of two divisions, or an ID twice: %+v", e)
			}
			ids[e.ID] = true
			wh += number(t, e.Meta[MetaWh])
			residual += number(t, e.Meta[MetaResidualWh])
		}
		b := balances(t, es)
		if got, want := b[AccountMiningEnergy+" USD"]+b[AccountAIEnergy+" USD"], in.MeterWh.Cost(in.EnergyPrice); got != want {
			t.Fatalf("energy shares add up to %d, the whole is %d", got, want)
		}
		if wh != int64(in.MeterWh) || residual != int64(in.MeterWh-in.MiningWh-in.AIWh) {
			t.Fatalf("energy: %d Wh with a residual of %d, metered %d, read %d and %d", wh, residual, in.MeterWh, in.MiningWh, in.AIWh)
		}
		var owed, jobs sluice.Money
		for _, j := range in.Jobs {
			jobs += j.Price() - j.Credit
		}
		for _, tenant := range slices.Compact(slices.Sorted(func(yield func(string) bool) {
			for _, j := range in.Jobs {
				if !yield(j.Tenant) {
					return
				}
			}
		})) {
			owed += b[AccountTenant(tenant)+" USD"]
		}
		if owed != jobs {
			t.Fatalf("tenants owe %d, the jobs cost %d", owed, jobs)
		}
		// What a reserve earned stands in its own account, and the grid owes it all.
		var earned sluice.Money
		for _, r := range in.Reserves {
			if got := -b[AccountReserve(r.Name)+" USD"]; got != r.Revenue() {
				t.Fatalf("the reserve %q earned %d in the books, and %d by itself", r.Name, got, r.Revenue())
			}
			earned += r.Revenue()
		}
		if got := b[AccountGrid+" USD"]; got != earned {
			t.Fatalf("the grid owes %d, the reserves earned %d", got, earned)
		}
		// The same again, with the jobs and reserves in another order.
		shuffled := in
		shuffled.Reserves = slices.Clone(in.Reserves)
		slices.Reverse(shuffled.Reserves)
		shuffled.Jobs = slices.Clone(in.Jobs)
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(in.Jobs), func(i, j int) {
			shuffled.Jobs[i], shuffled.Jobs[j] = shuffled.Jobs[j], shuffled.Jobs[i]
		})
		if again := settle(t, shuffled); !slices.EqualFunc(es, again, Entry.Equal) {
			t.Fatalf("settling again gave something else:\n%+v\n%+v", es, again)
		}
	})
}

func number(t *rapid.T, s string) int64 {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCorrectProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		was, now := genInterval().Draw(t, "was"), genInterval().Draw(t, "now")
		last := genInterval().Draw(t, "last")
		for _, in := range []*Interval{&now, &last} {
			in.From, in.To = was.From, was.To
		}
		journal := settle(t, was)
		first, err := Correct("west", was, now, 1)
		if err != nil {
			t.Fatal(err)
		}
		second, err := Correct("west", now, last, 2)
		if err != nil {
			t.Fatal(err)
		}
		original := map[string]bool{}
		for _, e := range journal {
			original[e.ID] = true
		}
		journal = append(append(journal, first...), second...)
		ids := map[string]bool{}
		quantities := map[string]int64{}
		for _, e := range journal {
			if ids[e.ID] {
				t.Fatalf("ID %s is there twice", e.ID)
			}
			ids[e.ID] = true
			for _, k := range []string{MetaWh, MetaReadingsWh, MetaReadyWh, MetaTeraHashes, MetaUnitMilliseconds, MetaJobMilliWh} {
				quantities[k] += number(t, e.Meta[k])
			}
		}
		for _, e := range first {
			if e.Corrects != "" && !original[e.Corrects] {
				t.Fatalf("%s corrects %s, which is not there", e.ID, e.Corrects)
			}
		}
		want := settle(t, last)
		if got := balances(t, journal); !same(got, balances(t, want)) {
			t.Fatalf("corrected books %v\nbooks of the corrected %v", got, balances(t, want))
		}
		for _, e := range want {
			for k := range quantities {
				quantities[k] -= number(t, e.Meta[k])
			}
		}
		for k, q := range quantities {
			if q != 0 {
				t.Fatalf("%s of the corrected books is off by %d", k, q)
			}
		}
		if none, err := Correct("west", now, now, 3); err != nil || len(none) != 0 {
			t.Fatalf("nothing changed, and got %v, %v", none, err)
		}
	})
}

func TestCorrectRestatedPrice(t *testing.T) {
	was, now := example(), example()
	now.EnergyPrice = sluice.EnergyPriceOf(40)
	es, err := Correct("west", was, now, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(es) != 2 || es[0].Corrects != "settle/west/20230817T000000Z/mining-energy" ||
		es[0].ID != "correct/west/20230817T000000Z/1/mining-energy" || es[0].Meta[MetaWh] != "" ||
		!slices.Contains(es[0].Postings, Posting{AccountMiningEnergy, USD, -2_000_000, ""}) {
		t.Fatalf("got %+v", es)
	}
	now.From = now.From.Add(time.Minute)
	if _, err := Correct("west", was, now, 1); sluice.KindOf(err) != sluice.Invalid {
		t.Fatalf("another interval: %v", err)
	}
	if _, err := Correct("west", was, was, 0); sluice.KindOf(err) != sluice.Invalid {
		t.Fatalf("correction 0: %v", err)
	}
}

// A reserve whose price is restated, one that was forgotten and one that was not
// sold after all.
func TestCorrectReserves(t *testing.T) {
	was, now := example(), example()
	was.Reserves = append(was.Reserves, ReserveUse{Name: "ecrs", ReadyWh: 1_000_000, Price: sluice.EnergyPriceOf(3)})
	now.Reserves = []ReserveUse{
		{Name: "rrs", ReadyWh: 500_000, Price: sluice.EnergyPriceOf(10), PriceOrigin: "restated"},
		{Name: "nonspin", ReadyWh: 2_000_000, Price: sluice.EnergyPriceOf(1)},
	}
	es, err := Correct("west", was, now, 1)
	if err != nil || len(es) != 3 {
		t.Fatalf("got %+v, %v", es, err)
	}
	for i, want := range []struct {
		name, corrects, ready string
		earned                sluice.Money
	}{
		{"ecrs", "settle/west/20230817T000000Z/reserve/ecrs", "-1000000", -3_000_000},
		{"nonspin", "", "2000000", 2_000_000},
		{"rrs", "settle/west/20230817T000000Z/reserve/rrs", "", -1_000_000},
	} {
		e := es[i]
		if e.ID != "correct/west/20230817T000000Z/1/reserve/"+want.name || e.Corrects != want.corrects || e.Meta[MetaReadyWh] != want.ready ||
			!slices.Contains(e.Postings, Posting{AccountReserve(want.name), USD, -want.earned, ""}) {
			t.Errorf("%s: %+v", want.name, e)
		}
	}
}

func TestCorrectFreeEnergy(t *testing.T) {
	was := Interval{From: day, To: day.Add(time.Minute), MeterWh: 5, AIWh: 5}
	now := was
	now.MeterWh = 7
	es, err := Correct("west", was, now, 1)
	if err != nil || len(es) != 1 || es[0].Meta[MetaWh] != "2" {
		t.Fatalf("a quantity at a price of nothing: %+v, %v", es, err)
	}
}
