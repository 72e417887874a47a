package cgminer

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"

	"sluice"
	"sluice/device"
)

// Reply is one parsed answer: its sections by name (SUMMARY, STATS, …).
type Reply map[string]any

// Fields is one object of a section.
type Fields map[string]any

// Parse reads a reply as it came from the wire and mends the quirks that are
// known of firmwares. A STATUS of E or F (also that of a fault object without
// sections) is a *device.RefusedError with the machine's own words; a reply
// that ends too early or is no JSON object is an error, never a part of it.
func Parse(wire []byte) (Reply, error) {
	b := bytes.Trim(wire, "\x00 \t\r\n")
	if len(b) == 0 {
		return nil, errEmpty
	}
	var r Reply
	if err := json.Unmarshal(b, &r); err != nil {
		fixed := Mend(b)
		if err := json.Unmarshal(fixed, &r); err != nil {
			return nil, malformed(fixed, err)
		}
	}
	if r == nil {
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "the reply is null"}
	}
	return r, r.refusal()
}

var errEmpty = &sluice.Error{Kind: sluice.Unavailable, Msg: "the machine closed the connection without a reply"}

func malformed(b []byte, err error) error {
	// The decoder, not Unmarshal, tells an early end from a wrong byte.
	var v any
	cut := errors.Is(json.NewDecoder(bytes.NewReader(b)).Decode(&v), io.ErrUnexpectedEOF)
	msg := "the reply is not JSON"
	if cut {
		msg = "the reply is truncated after " + strconv.Itoa(len(b)) + " bytes"
	}
	return &sluice.Error{Kind: sluice.Unavailable, Msg: msg, Cause: err}
}

// refusal returns the machine's "no", if the reply is one.
func (r Reply) refusal() error {
	s, why := r.status()
	if s != "E" && s != "F" {
		return nil
	}
	if why == "" {
		why = "no reason given"
	}
	return &device.RefusedError{Why: why}
}

// status returns the STATUS letter and Msg. Firmwares send STATUS as a list of
// one object, as the object, or as the letter with Msg beside it.
func (r Reply) status() (letter, msg string) {
	if s, ok := r["STATUS"].(string); ok {
		return s, Fields(r).String("Msg")
	}
	f, ok := r.First("STATUS")
	if !ok {
		return "", ""
	}
	return f.String("STATUS"), f.String("Msg")
}

// Section returns the objects of a section; a single object counts as a list
// of one. What is not an object is left out.
func (r Reply) Section(name string) []Fields {
	switch v := r[name].(type) {
	case map[string]any:
		return []Fields{v}
	case []any:
		out := make([]Fields, 0, len(v))
		for _, e := range v {
			if f, ok := e.(map[string]any); ok {
				out = append(out, f)
			}
		}
		return out
	}
	return nil
}

// First returns the first object of a section.
func (r Reply) First(name string) (Fields, bool) {
	s := r.Section(name)
	if len(s) == 0 {
		return nil, false
	}
	return s[0], true
}

// Part returns one command's reply out of the answer to several ("a+b"), with
// that command's refusal. It returns nil where the answer has no such part.
func (r Reply) Part(command string) (Reply, error) {
	f, ok := r.First(command)
	if !ok {
		return nil, nil
	}
	return Reply(f), Reply(f).refusal()
}

// Float returns a finite number. Numbers in strings count, also with a unit
// after them ("58.94W"); inf, nan and anything else are absent.
func (f Fields) Float(key string) (float64, bool) { return number(f[key]) }

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, !math.IsInf(v, 0) && !math.IsNaN(v)
	case string:
		s := strings.TrimSpace(v)
		s = strings.TrimRight(strings.TrimRight(s, "%/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ°"), " ")
		for _, c := range s { // ParseFloat also reads hex and underscores
			if !strings.ContainsRune("0123456789.+-", c) {
				return 0, false
			}
		}
		x, err := strconv.ParseFloat(s, 64)
		return x, err == nil && !math.IsInf(x, 0)
	}
	return 0, false
}

// String returns a string, or "" where there is none.
func (f Fields) String(key string) string {
	s, _ := f[key].(string)
	return strings.TrimSpace(s)
}

// Numbers returns the numbers of a list, or of a string that joins them with
// dashes ("78-50-69-70").
func (f Fields) Numbers(key string) []float64 {
	var out []float64
	switch v := f[key].(type) {
	case []any:
		for _, e := range v {
			if x, ok := number(e); ok {
				out = append(out, x)
			}
		}
	case string:
		for p := range strings.SplitSeq(v, "-") {
			if x, ok := number(p); ok {
				out = append(out, x)
			}
		}
	default:
		if x, ok := number(v); ok {
			out = append(out, x)
		}
	}
	return out
}

// HashRateGHs returns a field that is in GH/s as TH/s.
func (f Fields) HashRateGHs(key string) (sluice.HashRate, bool) {
	x, ok := f.Float(key)
	if !ok || x < 0 {
		return 0, false
	}
	return sluice.HashRate(x / 1000), true
}
