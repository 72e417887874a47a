package dialect_test

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"path"
	"strings"
	"testing"

	"sluice/device"
	"sluice/device/devicetest"
)

// recording is one device's replies, at both of its ports.
type recording struct {
	folder string
	web    map[string]string // "GET /path" → file
	api    map[string]string // command → file
	gql    map[string]string // a word of the query → file
}

var recordings = map[string]recording{
	"vnish": {
		folder: "antminer/vnish-1.2.7-S21Pro__proto-fleet",
		web: map[string]string{
			"GET /api/v1/info": "web/info", "GET /api/v1/summary": "web/summary", "GET /api/v1/perf-summary": "web/perf-summary",
			"GET /api/v1/settings": "web/settings", "GET /api/v1/autotune/presets": "web/autotune/presets", "POST /api/v1/unlock": "web/unlock",
		},
		api: map[string]string{"version": "rpc/version", "stats": "rpc/stats", "summary": "rpc/summary", "pools": "rpc/pools", "devdetails": "rpc/devdetails"},
	},
	"vnish-api": { // with its web closed
		folder: "antminer/vnish-1.2.7-S21Pro__proto-fleet",
		api:    map[string]string{"version": "rpc/version", "stats": "rpc/stats", "summary": "rpc/summary", "pools": "rpc/pools"},
	},
	"bitaxe": {folder: "bitaxe/stock-v2_0_0__asic-rs", web: map[string]string{"GET /api/system/info": "system_info"}},
	"braiins-25.07": {
		folder: "antminer/braiins-v25_07__asic-rs",
		web:    braiins,
	},
	"braiins-26.04": {
		folder: "antminer/braiins-v26_04__asic-rs",
		web:    braiins,
	},
	"braiins-21.09": {
		folder: "antminer/braiins-v21_09__asic-rs",
		web:    map[string]string{"GET /cgi-bin/luci/admin/network/iface_status/lan": "web_net_conf"},
		api:    map[string]string{"version": "version"},
		gql:    graphql,
	},
	"braiins-25.03": {
		folder: "antminer/braiins-v25_03__asic-rs",
		web:    map[string]string{"GET /cgi-bin/luci/admin/network/iface_status/lan": "web_net_conf"},
		api:    map[string]string{"version": "version"},
		gql:    graphql,
	},
	"epic": {
		folder: "antminer/epic-v1__asic-rs",
		web: map[string]string{
			"GET /summary": "summary", "GET /capabilities": "capabilities", "GET /network": "network", "GET /temps": "temps", "GET /temps/chip": "chip_temps",
		},
	},
	"proto": {
		folder: "proto/stock-v1__asic-rs",
		web: map[string]string{
			"GET /api/v1/system": "system", "GET /api/v1/mining": "mining", "GET /api/v1/hardware": "hardware", "GET /api/v1/cooling": "cooling",
			"GET /api/v1/pools": "pools", "GET /api/v1/network": "network", "GET /api/v1/errors": "errors", "GET /api/v1/telemetry": "telemetry_full",
		},
	},
	"luxos": {
		folder: "antminer/luxos-v1__asic-rs",
		api: map[string]string{
			"version": "version", "config": "config", "summary": "summary", "power": "power", "stats": "stats", "devs": "devs", "temps": "temps",
			"fans": "fans", "pools": "pools", "profiles": "profiles", "events": "events",
		},
	},
	"antminer": {
		folder: "antminer/stock-v2020__asic-rs",
		api:    map[string]string{"version": "version", "stats": "stats", "summary": "summary", "pools": "pools", "devs": "devs"},
		web:    map[string]string{"GET /cgi-bin/get_system_info.cgi": "system_info"},
	},
}

var braiins = map[string]string{
	"GET /api/v1/version/": "version", "GET /api/v1/miner/details": "miner_details", "GET /api/v1/miner/stats": "miner_stats",
	"GET /api/v1/miner/hw/hashboards": "miner_hw_hashboards", "GET /api/v1/miner/errors": "miner_errors", "GET /api/v1/cooling/state": "cooling_state",
	"GET /api/v1/performance/tuner-state": "performance_tuner_state", "GET /api/v1/configuration/miner": "configuration_miner",
	"GET /api/v1/pools/": "pools", "GET /api/v1/network/": "network",
}

