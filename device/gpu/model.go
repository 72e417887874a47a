package gpu

import (
	"regexp"
	"strings"
)

var (
	vendors = regexp.MustCompile(`(?i)^(nvidia\s+)?(tesla|quadro|geforce|graphics device)?\s*`)
	memory  = regexp.MustCompile(`(?i)(?:^|[\s-])(\d{1,4})\s*gi?b\b`)
	rtx     = regexp.MustCompile(`(?i)^(?:rtx|gtx)\s*-?(pro\s+)?([a-z]?\d{3,4})\s*(ada|blackwell|ti super|ti|super|d)?`)
	chip    = regexp.MustCompile(`(?i)^(?:gh200|gb200|gb300|[abhlptv]\d{1,4}[a-z]?)(?:\b|_)`)
)

// Model turns the driver's name of a product into the one that SkyPilot's tasks ask
// for: "NVIDIA H100 80GB HBM3" is H100, "NVIDIA A100-SXM4-80GB" is A100-80GB,
// "Tesla V100-SXM2-32GB" is V100-32GB, "NVIDIA GeForce RTX 4090" is RTX4090. A name
// that it does not know is returned without the vendor, spaces as hyphens.
func Model(product string) string {
	name := strings.Join(strings.Fields(clean(product)), " ")
	name = strings.TrimSpace(vendors.ReplaceAllString(name, ""))
	if name == "" {
		return "GPU"
	}
	if m := rtx.FindStringSubmatch(name); m != nil {
		kind := strings.ToUpper(name[:3])
		if m[1] != "" {
			return kind + "PRO" + strings.ToUpper(m[2])
		}
		switch suffix := strings.ToLower(m[3]); suffix {
		case "":
			return kind + strings.ToUpper(m[2])
		case "ada":
			return kind + strings.ToUpper(m[2]) + "-Ada"
		case "ti super":
			return kind + m[2] + "-Ti-Super"
		default:
			return kind + strings.ToUpper(m[2]) + "-" + strings.ToUpper(suffix[:1]) + suffix[1:]
		}
	}
	c := strings.ToUpper(strings.TrimRight(chip.FindString(name), "_ "))
	if c == "" {
		return strings.ReplaceAll(name, " ", "-")
	}
	gb := ""
	if m := memory.FindStringSubmatch(name); m != nil {
		gb = strings.TrimLeft(m[1], "0")
	}
	// Only where one chip is sold with several memories does the larger one stand in
	// the name.
	switch {
	case c == "A100" && gb == "80", c == "V100" && gb == "32":
		return c + "-" + gb + "GB"
	case c == "H100" && strings.Contains(strings.ToUpper(name), "NVL"):
		return "H100-NVL"
	}
	return c
}

// clean drops what does not belong into a name.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}
