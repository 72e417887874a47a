package report

import (
	"math"
	"strconv"
	"strings"
)

// Fraction is the unit of shares of one: 0.932 is shown as 93.2 %, and kept as
// 0.932 where machines read it.
const Fraction = "fraction"

// symbols holds the currencies that are written with a sign before the amount.
// Other units that are written in three capitals of isCode are prefixed by their
// code.
var symbols = map[string]string{
	"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "AUD": "A$", "CAD": "C$", "NZD": "NZ$", "SGD": "S$", "BRL": "R$",
	"CHF": "CHF ", "CNY": "CNY ", "DKK": "DKK ", "MXN": "MXN ", "NOK": "NOK ", "PLN": "PLN ", "SEK": "SEK ", "ZAR": "ZAR ",
}

// split takes a unit apart: what stands before a number and what stands after.
// "USD/MWh" is "$" and "/MWh", "MW" is "" and " MW".
func split(unit string) (before, after string) {
	head, rest, per := strings.Cut(unit, "/")
	if s, ok := symbols[head]; ok {
		if per {
			rest = "/" + rest
		}
		return s, rest
	}
	switch unit {
	case "":
		return "", ""
	case Fraction:
		return "", " %"
	}
	return "", " " + unit
}

// Compact writes v as a person would say it, in three to four digits: $1.23 M, $912 k,
// 12.4 MW, 93.2 %, −$8.30/MWh, $50/MWh, 1,234,567 MWh. The unit is a currency's code (USD),
// a currency per something (USD/MWh), Fraction, or anything else, which is
// written after the number. What is no number is a dash.
func Compact(v float64, unit string) string { return compact(v, unit, three) }

// brief is Compact in two digits where that is enough: $1.2 M.
func brief(v float64, unit string) string { return compact(v, unit, two) }

func compact(v float64, unit string, digits func(float64) string) string {
	if !finite(v) {
		return "–"
	}
	before, after := split(unit)
	if unit == Fraction {
		v *= 100
	}
	sign, a := "", math.Abs(v)
	if v < 0 {
		sign = "−"
	}
	var num, suffix string
	switch {
	case before != "" && a >= 999.5e6:
		num, suffix = digits(a/1e9), " bn"
	case before != "" && a >= 999.5e3:
		num, suffix = digits(a/1e6), " M"
	case before != "" && a >= 9999.5:
		num, suffix = digits(a/1e3), " k"
	case a >= 999.5:
		num = grouped(a, 0)
	case a == math.Trunc(a):
		num = grouped(a, 0)
	default:
		num = digits(a)
	}
	if strings.Trim(num, "0.,") == "" {
		sign = ""
	}
	return sign + before + num + suffix + after
}

// Exact writes v in full with that many decimals, in groups of thousands:
// $1,234,568, 93.2 %, 12.40 MW.
func Exact(v float64, unit string, decimals int) string {
	if !finite(v) {
		return "–"
	}
	before, after := split(unit)
	if unit == Fraction {
		v *= 100
	}
	num := grouped(math.Abs(v), decimals)
	sign := ""
	if v < 0 && strings.Trim(num, "0.,") != "" {
		sign = "−"
	}
	return sign + before + num + after
}

// three writes a in three digits.
func three(a float64) string {
	switch {
	case a >= 99.95:
		return grouped(a, 0)
	case a >= 9.995:
		return grouped(a, 1)
	case a >= 0.0995 || a == 0:
		return grouped(a, 2)
	}
	return strconv.FormatFloat(a, 'g', 2, 64)
}

// two writes a in two digits.
func two(a float64) string {
	switch {
	case a >= 9.95:
		return grouped(a, 0)
	case a < 0.995:
		return three(a)
	}
	return grouped(a, 1)
}

// grouped writes a ≥ 0 with commas between thousands.
func grouped(a float64, decimals int) string {
	s := strconv.FormatFloat(a, 'f', min(max(decimals, 0), 12), 64)
	whole, frac, dot := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if dot {
		whole += "." + frac
	}
	return whole
}

// finite says whether v can be drawn. What is beyond any quantity of this trade
// counts as missing: its sums would overflow.
func finite(v float64) bool { return math.Abs(v) <= 1e18 }
