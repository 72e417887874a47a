package dialect

import (
	"regexp"
	"strings"
)

// sha256d is the only algorithm whose hashrate is money here.
const sha256d = "sha256d"

// byModel tells the algorithm of machines that answer like SHA-256 ones, by
// their makers' model names. The first that matches counts.
var byModel = []struct {
	model     *regexp.Regexp
	algorithm string
}{
	{regexp.MustCompile(`(?i)\b(antminer )?(L3|L5|L7|L9|L11)(\+|\+\+|\b)`), "scrypt"},
	{regexp.MustCompile(`(?i)\bDG1|\bDG2|\bDG[ -]?Home|\bhammer D10|mini.?doge|\bLT5|\bLT6|\bA4\+? ?(LTC|dominator)|\bA6\+? ?(LTC)`), "scrypt"},
	{regexp.MustCompile(`(?i)\b(antminer )?(D3|D5|D7|D9)\b`), "x11"},
	{regexp.MustCompile(`(?i)\b(antminer )?(Z9|Z11|Z15)\b`), "equihash"},
	{regexp.MustCompile(`(?i)\b(antminer )?(E3|E9|E11)\b`), "etchash"},
	{regexp.MustCompile(`(?i)\b(antminer )?(KS3|KS5|KS7)\b|\bKS[0-5]`), "kheavyhash"},
	{regexp.MustCompile(`(?i)\b(antminer )?KA3\b|\bKD\d`), "blake2s"},
	{regexp.MustCompile(`(?i)\bantminer (A3)\b`), "blake2b"},
	{regexp.MustCompile(`(?i)\b(antminer )?(DR3|DR5|DR7)\b`), "blake256"},
	{regexp.MustCompile(`(?i)\b(antminer )?HS3\b`), "handshake"},
	{regexp.MustCompile(`(?i)\bantminer (X3)\b`), "cryptonight"},
	{regexp.MustCompile(`(?i)\bantminer (X5|X9)\b`), "randomx"},
	{regexp.MustCompile(`(?i)\bantminer (B7)\b`), "tensority"},
	{regexp.MustCompile(`(?i)\bantminer (K7)\b`), "eaglesong"},
}

// algorithmOf returns the algorithm in one spelling: what the device says, else
// what its model tells, else the dialect's.
func algorithmOf(said, model, def string) string {
	if a := spelled(said); a != "" {
		return a
	}
	for _, m := range byModel {
		if m.model.MatchString(model) {
			return m.algorithm
		}
	}
	return def
}

func spelled(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	switch flat := strings.NewReplacer("-", "", "_", "", " ", "").Replace(s); {
	case flat == "sha256" || flat == "sha256d" || flat == "bitcoin" || flat == "btc":
		return sha256d
	case strings.HasPrefix(flat, "rx/"):
		return "randomx"
	}
	return s
}
