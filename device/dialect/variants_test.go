package dialect_test

import (
	"net/http"
	"strings"
	"testing"

	"sluice/device/devicetest"
)

// Neighbours of the recorded firmwares: made up in their form, with figures of our own.
func TestVariants(t *testing.T) {
	const bmminer = `{"STATUS":[{"STATUS":"S","Code":70,"Msg":"BMMiner stats","Description":"bmminer 1.0.0"}],"STATS":[{"BMMiner":"4.11.1 rwglr","Miner":"0.0.1.3","CompileTime":"Thu Apr 10 18:12:59 UTC 2025","Type":"%"},
		{"STATS":0,"ID":"BC50","Elapsed":1926,"GHS 5s":99989.59,"GHS av":99761.4,"miner_count":3,"fan_num":4,"fan1":5010,"fan2":5160,"fan3":0,"fan5":0,
		"chain_acn1":88,"chain_acn2":88,"chain_acn3":88,"chain_acn4":0,"chain_rate1":34084.86,"chain_rate2":32303.65,"chain_rate3":33601.08,"chain_rate4":0.0,
		"chain_rateideal1":33677.28,"chain_rateideal2":32788.06,"chain_rateideal3":33209.54,"chain_rateideal4":31436.24,"chain_power1":1135,"chain_power2":1103,"chain_power3":1118,
		"temp1":45,"temp2":45,"temp3":47,"temp4":0,"temp2_1":59,"temp2_2":57,"temp2_3":58,"temp2_4":0,"temp_chip1":"59-59-59-59","total_power":3358,"total_rateideal":99674.88}],"id":1}`
	kind := func(is string) []byte { return []byte(strings.Replace(bmminer, "%", is, 1)) }
	const hydro = `{"STATUS":[{"STATUS":"S","Code":70,"Msg":"CGMiner stats","Description":"cminer 1.0.0"}],"STATS":[{"BMMiner":"1.0.0","Miner":"platform[AML]","CompileTime":"Fri Jun 26 09:24:23 CST 2026","Type":"Antminer S23 Hyd."},
		{"STATS":0,"ID":"BTM_SOC","Elapsed":167431,"GHS 5s":572845.56,"GHS av":576153.83,"rate_unit":"GH","Mode":0,"miner_count":3,"fan_num":0,"fan1":0,"fan2":0,"fan3":0,"fan4":0,
		"chain_acn1":84,"chain_acn2":84,"chain_acn3":84,"chain_acn4":0,"chain_rate1":"188896.10","chain_rate2":"192194.63","chain_rate3":"191754.83","chain_rate4":"",
		"temp1":52,"temp2_1":56,"temp_chip1":"44-44-56-56","temp_chip2":"43-43-55-55","temp_chip3":"44-44-56-56","temp_chip4":"0-0-0-0","temp_pcb1":"44-44-52-52","temp_pcb2":"44-44-52-52","temp_pcb3":"44-44-52-52",
		"total rate":572845.56,"total_rateideal":581972.7}],"id":1}`
	const web = `{"STATUS":{"STATUS":"S","Msg":"stats","api_version":"1.0.0"},"INFO":{"miner_version":"platform[AML]","CompileTime":"Fri Jun 26 09:24:23 CST 2026","type":"Antminer S23 Hyd."},
		"STATS":[{"elapsed":167430,"rate_5s":572845.56,"rate_avg":576153.9,"rate_ideal":581972.7,"rate_unit":"GH/s","chain_num":3,"fan_num":0,"fan":[],"watt":5525,
		"chain":[{"index":0,"asic_num":84,"rate_ideal":194099.1,"rate_real":188896.1,"sn":"A","temp_chip":[44,44,56,56],"temp_pcb":[44,44,52,52]}]}]}`
	for name, c := range map[string]struct {
		api, web map[string][]byte
		want     string
	}{
		"Hiveon": {
			map[string][]byte{"stats": kind("Antminer S19x88 Hiveon")},
			nil,
			`{"driver":"bmminer","vendor":"Antminer","model":"S19x88","firmware":"Hiveon","algorithm":"sha256d","hashrate_ths":99.98959,"expected_ths":99.67488,"power_w":3358,"power_source":"device-estimate",
			"chip_temp_c":59,"board_temps_c":[45,45,47],"fans_rpm":[5010,5160],"uptime_s":1926,"boards":[{"index":0,"chips":88,"hashrate_ths":34.08486,"power_w":1135},{"index":1},{"index":2}],
			"capabilities":{"sleep":false}}`,
		},
		"MSK": {
			map[string][]byte{"stats": kind("S19-88 v.2.6.0.39 ")},
			nil,
			`{"driver":"bmminer","vendor":"Antminer","model":"S19-88","firmware":"MSK","firmware_version":"2.6.0.39","algorithm":"sha256d","hashrate_ths":99.98959,"power_w":3358}`,
		},
		"hydro": {
			map[string][]byte{"stats": []byte(hydro)},
			map[string][]byte{"/cgi-bin/stats.cgi": []byte(web)},
			`{"driver":"antminer","model":"S23 Hyd.","algorithm":"sha256d","hashrate_ths":572.84556,"expected_ths":581.9727,"power_w":5525,"power_source":"device-estimate","fans_rpm":null,
			"chip_temp_c":56,"uptime_s":167431,"boards":[{"index":0,"chips":84,"hashrate_ths":188.8961,"chip_temp_c":56,"board_temp_c":52},{"index":1},{"index":2}]}`,
		},
		"hydro without its web": {map[string][]byte{"stats": []byte(hydro)}, nil, `{"driver":"antminer","model":"S23 Hyd.","hashrate_ths":572.84556,"power_w":null,"power_source":null,"fans_rpm":null}`},
		"Bitaxe 2.9": {
			map[string][]byte{},
			map[string][]byte{"/api/system/info": []byte(`{"power":15.2,"voltage":5100,"temp":58.5,"temp2":-1,"vrTemp":55,"hashRate":1203.4,"expectedHashrate":1224,"isUsingFallbackStratum":0,
			"macAddr":"AA:BB:CC:DD:EE:FF","uptimeSeconds":3600,"ASICModel":"BM1370","stratumURL":"pool.example","stratumPort":3333,"stratumUser":"u","fallbackStratumURL":"","version":"v2.9.0","boardVersion":"601","fanrpm":4000,"fan2rpm":0}`)},
			`{"driver":"bitaxe","model":"Gamma","hashrate_ths":1.2034,"expected_ths":1.224,"power_w":15.2,"chip_temp_c":58.5,"fans_rpm":[4000],"pools":[{"url":"pool.example:3333","active":true}]}`,
		},
		"NerdQAxe of two fans": {
			map[string][]byte{},
			map[string][]byte{"/api/system/info": []byte(`{"asicCount":4,"power":76.8,"temp":56.2,"vrTemp":61,"hashRate":4801.2,"macAddr":"aa:bb:cc:dd:ee:01","uptimeSeconds":100,"ASICModel":"BM1370",
			"deviceModel":"NerdQAxe++","stratumURL":"pool.example","stratumPort":3333,"version":"v1.0.30","fanrpm":3200,"fan2rpm":3100}`)},
			`{"driver":"bitaxe","vendor":"NerdAxe","model":"NerdQAxe++","hashrate_ths":4.8012,"expected_ths":null,"boards":[{"index":0,"chips":4}]}`,
		},
		// Scrypt, in MH/s.
		"Hammer": {map[string][]byte{
			"version": []byte(`{"STATUS":[{"STATUS":"S","Code":22,"Description":"ccminer 2.3.3"}],"VERSION":[{"CGMiner":"2.3.3","API":"3.1","Miner":"2.0.2.2","CompileTime":"2023-05-28","Type":"Hammer D10"}],"id":1}`),
			"summary": []byte(`{"STATUS":[{"STATUS":"S"}],"SUMMARY":[{"Elapsed":119134,"MHS 5s":"4885.0813","MHS av":"4872.86"}],"id":1}`),
		}, nil, `{"driver":"cgminer","model":"Hammer D10","algorithm":"scrypt","hashrate_ths":0.0048850813}`},
		"Elphapex that stands": {map[string][]byte{
			"summary": []byte(`{"STATUS":{"STATUS":"S","Msg":"summary"},"INFO":{"type":"DG-Home1","miner_version":"DG-Home1_V1.0.5"},"SUMMARY":[{"elapsed":0,"rate_5s":0,"rate_avg":0,"rate_ideal":3003.75,"rate_unit":"MH/s"}]}`),
			"stats":   []byte(`{"STATUS":{"STATUS":"S"},"INFO":{"type":"DG-Home1"},"STATS":[{"chain":[{"asic_num":0,"rate_real":0}],"fan":[420,420,420,1020]}]}`),
		}, nil, `{"driver":"cgminer","model":"DG-Home1","algorithm":"scrypt","uptime_s":null,"power_w":null}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := devicetest.Replay(t, c.api)
			a.WebPort = devicetest.ServeHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, ok := c.web[r.URL.Path]
				if !ok {
					http.NotFound(w, r)
					return
				}
				_, _ = w.Write(b)
			})).WebPort
			_, r := identify(t, a)
			like(t, r, c.want)
		})
	}
}
