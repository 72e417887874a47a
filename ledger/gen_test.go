package ledger

import (
	"fmt"
	"iter"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

var day = time.Date(2023, 8, 17, 0, 0, 0, 0, time.UTC)

// nasty are names that try to break out of the place they are written to.
var nasty = []string{
	"", " ", "acme", "Müller & Söhne", "a:b", "a;b", "date:2020-01-01", "[2020-13-13]", "x\n2023-01-01 stolen\n  assets:cash  1 USD\n  equity:x",
	"  two  spaces ", "a, date:99", "(", ")", "*", "!", "|", "=", "; comment", "\x00", "\r\n", "%41", "A", "日本", "\u2028", "include /etc/passwd",
	"tab\tthere", "\"quoted\"", "-1 USD", "@@ 5 EUR", "{1}", "~ monthly", "\xff\xfe",
}

func genName() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom(nasty), rapid.String(), rapid.StringMatching(`[a-z]{1,8}`))
}

func genInterval() *rapid.Generator[Interval] {
	return rapid.Custom(func(t *rapid.T) Interval {
		from := day.Add(time.Duration(rapid.IntRange(0, 500).Draw(t, "slot")) * 5 * time.Minute)
		in := Interval{
			From: from, To: from.Add(5 * time.Minute),
			MeterWh:            sluice.WattHours(rapid.Int64Range(0, 2_000_000).Draw(t, "meter")),
			MeterEstimated:     rapid.Bool().Draw(t, "meterEstimated"),
			MiningWh:           sluice.WattHours(rapid.Int64Range(0, 1_200_000).Draw(t, "mining")),
			AIWh:               sluice.WattHours(rapid.Int64Range(0, 300_000).Draw(t, "ai")),
			EnergyPrice:        sluice.EnergyPrice(rapid.Int64Range(-300_000_000, 5_000_000_000).Draw(t, "price")),
			PriceOrigin:        genName().Draw(t, "origin"),
			PriceEstimated:     rapid.Bool().Draw(t, "priceEstimated"),
			TeraHashes:         rapid.Int64Range(0, 400_000_000).Draw(t, "th"),
			Hashprice:          sluice.Hashprice(rapid.Int64Range(0, 100_000_000).Draw(t, "hashprice")),
			HashpriceOrigin:    genName().Draw(t, "hashpriceOrigin"),
			HashpriceEstimated: rapid.Bool().Draw(t, "hashpriceEstimated"),
			PoolFeePPM:         rapid.Int64Range(0, 50_000).Draw(t, "fee"),
			Jobs:               rapid.SliceOfN(genJob(), 0, 6).Draw(t, "jobs"),
		}
		if rapid.Bool().Draw(t, "published") {
			in.PricePublished = from.Add(-time.Minute)
		}
		in.Reserves = rapid.SliceOfNDistinct(genReserve(), 0, 4, func(r ReserveUse) string { return r.Name }).Draw(t, "reserves")
		return in
	})
}

func genReserve() *rapid.Generator[ReserveUse] {
	return rapid.Custom(func(t *rapid.T) ReserveUse {
		r := ReserveUse{
			// Mostly of few, so that two intervals have some of them both.
			Name:           rapid.OneOf(rapid.SampledFrom([]string{"rrs", "ecrs"}), genName()).Draw(t, "reserve"),
			ReadyWh:        sluice.WattHours(rapid.Int64Range(0, 2_000_000).Draw(t, "ready")),
			ReadyEstimated: rapid.Bool().Draw(t, "readyEstimated"),
			Price:          sluice.EnergyPrice(rapid.Int64Range(0, 30_000_000_000).Draw(t, "reservePrice")),
			PriceOrigin:    genName().Draw(t, "reserveOrigin"),
			PriceEstimated: rapid.Bool().Draw(t, "reservePriceEstimated"),
		}
		if rapid.Bool().Draw(t, "reservePublished") {
			r.PricePublished = day
		}
		return r
	})
}

func genJob() *rapid.Generator[JobUse] {
	return rapid.Custom(func(t *rapid.T) JobUse {
		j := JobUse{
			JobID:            rapid.StringMatching(`[0-9]{1,3}`).Draw(t, "id"),
			Tenant:           genName().Draw(t, "tenant"),
			Name:             genName().Draw(t, "name"),
			Class:            rapid.SampledFrom([]string{"h100", "a100"}).Draw(t, "class"),
			UnitMilliseconds: rapid.Int64Range(0, 8*300_000).Draw(t, "ms"),
			MilliWh:          rapid.Int64Range(0, 1_000_000).Draw(t, "mwh"),
			RatePerUnitHour:  sluice.Money(rapid.Int64Range(0, 10_000_000).Draw(t, "rate")),
			Credit:           sluice.Money(rapid.Int64Range(0, 500_000).Draw(t, "credit")),
		}
		if rapid.Bool().Draw(t, "charged") {
			a := max(0, j.Price()+sluice.Money(rapid.IntRange(-1, 1).Draw(t, "rounding")))
			j.Amount = &a
		}
		return j
	})
}

// genJournal draws entries of settlements and free ones in several commodities,
// in the order of their times.
func genJournal() *rapid.Generator[[]Entry] {
	return rapid.Custom(func(t *rapid.T) []Entry {
		var out []Entry
		account := rapid.SampledFrom([]string{
			"assets:bank", "equity:opening", AccountEnergyOwed, AccountPool,
			"revenue:ai:x", "expenses:mining:repairs", "expenses:ai:energy", "assets:bank:" + Segment("Zürich, Nord"),
		})
		for i := range rapid.IntRange(0, 8).Draw(t, "free") {
			e := Entry{
				ID: fmt.Sprintf("free/%d", i), At: day.Add(time.Duration(i) * time.Hour),
				Text: validName(t, "text"),
				Meta: map[string]string{"note": validName(t, "note")},
			}
			for _, c := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"USD", "EUR", "BTC"}), 1, 3, rapid.ID).Draw(t, "commodities") {
				var sum sluice.Money
				for range rapid.IntRange(1, 4).Draw(t, "lines") {
					a := sluice.Money(rapid.Int64Range(-1_000_000_000_000, 1_000_000_000_000).Draw(t, "amount"))
					e.Postings = append(e.Postings, Posting{account.Draw(t, "account"), c, a, validName(t, "memo")})
					sum += a
				}
				e.Postings = append(e.Postings, Posting{account.Draw(t, "account"), c, -sum, ""})
			}
			out = append(out, e)
		}
		for i := range rapid.IntRange(0, 4).Draw(t, "intervals") {
			in := genInterval().Draw(t, "interval")
			in.From = day.Add(24*time.Hour + time.Duration(i)*5*time.Minute)
			in.To = in.From.Add(5 * time.Minute)
			es, err := Settle("west", in)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, es...)
		}
		return out
	})
}

func validName(t *rapid.T, label string) string { return text(genName().Draw(t, label)) }

func seqOf(entries []Entry) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}
