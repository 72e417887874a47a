package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"sluice"
)

// USD is the commodity of everything that Settle posts.
const USD = "USD"

// Posting is one line of an entry.
type Posting struct {
	Account   string       `json:"account"`
	Commodity string       `json:"commodity"`    // "USD", or another currency carried as such
	Amount    sluice.Money `json:"amount_micro"` // millionths of the commodity, debit positive
	Memo      string       `json:"memo,omitempty"`
}

// Entry is one event of the books, complete in itself. It never changes; a later
// entry may correct it.
type Entry struct {
	ID       string            `json:"id"` // the event's name: appending it again changes nothing
	At       time.Time         `json:"at"` // the start of what it accounts for, UTC
	Text     string            `json:"text"`
	Postings []Posting         `json:"postings"`
	Corrects string            `json:"corrects,omitempty"` // ID of the entry that it mends
	Meta     map[string]string `json:"meta,omitempty"`     // where the figures come from, and quantities
}

// Keys of Entry.Meta that Settle and Correct write. Quantities (all that begin
// with Meta…Wh, MetaTeraHashes, MetaUnitMilliseconds) add up over entries: a
// correction carries the difference.
const (
	MetaTo               = "to"             // end of the interval, RFC 3339
	MetaWh               = "wh"             // the division's share of the meter
	MetaReadingsWh       = "wh_readings"    // what the division's machines read
	MetaResidualWh       = "wh_residual"    // the first less the second: losses, cooling, errors of meters
	MetaTeraHashes       = "th"             // TH/s · s
	MetaReadyWh          = "wh_ready"       // load kept ready × time; no energy
	MetaUnitMilliseconds = "unit_ms"        // machine time of all jobs
	MetaJobMilliWh       = "job_mwh"        // energy of the units they held, in thousandths of a watt-hour
	MetaReserve          = "reserve"        // name of the reserve
	MetaPrice            = "price"          // $/MWh, $/PH/day for hashrate, $/MW·h for reserves, exact
	MetaPriceOrigin      = "price_origin"   // which feed, or which fallback
	MetaPricePublished   = "published"      // RFC 3339
	MetaEstimated        = "estimated"      // which inputs are estimates: "meter", "ready", "price", or two of them
	MetaPoolFeePPM       = "pool_fee_ppm"   // millionths
	MetaSplit            = "split"          // set where no reading said how to divide the meter
	MetaCorrection       = "correction_seq" // of a correcting entry
)

// Division returns the division whose result the entry changes, "" where it
// changes none or both.
func (e Entry) Division() sluice.Division {
	var found sluice.Division
	for _, p := range e.Postings {
		d := DivisionOf(p.Account)
		if d == "" {
			continue
		}
		if found != "" && found != d {
			return ""
		}
		found = d
	}
	return found
}

// Check returns an error of kind Invalid unless the entry may stand in a
// journal: named, dated, of two postings or more, to legal accounts, adding up
// to zero in each commodity.
func (e Entry) Check() error {
	if err := e.check(); err != nil {
		return sluice.Errorf(sluice.Invalid, "", "entry %q: %v", e.ID, err)
	}
	return nil
}

func (e Entry) check() error {
	if err := checkID(e.ID); err != nil {
		return err
	}
	if e.Corrects != "" {
		if err := checkID(e.Corrects); err != nil {
			return fmt.Errorf("corrects: %w", err)
		}
	}
	// The years that nanoseconds since 1970 can tell.
	if y := e.At.UTC().Year(); y < 1970 || y > 2261 {
		return fmt.Errorf("its time is %v", e.At)
	}
	if !utf8.ValidString(e.Text) {
		return fmt.Errorf("its text is not UTF-8")
	}
	for k, v := range e.Meta {
		if !legalKey(k) {
			return fmt.Errorf("meta key %q: lower-case letters, digits and _ are legal, but not date and date2", k)
		}
		if !utf8.ValidString(v) {
			return fmt.Errorf("meta %s is not UTF-8", k)
		}
	}
	if len(e.Postings) < 2 {
		return fmt.Errorf("it has %d postings, the least is 2", len(e.Postings))
	}
	sums := map[string]sluice.Money{}
	for i, p := range e.Postings {
		if err := checkAccount(p.Account); err != nil {
			return fmt.Errorf("posting %d: %w", i+1, err)
		}
		if !legalCommodity(p.Commodity) {
			return fmt.Errorf("posting %d: commodity %q is not 1 to 12 capital letters", i+1, p.Commodity)
		}
		if !utf8.ValidString(p.Memo) {
			return fmt.Errorf("posting %d: its memo is not UTF-8", i+1)
		}
		sum, ok := add(sums[p.Commodity], p.Amount)
		if !ok {
			return fmt.Errorf("posting %d: the sum leaves 64 bits", i+1)
		}
		sums[p.Commodity] = sum
	}
	for _, c := range slices.Sorted(maps.Keys(sums)) {
		if sums[c] != 0 {
			return fmt.Errorf("it is out of balance by %d millionths of %s", sums[c], c)
		}
	}
	return nil
}

// Equal says whether both entries say the same.
func (e Entry) Equal(o Entry) bool {
	return e.ID == o.ID && e.At.Equal(o.At) && e.Text == o.Text && e.Corrects == o.Corrects &&
		maps.Equal(e.Meta, o.Meta) && slices.Equal(e.Postings, o.Postings)
}

func checkID(id string) error {
	if id == "" || len(id) > 512 {
		return fmt.Errorf("an ID has 1 to 512 bytes, %q has %d", id, len(id))
	}
	for i := range len(id) {
		if c := id[i]; !plainSegment(c) && c != '/' && c != ':' && c != '%' {
			return fmt.Errorf("the ID %q has a character that is not legal: %q", id, c)
		}
	}
	return nil
}

func legalKey(k string) bool {
	if k == "" || len(k) > 64 || k == "date" || k == "date2" { // these two re-date an entry in hledger
		return false
	}
	for i := range len(k) {
		if c := k[i]; c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func legalCommodity(c string) bool {
	if len(c) < 1 || len(c) > 12 {
		return false
	}
	for i := range len(c) {
		if c[i] < 'A' || c[i] > 'Z' {
			return false
		}
	}
	return true
}

func add(a, b sluice.Money) (sluice.Money, bool) {
	s := a + b
	return s, (s > a) == (b > 0)
}

// Decimal prints the amount exactly, with six decimals and without a sign of
// currency.
func Decimal(m sluice.Money) string {
	sign, a := "", uint64(m)
	if m < 0 {
		sign, a = "-", -uint64(m)
	}
	return fmt.Sprintf("%s%d.%06d", sign, a/1_000_000, a%1_000_000)
}
