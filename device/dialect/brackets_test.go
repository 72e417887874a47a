package dialect

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestBrackets reads texts of KEY[value] as Avalon's firmware writes them.
func TestBrackets(t *testing.T) {
	for in, want := range map[string]string{
		"Ver[1246-83] PS[0 1214 3189]":              `{"Ver":"1246-83","PS":"0 1214 3189","PS_list":["0","1214","3189"]}`,
		"'STATS':{Ver[Q] SSID[] Nonce Mask[25]}":    `{"Ver":"Q","SSID":"","Nonce Mask":"25"}`,
		"SYSTEMSTATU[Work: In Idle, Hash Board: 1]": `{"SYSTEMSTATU":"Work: In Idle, Hash Board: 1","SYSTEMSTATU_list":["Work:","In","Idle,","Hash","Board:","1"]}`,
		"PVT_T0[ 63  70]":                           `{"PVT_T0":" 63  70","PVT_T0_list":["63","70"]}`,
		"nothing of the kind":                       `"nothing of the kind"`,
		"cut off in the mid[dle of":                 `"cut off in the mid[dle of"`,
		"A[1] B[2":                                  `{"A":"1"}`,
		"A[[1]]":                                    `"A[[1]]"`,
		"":                                          `""`,
		"stratum+tcp://pool.example.com:3333 is no key": `"stratum+tcp://pool.example.com:3333 is no key"`,
	} {
		var exp any
		if err := json.Unmarshal([]byte(want), &exp); err != nil {
			t.Fatal(err)
		}
		if got := brackets(in, 0); !reflect.DeepEqual(got, exp) {
			t.Errorf("%q is %v\n\twant %v", in, got, exp)
		}
	}
}

// FuzzBrackets: any text becomes an object of texts and lists, or stays as it is.
func FuzzBrackets(f *testing.F) {
	f.Add("Ver[1246-83] DNA[02010000] PS[0 1214 1316 242 3189 1320 3504]")
	f.Add("'STATS':{SSID[] SYSTEMSTATU[Work: In Work, Hash Board: 3 ] FanR[72%] MM ID0[x]}")
	f.Add("A[" + strings.Repeat("[", 300) + strings.Repeat("]", 300))
	f.Add(strings.Repeat("K[v] ", 500))
	// The same in words of a regexp, which is slower by far.
	slow := regexp.MustCompile(`([A-Za-z_][\w .%/\-\s]*?)\s*\[([^\[\]]*)\]`)
	f.Fuzz(func(t *testing.T, s string) {
		want := map[string]string{}
		for _, m := range slow.FindAllStringSubmatch(s, -1) {
			want[m[1]] = m[2]
		}
		got := bracketed(s)
		for k, v := range want {
			if got[k] != v && got[k+"_list"] == nil && want[strings.TrimSuffix(k, "_list")] == "" {
				t.Errorf("%q: %s is %v, want %q", s, k, got[k], v)
			}
		}
		switch v := brackets(s, 0).(type) {
		case string:
			if v != s {
				t.Errorf("%q became %q", s, v)
			}
		case map[string]any:
			for k, x := range v {
				if text, ok := x.(string); k == "" || (ok && !strings.Contains(s, "["+text+"]")) {
					t.Errorf("%q has no %s[%v]", s, k, x)
				}
			}
		default:
			t.Errorf("%q became %T", s, v)
		}
	})
}

// BenchmarkBrackets is one poll of a machine that has each of 360 chips in its text.
func BenchmarkBrackets(b *testing.B) {
	var text strings.Builder
	text.WriteString("Ver[1246-83-21072802] PS[0 1214 1316 242 3189 1320 3504] GHSspd[81072.68]")
	for range 9 {
		text.WriteString(" PVT_T0[" + strings.Repeat(" 63", 120) + "]")
	}
	s := text.String()
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		brackets(s, 0)
	}
}
