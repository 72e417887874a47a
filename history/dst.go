package history

import "time"

// atClockChange says whether the instant lies where clocks change: from Saturday
// 12:00 to Sunday 12:00 UTC before and on a Sunday on which they do in the United
// States (since 2007), the European Union or Australia. Changes are in the small
// hours: 01:00 UTC in Europe, 06:00 to 11:00 UTC in America, Saturday 16:00 UTC in
// Australia.
func atClockChange(t time.Time) bool {
	t = t.UTC().Add(12 * time.Hour)
	if t.Weekday() != time.Sunday {
		return false
	}
	nth := (t.Day()-1)/7 + 1
	last := t.AddDate(0, 0, 7).Month() != t.Month()
	switch t.Month() {
	case time.March:
		return nth == 2 || last
	case time.April:
		return nth == 1
	case time.October:
		return nth == 1 || last
	case time.November:
		return nth == 1
	}
	return false
}