var graphql = map[string]string{"uptime": "gql_system", "childSolvers": "gql_boards", "autotuning": "gql_tuning", "poolGroups": "gql_pools"}

// serve replays the recording. Names of requests in spoiled are answered by it
// instead.
func (r recording) serve(t *testing.T, spoiled map[string]http.HandlerFunc) device.Address {
	t.Helper()
	file := func(name string) []byte {
		b, ok := devicetest.Shared(t, "devices/payloads/"+r.folder+"/"+name+".json")[path.Base(name)+".json"]
		if !ok {
			t.Fatalf("no %s in %s", name, r.folder)
		}
		return b
	}
	web, api, gql := map[string][]byte{}, map[string][]byte{}, map[string][]byte{}
	for k, v := range r.web {
		web[k] = file(v)
	}
	for k, v := range r.gql {
		gql[k] = file(v)
	}
	for k, v := range r.api {
		api[k] = file(v)
	}
	a := devicetest.ServeHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		name := q.Method + " " + q.URL.Path
		if h := spoiled[name]; h != nil {
			h(w, q)
			return
		}
		if name == "POST /graphql" {
			body, _ := io.ReadAll(q.Body)
			for word, b := range gql {
				if strings.Contains(string(body), word) {
					_, _ = w.Write(b)
					return
				}
			}
		}
		b, ok := web[name]
		if !ok {
			http.NotFound(w, q)
			return
		}
		_, _ = w.Write(b)
	}))
	if len(api) > 0 {
		a.APIPort = devicetest.Replay(t, api).APIPort
	}
	return a
}

// fact is one figure of the recordings' index, and where it stands in a report.
type fact struct {
	at   string // keys and indexes, with # for a length
	want any
}

