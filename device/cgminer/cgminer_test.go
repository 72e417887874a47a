package cgminer_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice"
	"sluice/device"
	"sluice/device/cgminer"
	"sluice/device/devicetest"
)

const head = `{"STATUS":[{"STATUS":"S","Code":70,"Msg":"stats"}],`

// quirks are replies as they come, and what the first STATS object's x is.
var quirks = map[string]string{
	"clean":                    head + `"STATS":[{"x":1.5}],"id":1}`,
	"trailing NUL":             head + `"STATS":[{"x":1.5}],"id":1}` + "\x00",
	"NUL and newline":          head + `"STATS":[{"x":1.5}],"id":1}` + "\x00\n",
	"NUL in the middle":        head + `"STATS":[{"x":` + "\x00" + `1.5}],"id":1}`,
	"no comma between objects": head + `"STATS":[{"x":1.5}{"y":2}],"id":1}`,
	"the same with a newline":  head + `"STATS":[{"x":1.5}` + "\n" + `{"y":2}],"id":1}`,
	"no comma before a key":    head + `"STATS":{"x":1.5}"id":1}`,
	"comma before a brace":     head + `"STATS":[{"x":1.5,}],"id":1,}`,
	"comma before a bracket":   head + `"STATS":[{"x":1.5} , ],"id":1}`,
	"comma after a bracket":    head + `"STATS":[,{"x":1.5}],"id":1}`,
	"two commas":               head + `"STATS":[{"y":1,,"x":1.5}],,"id":1}`,
	"newline in a string":      head + `"STATS":[{"s":"a` + "\n\r\t" + `b","x":1.5}],"id":1}`,
	"doubled quote":            head + `"STATS":[{"a":1,""temp0":60,"x":1.5}],"id":1}`,
	"bare inf and nan":         head + `"STATS":[{"a":inf,"b":-nan,"c":[NaN,Infinity],"x":1.5}],"id":1}`,
	"number as a string":       head + `"STATS":[{"x":"1.5"}],"id":1}`,
	"number with a unit":       head + `"STATS":[{"x":"1.5W"}],"id":1}`,
	"object for a list":        head + `"STATS":{"x":1.5},"id":1}`,
	"STATUS as an object":      `{"STATUS":{"STATUS":"S","Msg":"stats"},"STATS":[{"x":1.5}]}`,
	"STATUS as a letter":       `{"STATUS":"S","Msg":"stats","STATS":[{"x":1.5}]}`,
	"quirks inside strings":    head + `"STATS":[{"s":"}{ ,} [,{ \" inf","x":1.5}{}],"id":1}`,
}

func TestQuirks(t *testing.T) {
	for name, wire := range quirks {
		t.Run(name, func(t *testing.T) {
			a := devicetest.Replay(t, map[string][]byte{"stats": []byte(wire)})
			r, err := cgminer.Client{Addr: a.API(0)}.Call(context.Background(), cgminer.Request{Command: "stats"})
			if err != nil {
				t.Fatal(err)
			}
			f, ok := r.First("STATS")
			if x, known := f.Float("x"); !ok || !known || x != 1.5 {
				t.Errorf("x = %v, %v in %v", x, known, r)
			}
			for _, key := range []string{"a", "b", "c"} {
				if v, known := f.Float(key); known && (math.IsNaN(v) || math.IsInf(v, 0)) {
					t.Errorf("%s = %v", key, v)
				}
			}
		})
	}
}

func TestNumbersThatAreNone(t *testing.T) {
	r, err := cgminer.Parse([]byte(`{"S":{"a":"inf","b":"nan","c":"78-50-69-70","d":"","e":"0x10","f":null,"g":true,"h":"1_000","i":"W","j":[1]}}`))
	if err != nil {
		t.Fatal(err)
	}
	f, _ := r.First("S")
	for key := range f {
		if v, ok := f.Float(key); ok {
			t.Errorf("%s: %v reads as %v", key, f[key], v)
		}
	}
	if n := f.Numbers("c"); len(n) != 4 || n[0] != 78 || n[3] != 70 {
		t.Errorf("Numbers = %v", n)
	}
}

func TestRefusals(t *testing.T) {
	for wire, why := range map[string]string{
		`{"STATUS":[{"STATUS":"E","Code":14,"Msg":"Invalid command"}],"id":1}`: "Invalid command",
		`{"STATUS":[{"STATUS":"F","Code":1,"Msg":"Fatal"}],"id":1}`:            "Fatal",
		`{"STATUS":"E","Code":14,"Msg":"invalid cmd"}`:                         "invalid cmd",
		`{"STATUS":{"STATUS":"E","Msg":"no"}}`:                                 "no",
		`{"STATUS":[{"STATUS":"E"}],"SUMMARY":[]}`:                             "no reason given",
	} {
		_, err := cgminer.Parse([]byte(wire))
		var no *device.RefusedError
		if !errors.As(err, &no) || no.Why != why {
			t.Errorf("%s: %v, want the refusal %q", wire, err, why)
		}
	}
	if _, err := cgminer.Parse([]byte(`{"STATUS":[{"STATUS":"I","Code":118,"Msg":"ASC 0 set info"}]}`)); err != nil {
		t.Errorf("an informational status is no refusal: %v", err)
	}
}

