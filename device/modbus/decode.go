package modbus

import "math"

// raw puts the words of a value together, the most significant first.
func raw(ws []uint16, order string) uint64 {
	var v uint64
	for i := range ws {
		w := ws[i]
		if order == "low" {
			w = ws[len(ws)-1-i]
		}
		v = v<<16 | uint64(w)
	}
	return v
}

// decode reads the value of a register from its words, in the unit of its
// quantity; exponent is that of SunSpec's scale factor, else 0. ok is false where
// the meter gives no value: the pattern that means so, or no number.
func (r *Register) decode(ws []uint16, exponent int16) (v float64, ok bool) {
	if len(ws) != int(words[r.Type]) {
		return 0, false
	}
	bits := raw(ws, r.Order)
	if r.Absent != nil && bits == *r.Absent {
		return 0, false
	}
	switch r.Type {
	case "u16", "u32", "u64":
		v = float64(bits)
	case "i16":
		v = float64(int16(bits))
	case "i32":
		v = float64(int32(bits))
	case "i64":
		v = float64(int64(bits))
	case "f32":
		v = float64(math.Float32frombits(uint32(bits)))
	case "f64":
		v = math.Float64frombits(bits)
	}
	if exponent != 0 {
		v *= math.Pow10(int(exponent))
	}
	v *= r.factor
	return v, !math.IsNaN(v) && !math.IsInf(v, 0)
}
