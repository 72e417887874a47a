package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sluice"
)

// Correct returns the entries that turn the settlement of was into that of now,
// an interval of the same From and To: for each part that differs one entry with
// the differences, dated as the interval so that its period comes out right. The
// original is never touched. seq counts the corrections of an interval from 1;
// was is the interval as the last one left it. Where no amount and no quantity
// differs there is no entry.
func Correct(site string, was, now Interval, seq int) ([]Entry, error) {
	if !was.From.Equal(now.From) || !was.To.Equal(now.To) {
		return nil, sluice.Errorf(sluice.Invalid, "", "correcting [%v, %v): it is another interval than [%v, %v)",
			was.From, was.To, now.From, now.To)
	}
	if seq < 1 {
		return nil, sluice.Errorf(sluice.Invalid, "", "correcting %v: corrections count from 1, not %d", was.From, seq)
	}
	if err := cmp.Or(was.check(), now.check()); err != nil {
		return nil, err
	}
	reserves := reserveNames(was, now)
	old, next := parts(was, reserves), parts(now, reserves)
	var out []Entry
	for i := range next {
		e, differs := difference(old[i], next[i])
		if !differs {
			continue
		}
		e.ID = entryID("correct", site, now.From, fmt.Sprintf("%d/%s", seq, next[i].name))
		if !old[i].empty() {
			e.Corrects = entryID("settle", site, now.From, next[i].name)
		}
		e.Meta[MetaCorrection] = strconv.Itoa(seq)
		if err := e.Check(); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// difference returns next less old. The provenance is that of next.
func difference(old, next part) (Entry, bool) {
	e := next.entry
	e.Text = "Correction: " + e.Text
	e.Meta = maps.Clone(e.Meta)
	differs := false
	for k, q := range next.quantities {
		delete(e.Meta, k)
		if d := q - old.quantities[k]; d != 0 {
			e.Meta[k] = strconv.FormatInt(d, 10)
			differs = true
		}
	}
	type line struct{ account, commodity, memo string }
	sums := map[line]sluice.Money{}
	for _, p := range next.entry.Postings {
		sums[line{p.Account, p.Commodity, p.Memo}] += p.Amount
	}
	for _, p := range old.entry.Postings {
		sums[line{p.Account, p.Commodity, p.Memo}] -= p.Amount
	}
	lines := slices.SortedFunc(maps.Keys(sums), func(a, b line) int {
		return cmp.Or(strings.Compare(a.account, b.account), strings.Compare(a.commodity, b.commodity),
			strings.Compare(a.memo, b.memo))
	})
	e.Postings = nil
	for _, l := range lines {
		if sums[l] != 0 {
			e.Postings = append(e.Postings, Posting{l.account, l.commodity, sums[l], l.memo})
			differs = true
		}
	}
	if len(e.Postings) == 0 && len(lines) >= 2 {
		// Only a quantity changed, at a price of nothing: it is told all the same.
		for _, l := range lines[:2] {
			e.Postings = append(e.Postings, Posting{l.account, l.commodity, 0, l.memo})
		}
	}
	return e, differs
}
