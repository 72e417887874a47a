package idle_test

import (
	"math"
	"testing"

	"sluice/compute/idle"
)

// What the programs send, shortened.
const (
	xmrigSummary = `{"id":"92f3","worker_id":"host","uptime":1024,"restricted":false,"features":["api","cuda"],
"results":{"diff_current":9990,"shares_good":30},"algo":"kawpow","connection":{"pool":"pool.example:3333"},
"version":"6.21.0","kind":"miner","paused":false,"hashrate":{"total":[null,29500000.5,29400000.0],"highest":30000000.0}}`
	trexSummary = `{"accepted_count":6,"active_pool":{"difficulty":5,"url":"stratum+tcp://pool.example:3333"},"algorithm":"kawpow","api":"3.4",
"gpu_total":2,"gpus":[{"device_id":0,"gpu_id":0,"hashrate":29000000,"power":120,"pci_bus":16,"paused":false,"name":"A","temperature":60},
{"device_id":1,"gpu_id":1,"hashrate":0,"power":0,"pci_bus":17,"paused":true,"name":"B"}],"hashrate":29000000,"name":"t-rex","paused":false,"uptime":108,"version":"0.26.8"}`
	lolSummary = `{"Software":"lolMiner 1.88","Session":{"Startup":1700000000,"Uptime":3600},"Num_Workers":2,
"Workers":[{"Index":0,"Name":"A","Power":118.5,"PCIE_Address":"16:0"},{"Index":1,"Name":"B","Power":121,"PCIE_Address":"17:0"}],
"Num_Algorithms":1,"Algorithms":[{"Algorithm":"Autolykos V2","Pool":"pool.example:3333","Performance_Unit":"Mh/s","Performance_Factor":1000000,"Total_Performance":361.5,"Worker_Performance":[180.5,181]}]}`
	lolOld = `{"Software":"lolMiner 1.10","Mining":{"Algorithm":"Ethash"},"Session":{"Uptime":60,"Performance_Summary":58.1,"Performance_Unit":"mh/s"},
"GPUs":[{"Index":0,"Name":"A","Performance":58.1,"Consumption (W)":117.2,"PCIE_Address":"11:0"}]}`
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9*max(1, math.Abs(b)) }

func TestParse(t *testing.T) {
	s, err := idle.ParseXMRig([]byte(xmrigSummary))
	if err != nil || s.Software != "xmrig 6.21.0" || s.Algorithm != "kawpow" || s.Paused || !near(s.MHs, 29.5000005) || s.Uptime != 1024 {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = idle.ParseTRex([]byte(trexSummary))
	if err != nil || s.Paused || !near(s.MHs, 29) || len(s.GPUs) != 2 || s.GPUs[0] != (idle.Card{Index: 0, PCIBus: 16, MHs: 29, PowerW: 120}) || !s.GPUs[1].Paused {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = idle.ParseLolMiner([]byte(lolSummary))
	if err != nil || s.Algorithm != "Autolykos V2" || !near(s.MHs, 361.5) || len(s.GPUs) != 2 || !near(s.GPUs[1].MHs, 181) || s.GPUs[1].PCIBus != 17 || s.GPUs[0].PowerW != 118.5 {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = idle.ParseLolMiner([]byte(lolOld))
	if err != nil || s.Algorithm != "Ethash" || !near(s.MHs, 58.1) || len(s.GPUs) != 1 || s.GPUs[0].PowerW != 117.2 || s.GPUs[0].PCIBus != 11 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "null", "[]", "{}", `{"hashrate":{"total":[-1]}}`, `{"hashrate":-5}`, `{"Session":{"Performance_Summary":1,"Performance_Unit":"cows"}}`, "<html>"} {
		for name, parse := range parsers {
			if s, err := parse([]byte(bad)); err == nil {
				t.Errorf("%s takes %q: %+v", name, bad, s)
			}
		}
	}
}

var parsers = map[string]func([]byte) (idle.Status, error){"xmrig": idle.ParseXMRig, "trex": idle.ParseTRex, "lolminer": idle.ParseLolMiner}

func fuzz(f *testing.F, parse func([]byte) (idle.Status, error), seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parse(b)
		if err != nil {
			return
		}
		ok := s.MHs >= 0 && !math.IsInf(s.MHs, 0) && s.Uptime >= 0 && len(s.Software) < 100 && len(s.Algorithm) <= 64 && len(s.GPUs) <= 64
		for _, g := range s.GPUs {
			ok = ok && g.MHs >= 0 && !math.IsInf(g.MHs, 0) && g.PowerW >= 0 && g.PowerW <= 1e5
		}
		if !ok {
			t.Errorf("%+v", s)
		}
	})
}

func FuzzXMRig(f *testing.F)    { fuzz(f, idle.ParseXMRig, xmrigSummary, `{"hashrate":{"total":[null]}}`) }
func FuzzTRex(f *testing.F)     { fuzz(f, idle.ParseTRex, trexSummary, `{"hashrate":1}`) }
func FuzzLolMiner(f *testing.F) { fuzz(f, idle.ParseLolMiner, lolSummary, lolOld) }
