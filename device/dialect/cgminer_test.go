package dialect_test

import (
	"testing"
	"time"

	"sluice/device/devicetest"
)

// TestOtherRecordings are those of payloads/INDEX.md that are only read.
func TestOtherRecordings(t *testing.T) {
	old := devicetest.Recordings(t, "cgminer/legacy-S7-S9-T9-L3-D3__go-cgminer-api")
	for name, test := range map[string]struct {
		replies map[string][]byte
		want    string
	}{
		"SealMiner A2": {
			devicetest.Recordings(t, "sealminer/stock-v2025__asic-rs"),
			`{"driver":"sealminer","vendor":"SealMiner","model":"A2","firmware_version":"2025091001","algorithm":"sha256d","mac":"50:d4:48:4b:86:78",
			"hashrate_ths":206.86047351,"expected_ths":230.83940728559,"power_w":3504,"power_source":"psu","power_limit_w":3500,"mode":"normal",
			"chip_temp_c":70,"fans_rpm":[3723,3723,3753,3723],"uptime_s":2481,"errors":null,
			"boards":[{"index":0,"active":true,"chips":153,"serial":"S124600252004637"},{"index":1},{"index":2}],
			"pools":[{"url":"stratum+tcp://stratum.braiins.com:3333","active":true}],"capabilities":{"sleep":true,"power_limit":false}}`,
		},
		"Auradine AT1500": {
			devicetest.Recordings(t, "auradine/stock-v1__asic-rs"),
			`{"driver":"auradine","vendor":"Auradine","model":"AT1500","firmware_version":"2023-12.27","mac":"1c:00:00:0e:3b:2b","expected_ths":160,
			"power_w":58.94,"power_source":"psu","power_limit_w":2000,"mode":"custom","fans_rpm":[7080,7020,7100,7020],"uptime_s":56696,"errors":null,
			"boards":[{"index":1,"chips":132,"hashrate_ths":6.8},{"chips":132},{"index":3,"chips":132,"hashrate_ths":7}],"capabilities":{"sleep":true}}`,
		},
		// }{ between objects, and figures as texts.
		"S9": {
			map[string][]byte{"stats": old["TestStatsS9"], "version": old["TestVersion"], "summary": old["TestSummary"]},
			`{"driver":"bmminer","vendor":"Antminer","model":"S9","firmware_version":"16.8.1.3","algorithm":"sha256d","hashrate_ths":13.63055,
			"expected_ths":13.50138,"power_w":null,"chip_temp_c":71,"board_temps_c":[56,52,56],"fans_rpm":[4080,4080],"uptime_s":100986,
			"boards":[{"index":5,"hashrate_ths":4.53624,"chips":63},{"index":6},{"index":7}]}`,
		},
		"S9 of one object": {map[string][]byte{"stats": old["TestStats"]}, `{"driver":"bmminer","model":"S9","hashrate_ths":13.63055}`},
		// Named GHS, but in MH/s.
		"L3+": {
			map[string][]byte{"stats": old["TestStatsL3plus"]},
			`{"driver":"bmminer","model":"L3+","algorithm":"scrypt","hashrate_ths":0.000580455,"fans_rpm":[5250,4260],
			"boards":[{"index":0,"chips":72,"hashrate_ths":0.00014557},{"index":1},{"index":2},{"index":3}]}`,
		},
		"D3": {
			map[string][]byte{"stats": old["TestStatsD3"]},
			`{"driver":"bmminer","model":"D3","algorithm":"x11","hashrate_ths":0.0170523,"boards":[{"chips":60},{"chips":60},{"chips":60}]}`,
		},
		"no more than a summary": {
			map[string][]byte{"summary": old["TestSummary"]},
			`{"driver":"cgminer","vendor":null,"algorithm":null,"hashrate_ths":13.58193,"uptime_s":40206}`,
		},
		"many summaries":  {map[string][]byte{"summary": old["TestSummaryMany"]}, `{"driver":"cgminer","hashrate_ths":13.58193}`},
		"odd types":       {map[string][]byte{"summary": old["TestSummaryBadJSON"], "version": old["TestVersionBadJSON"]}, `{"driver":"bmminer","model":"S9"}`},
		"nothing in them": {map[string][]byte{"summary": old["TestSummaryEmpty"], "version": old["TestVersionMany"]}, `{"driver":"bmminer","hashrate_ths":null}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, r := identify(t, devicetest.Replay(t, test.replies))
			like(t, r, test.want)
			if test.replies["stats"] == nil {
				return
			}
			// What is no Bitcoin miner must not be counted as one.
			read, err := d.Read(within(t, 5*time.Second))
			if err != nil || read.HasHashRate != (r.Algorithm == "sha256d") {
				t.Errorf("reads %+v, %v of a machine of %s", read, err, r.Algorithm)
			}
		})
	}
}

// TestScryptWithAHook: a machine that the Go driver of Bitmain's newer firmware reads
// is not counted either.
func TestScryptWithAHook(t *testing.T) {
	for name, counts := range map[string]bool{"L7": false, "S19": true} {
		stats := `{"STATUS":[{"STATUS":"S"}],"STATS":[{"BMMiner":"1.0.0","Type":"Antminer ` + name + `"},{"Elapsed":100,"GHS 5s":9160.5,"miner-mode":0}]}`
		a := devicetest.Replay(t, map[string][]byte{"stats": []byte(stats)})
		r, err := driver(t, "antminer", a).Read(within(t, 5*time.Second))
		if err != nil || r.HasHashRate != counts {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// TestNothingThatMines: refusals and fatal errors make no device.
func TestNothingThatMines(t *testing.T) {
	old := devicetest.Recordings(t, "cgminer/legacy-S7-S9-T9-L3-D3__go-cgminer-api")
	for _, name := range []string{"TestSummaryStatusError", "TestSummaryStatusFatal"} {
		a := devicetest.Replay(t, map[string][]byte{"summary": old[name], "version": old[name], "stats": old[name]})
		if d, r, err := load(t).Identify(within(t, 5*time.Second), a); err == nil {
			t.Errorf("%s: found %s, %+v", name, d.Name(), r)
		}
	}
}
