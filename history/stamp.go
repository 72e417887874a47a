package history

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	asUTC     = "write it as UTC, such as 2026-01-31T17:00:00Z, or with its offset"
	notInYear = "is outside the years 1970 to 2199"
)

// Forms that are no fastStamp. Parse takes parts of a second with each of them.
var (
	zoned    = []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07"}
	zoneless = []string{"2006-01-02T15:04:05", "2006-01-02T15:04"}
)

// stamp returns the instant that the text names in nanoseconds since 1970, or
// what is wrong with it. utc says whether a date alone stands for a UTC day.
func stamp(b []byte, utc bool) (int64, string) {
	if ns, ok := fastStamp(b); ok {
		return ns, ""
	}
	s := strings.TrimSpace(string(b))
	if len(s) == 10 {
		if t, err := time.Parse(time.DateOnly, s); err == nil {
			if !utc {
				return 0, "is a date without a zone: name the column date_utc if its days are UTC days"
			}
			return inYears(t)
		}
	}
	// A space between date and time is as good as the T; both may be small.
	u := strings.Replace(strings.ToUpper(s), " ", "T", 1)
	for _, form := range zoned {
		if t, err := time.Parse(form, u); err == nil {
			return inYears(t)
		}
	}
	for _, form := range zoneless {
		if _, err := time.Parse(form, u); err == nil {
			return 0, "has no zone: " + asUTC
		}
	}
	return 0, "is no time: " + asUTC
}

func inYears(t time.Time) (int64, string) {
	if y := t.UTC().Year(); y < firstYear || y >= lastYear {
		return 0, notInYear
	}
	return t.UnixNano(), ""
}

// fastStamp reads the usual forms, 2026-01-31T17:00:00Z and the same with a
// space, and with +00:00 instead of the Z. Everything else is left to time.Parse.
func fastStamp(b []byte) (int64, bool) {
	if len(b) != 20 && len(b) != 25 {
		return 0, false
	}
	if b[4] != '-' || b[7] != '-' || (b[10] != 'T' && b[10] != ' ') || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	bad := false
	two := func(i int) int {
		h, l := b[i]-'0', b[i+1]-'0'
		bad = bad || h > 9 || l > 9
		return int(h)*10 + int(l)
	}
	y, m, d := two(0)*100+two(2), two(5), two(8)
	hh, mm, ss := two(11), two(14), two(17)
	offset := 0
	if len(b) == 20 {
		bad = bad || b[19] != 'Z'
	} else {
		oh, om := two(20), two(23)
		bad = bad || b[22] != ':' || oh > 23 || om > 59 || (b[19] != '+' && b[19] != '-')
		offset = oh*3600 + om*60
		if b[19] == '-' {
			offset = -offset
		}
	}
	// Days after the 28th are few: time.Parse knows the months' lengths.
	if bad || y <= firstYear || y >= lastYear-1 || m < 1 || m > 12 || d < 1 || (d > 28 && d > monthDays(y, m)) || hh > 23 || mm > 59 || ss > 59 {
		return 0, false
	}
	s := daysFrom1970(y, m, d)*86400 + int64(hh*3600+mm*60+ss-offset)
	return s * int64(time.Second), true
}

func monthDays(y, m int) int {
	switch m {
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysFrom1970 counts the days to the date in the Gregorian calendar. Years begin
// in March here, so that the leap day is the last of its year.
func daysFrom1970(y, m, d int) int64 {
	if m <= 2 {
		y--
		m += 12
	}
	return int64(365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + d - 1 - 719468)
}

// number reads a value. A blank, or a word that stands for one, is NaN; what is
// no finite number is NaN with a note.
func number(b []byte) (float64, string) {
	for _, c := range b {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return word(b)
		}
	}
	if len(b) == 0 {
		return math.NaN(), ""
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsInf(v, 0) {
		return word(b)
	}
	return v, ""
}

// word reads what has other letters than a number, or none that make one.
func word(b []byte) (float64, string) {
	t := bytes.TrimSpace(b)
	switch {
	case isBlank(t):
		return math.NaN(), ""
	case len(t) < len(b):
		return number(t)
	}
	return math.NaN(), fmt.Sprintf("%.40q is no finite number", t)
}

func isBlank(b []byte) bool {
	switch strings.ToLower(string(bytes.TrimSpace(b))) {
	case "", "-", "na", "n/a", "nan", "null", "none":
		return true
	}
	return false
}
