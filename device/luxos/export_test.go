package luxos

import (
	"sluice"
	"sluice/device/cgminer"
)

// Parse is what Read makes of one joined reply.
func Parse(wire []byte) (sluice.Reading, error) {
	all, err := cgminer.Parse(wire)
	if err != nil {
		return sluice.Reading{}, err
	}
	parts := map[string]cgminer.Reply{}
	for _, name := range sections {
		if p, no := all.Part(name); no == nil {
			parts[name] = p
		}
	}
	return reading(parts)
}
