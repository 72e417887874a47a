package ledger

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"sluice"
)

// Balance is what an account holds.
type Balance struct {
	Account   string       `json:"account"`
	Commodity string       `json:"commodity"`
	Amount    sluice.Money `json:"amount_micro"` // debit positive
}

type accountKey struct{ account, commodity string }

// TrialBalance adds the entries up: one balance for each account and commodity
// that was posted to, zeros too, in the order of their names. All amounts of a
// commodity add up to zero. It fails on an entry that fails Check.
func TrialBalance(entries []Entry) ([]Balance, error) {
	sums := map[accountKey]sluice.Money{}
	for _, e := range entries {
		if err := e.Check(); err != nil {
			return nil, err
		}
		for _, p := range e.Postings {
			k := accountKey{p.Account, p.Commodity}
			sum, ok := add(sums[k], p.Amount)
			if !ok {
				return nil, fmt.Errorf("adding up %s: the sum leaves 64 bits", p.Account)
			}
			sums[k] = sum
		}
	}
	out := make([]Balance, 0, len(sums))
	for k, v := range sums {
		out = append(out, Balance{k.account, k.commodity, v})
	}
	slices.SortFunc(out, func(a, b Balance) int {
		return cmp.Or(strings.Compare(a.Account, b.Account), strings.Compare(a.Commodity, b.Commodity))
	})
	return out, nil
}

// DivisionResult is the income statement of one division in one commodity.
// Revenue and costs are positive in the normal case; credits to tenants are
// taken off the revenue. Reserve is the part of the revenue that load earned by
// standing ready. Margin = Revenue − EnergyCost − OtherCost.
type DivisionResult struct {
	Division   sluice.Division `json:"division"`
	Commodity  string          `json:"commodity"`
	Revenue    sluice.Money    `json:"revenue_micro"`
	Reserve    sluice.Money    `json:"reserve_micro"` // within Revenue
	EnergyCost sluice.Money    `json:"energy_cost_micro"`
	OtherCost  sluice.Money    `json:"other_cost_micro"` // the pool's fee and the like
	Margin     sluice.Money    `json:"margin_micro"`
}

// IncomeStatement returns the results of the divisions over [from, to) by the
// entries' times: both divisions in USD always, then other commodities where
// they occur. It stops at the first error of the sequence.
func IncomeStatement(entries iter.Seq2[Entry, error], from, to time.Time) ([]DivisionResult, error) {
	type key struct {
		d sluice.Division
		c string
	}
	sums := map[key]*DivisionResult{}
	at := func(k key) *DivisionResult {
		if sums[k] == nil {
			sums[k] = &DivisionResult{Division: k.d, Commodity: k.c}
		}
		return sums[k]
	}
	at(key{sluice.Mining, USD})
	at(key{sluice.AI, USD})
	for e, err := range entries {
		if err != nil {
			return nil, err
		}
		if e.At.Before(from) || !e.At.Before(to) {
			continue
		}
		for _, p := range e.Postings {
			d := DivisionOf(p.Account)
			if d == "" {
				continue
			}
			r := at(key{d, p.Commodity})
			parts := strings.Split(p.Account, ":")
			switch {
			case parts[0] == "revenue":
				r.Revenue -= p.Amount
				if d == sluice.Mining && len(parts) > 2 && parts[2] == reserveSegment {
					r.Reserve -= p.Amount
				}
			case len(parts) > 2 && parts[2] == energyExpenseSegment:
				r.EnergyCost += p.Amount
			default:
				r.OtherCost += p.Amount
			}
			r.Margin -= p.Amount
		}
	}
	out := make([]DivisionResult, 0, len(sums))
	for _, r := range sums {
		out = append(out, *r)
	}
	order := func(r DivisionResult) int { // USD first, mining before AI
		n := 0
		if r.Commodity != USD {
			n += 2
		}
		if r.Division != sluice.Mining {
			n++
		}
		return n
	}
	slices.SortFunc(out, func(a, b DivisionResult) int {
		return cmp.Or(cmp.Compare(order(a)/2, order(b)/2), strings.Compare(a.Commodity, b.Commodity), cmp.Compare(order(a), order(b)))
	})
	return out, nil
}
