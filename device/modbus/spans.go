package modbus

import (
	"sort"

	mb "github.com/simonvetter/modbus"

	"sluice"
)

// span is a run of registers that is read with one request.
type span struct{ from, n uint16 }

// spansOf covers the registers and their scale factors. A gap is never read:
// meters refuse a request that touches an address which they do not have.
func spansOf(regs []*Register) []span {
	var all []span
	for _, r := range regs {
		all = append(all, span{r.Address, words[r.Type]})
		if r.ScaleAt != 0 {
			all = append(all, span{r.ScaleAt, 1})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].from < all[j].from })
	var out []span
	for _, s := range all {
		if n := len(out) - 1; n >= 0 && int(s.from) <= int(out[n].from)+int(out[n].n) {
			end := max(int(out[n].from)+int(out[n].n), int(s.from)+int(s.n))
			if end-int(out[n].from) <= maxSpan {
				out[n].n = uint16(end - int(out[n].from))
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

// Where SunSpec's models may begin, and what stands there.
var sunSpecBases = []uint16{40000, 50000, 0}

const (
	sunSpecMark = 0x53756e53 // "SunS"
	sunSpecEnd  = 0xFFFF
	maxModels   = 64
)

// findModel finds where the model of the map begins in this meter; without
// SunSpec the addresses are absolute.
func (m *Meter) findModel(c *mb.ModbusClient) error {
	if len(m.m.SunSpec) == 0 || m.base != 0 {
		return nil
	}
	var last error
	for _, base := range sunSpecBases {
		mark, err := c.ReadRegisters(base, 2, mb.HOLDING_REGISTER)
		if err != nil {
			last = err
			continue
		}
		if raw(mark, "high") != sunSpecMark {
			continue
		}
		at := int(base) + 2
		for range maxModels {
			head, err := c.ReadRegisters(uint16(at), 2, mb.HOLDING_REGISTER)
			if err != nil {
				return err
			}
			for _, id := range m.m.SunSpec {
				if head[0] == id {
					m.base = uint16(at)
					return nil
				}
			}
			if at += 2 + int(head[1]); head[0] == sunSpecEnd || at > 65533 {
				break
			}
		}
		return sluice.Errorf(sluice.Unavailable, "is it a meter? sunspec-meter and sunspec-meter-float read different models", "it has none of the SunSpec models %v", m.m.SunSpec)
	}
	if last != nil {
		return last
	}
	return sluice.Errorf(sluice.Unavailable, "choose the meter's own map", "it is no SunSpec device")
}
