package dialect_test

import (
	"strings"
	"testing"

	"sluice/device/devicetest"
)

// TestUnknownIsAbsent: what a device leaves out, or says in words that mean nothing, is absent; no other figure and no
// other unit takes its place.
func TestUnknownIsAbsent(t *testing.T) {
	stats := func(kind, figures string) []byte {
		return []byte(`{"STATUS":[{"STATUS":"S"}],"STATS":[{"BMMiner":"1.0.0","Type":"` + kind + `"},{"Elapsed":100,"chain_acn1":72,` + figures + `}]}`)
	}
	sealed := func(more string) []byte {
		return []byte(`{"STATUS":[{"STATUS":"S","Description":"bdminer 4.11.1"}],"STATS":[{"STATS":0,"ASIC":"SEAL02"` + more + `}]}`)
	}
	lux := func(profile string) map[string][]byte {
		return map[string][]byte{
			"version":  []byte(`{"STATUS":[{"STATUS":"S"}],"VERSION":[{"API":"3.7","LUXminer":"2025.4.8.220305"}]}`),
			"config":   []byte(`{"CONFIG":[{"Model":"Antminer S19K Pro","Profile":"` + profile + `","NameplateTHS":121.8,"CurtailMode":"None","SystemStatus":"Normal"}]}`),
			"summary":  []byte(`{"SUMMARY":[{"GHS 5s":59756.06}]}`),
			"profiles": []byte(`{"PROFILES":[{"Profile Name":"290MHz","Watts":1188,"Hashrate":59.8}]}`),
			"pools":    []byte(`{"POOLS":[{"URL":"stratum+tcp://pool.example.com:3333","User":"u"}]}`),
		}
	}
	luxos := lux("290MHz")
	unlisted := lux("300MHz")
	mute := lux("290MHz")
	mute["config"] = mute["config"][:20]
	mute["summary"] = []byte(`{"SUMMARY":[{"GHS 5s":0}]}`)
	for name, c := range map[string]struct {
		api  map[string][]byte
		want string
	}{
		"an average of a scrypt machine": {map[string][]byte{"stats": stats("Antminer L3+", `"GHS 5s":"--","GHS av":577.49`)}, `{"driver":"bmminer","algorithm":"scrypt","hashrate_ths":0.00057749}`},
		"of what it is only by its version": {
			map[string][]byte{"stats": stats("", `"GHS 5s":"580.455"`), "version": []byte(`{"VERSION":[{"BMMiner":"2.0.0","API":"3.1","Type":"Antminer L3+"}]}`)},
			`{"driver":"bmminer","algorithm":"scrypt","hashrate_ths":0.000580455}`,
		},
		"a unit that is none of ours": {
			map[string][]byte{"stats": stats("Antminer Z15", `"rate_5s":420.5,"rate_ideal":430,"rate_unit":"KSol/s"`)},
			`{"driver":"antminer","model":"Z15","algorithm":"equihash","hashrate_ths":null,"expected_ths":null}`,
		},
		"a unit behind the number that is none of ours": {map[string][]byte{"stats": stats("Antminer S9", `"GHS 5s":"13.6 blocks"`)}, `{"driver":"bmminer","hashrate_ths":null}`},
		"words for nothing": {
			map[string][]byte{"stats": sealed(`,"Model":"N/A","Firmware":"nan","MAC":"--","0 SN":"unknown","0 Online":"--","0 Chip Count":153`)},
			`{"driver":"sealminer","model":null,"firmware_version":null,"mac":null,"boards":[{"index":0,"serial":null,"active":null,"chips":153}]}`,
		},
		"a sum with a part that nobody knows": {
			map[string][]byte{"stats": stats("Antminer S21 (Vnish 1.2.7)", `"chain_acn2":65,"chain_consumption1":861,"chain_consumption2":"nan","chain_consumption3":""`)},
			`{"driver":"vnish","power_w":null,"power_source":null}`,
		},
		"a sum with a bare nan": {map[string][]byte{"stats": stats("Antminer S21 (Vnish 1.2.7)", `"chain_consumption1":861,"chain_consumption2":nan`)}, `{"driver":"vnish","power_w":null}`},
		"a sum without a board that is not there": {
			map[string][]byte{"stats": stats("Antminer S21 (Vnish 1.2.7)", `"chain_consumption1":861,"chain_consumption2":"861","chain_consumption3":""`)},
			`{"driver":"vnish","power_w":1722}`,
		},
		"what it should reach in a profile": {luxos, `{"driver":"luxos","mode":"290MHz","expected_ths":59.8,"pools":[{"url":"stratum+tcp://pool.example.com:3333","active":null,"fee":false}]}`},
		"in one that is not listed":         {unlisted, `{"mode":"300MHz","expected_ths":null}`},
		"whether it sleeps":                 {mute, `{"driver":"luxos","mode":null,"hashrate_ths":0}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, r := identify(t, devicetest.Replay(t, c.api))
			like(t, r, c.want)
		})
	}
}

// TestOneObjectForAList: its element is the first, to whoever asks for its place.
func TestOneObjectForAList(t *testing.T) {
	const list = `{"Software":"PowerPlay v1.5.13","HBs":[{"Index":0,"Hashrate":[49440724,0,0]}],"Session":{"Uptime":100},"Stratum":{"Config Id":0},"StratumConfigs":[{"pool":"stratum+tcp://pool.example.com:3333","login":"u"}]}`
	for _, s := range []string{list, strings.NewReplacer("[{", "{", "}]", "}").Replace(list)} {
		_, r := identify(t, devicetest.ReplayHTTP(t, map[string][]byte{"GET /summary": []byte(s)}))
		like(t, r, `{"driver":"epic","hashrate_ths":49.440724,"pools":[{"url":"stratum+tcp://pool.example.com:3333","active":true}],"boards":[{"index":0,"hashrate_ths":49.440724}]}`)
	}
}