func TestJoinedCommands(t *testing.T) {
	r, err := cgminer.Parse([]byte(`{"a":[{"STATUS":[{"STATUS":"S"}],"A":[{"x":1}],"id":1}],"b":[{"STATUS":[{"STATUS":"E","Msg":"no b"}],"id":1}],"id":1}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Part("a")
	if f, ok := p.First("A"); err != nil || !ok || f["x"] != 1.0 {
		t.Errorf("Part(a) = %v, %v", p, err)
	}
	var no *device.RefusedError
	if _, err := r.Part("b"); !errors.As(err, &no) {
		t.Errorf("Part(b): %v", err)
	}
	if p, err := r.Part("c"); p != nil || err != nil {
		t.Errorf("Part(c) = %v, %v", p, err)
	}
}

// TestEveryTruncation cuts a reply at each byte: none may pass for a whole one.
func TestEveryTruncation(t *testing.T) {
	whole := head + `"STATS":[{"Type":"Antminer S9"}{"GHS 5s":"13630.55","n":-1.5e3,"t":[1,2]}],"id":1}`
	for n := range len(whole) {
		r, err := cgminer.Parse([]byte(whole[:n]))
		if err == nil {
			t.Fatalf("%q parses to %v", whole[:n], r)
		}
		if n > 1 && !strings.Contains(err.Error(), "truncated") {
			t.Errorf("%q: %v; want it called truncated", whole[:n], err)
		}
		if sluice.KindOf(err) != sluice.Unavailable {
			t.Errorf("kind %v of %v", sluice.KindOf(err), err)
		}
	}
}

// TestMendKeepsJSON: whatever is well formed stays what it is.
func TestMendKeepsJSON(t *testing.T) {
	value := rapid.MapOf(rapid.String(), rapid.OneOf(
		rapid.Custom(func(t *rapid.T) any { return rapid.String().Draw(t, "s") }),
		rapid.Custom(func(t *rapid.T) any { return rapid.Float64().Draw(t, "f") }),
		rapid.Custom(func(t *rapid.T) any { return rapid.SliceOf(rapid.Int32()).Draw(t, "l") }),
		rapid.Custom(func(t *rapid.T) any { return map[string]any{rapid.String().Draw(t, "k"): nil} }),
	))
	rapid.Check(t, func(t *rapid.T) {
		in, err := json.Marshal(value.Draw(t, "v"))
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := json.Unmarshal(in, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(cgminer.Mend(in), &got); err != nil {
			t.Fatalf("%s became %s: %v", in, cgminer.Mend(in), err)
		}
		a, _ := json.Marshal(want)
		if b, _ := json.Marshal(got); string(a) != string(b) {
			t.Fatalf("%s became %s", a, b)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, wire := range quirks {
		f.Add([]byte(wire))
	}
	f.Add([]byte(`{"STATUS":"E"}`))
	f.Add([]byte("null"))
	f.Add([]byte(`,]`))
	f.Fuzz(func(t *testing.T, wire []byte) {
		r, err := cgminer.Parse(wire)
		if err != nil {
			if r != nil {
				var no *device.RefusedError
				if !errors.As(err, &no) {
					t.Errorf("a broken reply yields %v", r)
				}
			}
			return
		}
		for name := range r {
			for _, s := range r.Section(name) {
				for key := range s {
					if x, ok := s.Float(key); ok && (math.IsNaN(x) || math.IsInf(x, 0)) {
						t.Errorf("%s = %v", key, x)
					}
					s.Numbers(key)
				}
			}
			_, _ = r.Part(name)
		}
	})
}

// TestLegacyRecordings replays every recording of S7 to D3 machines.
func TestLegacyRecordings(t *testing.T) {
	all := devicetest.Recordings(t, "cgminer/legacy-S7-S9-T9-L3-D3__go-cgminer-api")
	rates := map[string]float64{"TestStats": 13630.55, "TestStatsS9": 13630.55, "TestStatsD3": 17052.3, "TestStatsL3plus": 580.455}
	for name, wire := range all {
		t.Run(name, func(t *testing.T) {
			a := devicetest.Replay(t, map[string][]byte{"x": wire})
			r, err := cgminer.Client{Addr: a.API(0)}.Call(context.Background(), cgminer.Request{Command: "x"})
			var no *device.RefusedError
			if strings.Contains(name, "StatusError") || strings.Contains(name, "StatusFatal") {
				if !errors.As(err, &no) {
					t.Errorf("%v; want a refusal", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sections := map[string]string{"TestStats": "STATS", "TestSumma": "SUMMARY", "TestVersi": "VERSION"}
			list := r.Section(sections[name[:9]])
			if strings.Contains(name, "Empty") {
				if len(list) != 0 {
					t.Errorf("%d objects in an empty section", len(list))
				}
				return
			}
			if len(list) == 0 {
				t.Fatalf("no %s in %v", sections[name[:9]], r)
			}
			if want, ok := rates[name]; ok {
				got, known := list[len(list)-1].Float("GHS 5s")
				if !known || got != want {
					t.Errorf("GHS 5s = %v, want %v", got, want)
				}
			}
		})
	}
}