// facts are what the index of the recordings says.
var facts = map[string][]fact{
	"vnish": {
		{"driver", "vnish"},
		{"vendor", "Antminer"},
		{"model", "S21 Pro"},
		{"firmware_version", "1.2.7"},
		{"algorithm", "sha256d"},
		{"mac", "02:95:23:b3:e0:79"},
		{"hashrate_ths", 173.87094},
		{"power_w", 2583.0},
		{"power_source", "psu"},
		{"mode", "2800"},
		{"chip_temp_c", 65.0},
		{"fans_rpm.#", 4.0},
		{"fans_rpm.0", 5880.0},
		{"fans_rpm.1", 5880.0},
		{"fans_rpm.2", 5940.0},
		{"fans_rpm.3", 5940.0},
		{"pools.#", 3.0},
		{"pools.0.url", "stratum.braiins.com:3333"},
		{"pools.0.active", true},
		{"pools.0.fee", false},
		{"pools.2.fee", true},
		{"profiles.#", 25.0},
		{"profiles.0.name", "2550"},
		{"profiles.0.power_w", 2550.0},
		{"profiles.0.hashrate_ths", 170.0},
		{"profiles.24.power_w", 4690.0},
		{"profiles.24.hashrate_ths", 313.0},
		{"boards.#", 3.0},
		{"boards.0.chips", 65.0},
		{"uptime_s", 6900.0},
		{"capabilities.sleep", true},
		{"capabilities.throttle", false},
		{"capabilities.profiles", true},
	},
	"vnish-api": {
		{"driver", "vnish"},
		{"model", "S21 Pro"},
		{"firmware_version", "1.2.7"},
		{"hashrate_ths", 173.87094},
		{"power_w", 2583.0},
		{"chip_temp_c", 65.0},
		{"fans_rpm.#", 4.0},
		{"boards.#", 3.0},
		{"boards.2.chips", 65.0},
		{"pools.#", 3.0},
		{"pools.2.fee", true},
		{"uptime_s", 4423.0},
		{"mode", "mine"},
		{"expected_ths", 196.51717},
	},
	"bitaxe": {
		{"driver", "bitaxe"},
		{"vendor", "Bitaxe"},
		{"model", "Supra"},
		{"hashrate_ths", 1.0},
		{"power_w", 2.65000009536743},
		{"chip_temp_c", 59.875},
		{"fans_rpm.#", 1.0},
		{"fans_rpm.0", 3517.0},
		{"pools.0.url", "btc.example.pool:3333"},
		{"pools.0.active", true},
		{"pools.1.active", false},
		{"mac", "aa:bb:cc:dd:ee:ff"},
		{"uptime_s", 4.0},
		{"firmware_version", "v2.4.5-3-gb5d1e36-dirty"},
		{"capabilities.sleep", false},
	},
	"braiins-25.07": {
		{"driver", "braiins"},
		{"model", "S19 XP"},
		{"firmware_version", "25.07-plus"},
		{"power_w", 3137.0},
		{"power_limit_w", 3031.0},
		{"hashrate_ths", 142.40081429465002},
		{"fans_rpm.#", 4.0},
		{"fans_rpm.0", 5904.0},
		{"chip_temp_c", 70.5},
		{"mac", "02:ee:da:a9:b6:4a"},
		{"boards.#", 3.0},
		{"boards.0.chips", 110.0},
		{"boards.0.serial", "NGSBYPDBCJBAG8562"},
		{"pools.#", 2.0},
		{"pools.0.url", "stratum+tcp://example.pool.com:3333"},
		{"pools.0.active", true},
		{"uptime_s", 69725.0},
		{"mode", "mine"},
		{"power_source", "device-estimate"},
		{"errors.#", 2.0},
		{"capabilities.power_limit", true},
	},
	"braiins-26.04": {
		{"driver", "braiins"},
		{"model", "S21 Pro"},
		{"firmware_version", "26.04-plus"},
		{"power_w", 3480.0},
		{"power_limit_w", 3500.0},
		{"hashrate_ths", 245.4056536543818},
		{"expected_ths", 252.5975831472},
		{"boards.#", 3.0},
		{"boards.0.serial", "THQGYSCBDJIAH11S3"},
		{"pools.#", 2.0},
		{"uptime_s", 7206.0},
	},
	"braiins-21.09": {
		{"driver", "braiins-graphql"},
		{"firmware_version", "22.08-plus"},
		{"power_w", 735.0},
		{"power_limit_w", 900.0},
		{"hashrate_ths", 7.160208944955902},
		{"expected_ths", 7.24240252323},
		{"boards.#", 3.0},
		{"boards.0.chips", 63.0},
		{"boards.0.index", 6.0},
		{"fans_rpm.#", 2.0},
		{"fans_rpm.0", 4080.0},
		{"fans_rpm.1", 5580.0},
		{"pools.#", 2.0},
		{"pools.1.url", "stratum+tcp://btc2.example.pool:3333"},
		{"chip_temp_c", 89.25},
		{"board_temps_c.1", 75.375},
		{"uptime_s", 1189.0},
		{"mac", "01:23:45:67:89:10"},
		{"capabilities.sleep", false},
	},
	"braiins-25.03": {
		{"driver", "braiins-graphql"},
		{"firmware_version", "25.03-plus"},
		{"mac", "02:34:98:9e:9f:e1"},
		{"power_w", 4448.0},
		{"power_limit_w", 3878.0},
		{"pools.#", 2.0},
		{"chip_temp_c", 75.0},
		{"boards.0.serial", "NGSBYT0BEJCJD0CHY"},
		{"hashrate_ths", 251.23533070591792},
		{"fans_rpm.#", 4.0},
	},
	"epic": {
		{"driver", "epic"},
		{"model", "S19 XP"},
		{"firmware_version", "1.5.13"},
		{"algorithm", "sha256d"},
		{"power_w", 2166.6174},
		{"power_source", "psu"},
		{"boards.#", 3.0},
		{"boards.0.active", false},
		{"boards.1.active", true},
		{"boards.1.hashrate_ths", 49.440724},
		{"boards.2.hashrate_ths", 49.925124},
		{"hashrate_ths", 99.365848},
		{"fans_rpm.#", 4.0},
		{"fans_rpm.1", 0.0},
		{"fans_rpm.3", 5745.0},
		{"uptime_s", 23170.0},
		{"expected_ths", 143.0},
		{"pools.0.url", "stratum+tcp://mine.ocean.xyz:3334"},
		{"pools.0.active", true},
		{"profiles.#", 6.0},
		{"profiles.0.power_w", 1700.0},
		{"profiles.5.hashrate_ths", 169.0},
		{"mac", "e6:d4:41:51:64:28"},
		{"mode", "mine"},
		{"power_limit_w", 3000.0},
	},
	"proto": {
		{"driver", "proto"},
		{"vendor", "Proto"},
		{"model", "Rig"},
		{"firmware_version", "1.8.0"},
		{"hashrate_ths", 141.1474350314711},
		{"expected_ths", 145.0},
		{"power_w", 3447.008523267969},
		{"power_limit_w", 3400.0},
		{"boards.#", 4.0},
		{"boards.3.chips", 120.0},
		{"boards.3.index", 3.0},
		{"boards.0.hashrate_ths", 36.44848053006888},
		{"fans_rpm.#", 4.0},
		{"fans_rpm.0", 4346.0},
		{"pools.0.url", "stratum+tcp://pool-a.example.com:3333"},
		{"pools.#", 2.0},
		{"mac", "02:00:00:ad:66:39"},
		{"mode", "mine"},
		{"uptime_s", 28.0},
	},
	"luxos": {
		{"driver", "luxos"},
		{"model", "S19k Pro"},
		{"firmware_version", "2025.4.8.220305"},
		{"mac", "62:f7:5e:b7:10:46"},
		{"power_w", 1051.0},
		{"power_source", "device-estimate"},
		{"power_limit_w", 1188.0},
		{"mode", "290MHz"},
		{"hashrate_ths", 59.75606},
		{"boards.#", 3.0},
		{"boards.0.chips", 77.0},
		{"boards.2.chips", 77.0},
		{"boards.2.serial", "JYZZYRSBDJEBI06ZR"},
		{"fans_rpm.#", 4.0},
		{"pools.#", 4.0},
		{"pools.0.url", "stratum+tcp://ca.stratum.braiins.com:3333"},
		{"profiles.#", 25.0},
		{"profiles.0.name", "190MHz"},
		{"profiles.0.power_w", 784.0},
		{"uptime_s", 3453.0},
		{"expected_ths", 61.9542},
		{"errors.#", 2.0},
		{"errors.0", "NOPIC_PROTECTION: Miner shutdown due to NOPIC protection."},
		{"capabilities.sleep", true},
		{"capabilities.lanes.sleep.seconds", 5.0},
	},
	"antminer": {
		{"driver", "antminer"},
		{"model", "S19 Pro"},
		{"firmware_version", "FR-1.12(251009-S21)"},
		{"hashrate_ths", 110.56689},
		{"expected_ths", 110.0},
		{"boards.#", 3.0},
		{"boards.0.chips", 114.0},
		{"boards.0.hashrate_ths", 37.6033},
		{"fans_rpm.#", 4.0},
		{"fans_rpm.0", 6000.0},
		{"fans_rpm.1", 5880.0},
		{"fans_rpm.2", 5040.0},
		{"fans_rpm.3", 5040.0},
		{"chip_temp_c", 78.0},
		{"board_temps_c.0", 73.0},
		{"power_w", nil},
		{"power_source", nil},
		{"pools.#", 3.0},
		{"pools.0.url", "stratum+tcp://btc.global.luxor.tech:700"},
		{"pools.0.active", true},
		{"uptime_s", 50474.0},
		{"mac", nil},
		{"mode", "mine"},
	},
}

// look finds a value in decoded JSON by dotted keys.
func look(v any, at string) any {
	for key := range strings.SplitSeq(at, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			if key == "#" {
				return float64(len(x))
			}
			i := 0
			for _, c := range key {
				i = 10*i + int(c-'0')
			}
			if i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			if key == "#" {
				return 0.0
			}
			return nil
		}
	}
	return v
}

func check(t *testing.T, r device.Report, want []fact) {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, f := range want {
		g := look(got, f.at)
		x, okX := g.(float64)
		y, okY := f.want.(float64)
		if okX && okY && math.Abs(x-y) <= 1e-9*math.Abs(y) {
			continue
		}
		if g != f.want {
			t.Errorf("%s = %v, want %v", f.at, g, f.want)
		}
	}
	if t.Failed() {
		t.Logf("%s", b)
	}
}

func TestRecordings(t *testing.T) {
	for name, r := range recordings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, rep := identify(t, r.serve(t, nil))
			check(t, rep, facts[name])
			again, err := d.Report(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			check(t, again, facts[name])
		})
	}
}
