package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Ratio is a number that may be written as a share: 60% or 0.6, and 100% or 1.
// Unlike a Percent it may be the whole, more than it, or negative, within the
// field's range.
type Ratio float64

func parseRatio(s string) (Ratio, error) {
	num, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, &wrong{msg: fmt.Sprintf("%q is no share; write it as 60%% or 0.6", s)}
	}
	if percent {
		x /= 100
	}
	return Ratio(x), nil
}
