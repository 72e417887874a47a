package idle

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"sluice"
)

// LolMiner reads lolMiner's HTTP API, which controls nothing: it is stopped by
// ending its process.
type LolMiner struct{ api *api }

// NewLolMiner returns the miner at the address.
func NewLolMiner(base string) (*LolMiner, error) {
	a, err := newAPI("lolMiner", base)
	if err != nil {
		return nil, err
	}
	return &LolMiner{a}, nil
}

// Status reads the summary.
func (x *LolMiner) Status(ctx context.Context) (Status, error) {
	b, err := x.api.call(ctx, http.MethodGet, "/summary", nil, nil, nil)
	if err != nil {
		return Status{}, err
	}
	return ParseLolMiner(b)
}

// units of the older form, in H/s.
var units = map[string]float64{"": 1, "h/s": 1, "sol/s": 1, "g/s": 1, "kh/s": 1e3, "mh/s": 1e6, "gh/s": 1e9, "th/s": 1e12}

// ParseLolMiner reads a summary, in the form of version 1.3x and later or the older
// one. Of two algorithms at once the first counts.
func ParseLolMiner(b []byte) (Status, error) {
	var in struct {
		Software string `json:"Software"`
		Session  struct {
			Uptime  float64  `json:"Uptime"`
			Summary *float64 `json:"Performance_Summary"` // older
			Unit    string   `json:"Performance_Unit"`    // older
		} `json:"Session"`
		Mining struct {
			Algorithm string `json:"Algorithm"`
		} `json:"Mining"` // older
		GPUs []struct {
			Index       int     `json:"Index"`
			Performance float64 `json:"Performance"`
			Power       float64 `json:"Consumption (W)"`
			PCI         string  `json:"PCIE_Address"`
		} `json:"GPUs"` // older
		Workers []struct {
			Index int     `json:"Index"`
			Power float64 `json:"Power"`
			PCI   string  `json:"PCIE_Address"`
		} `json:"Workers"`
		Algorithms []struct {
			Algorithm string    `json:"Algorithm"`
			Total     float64   `json:"Total_Performance"`
			Factor    float64   `json:"Performance_Factor"`
			Workers   []float64 `json:"Worker_Performance"`
		} `json:"Algorithms"`
	}
	if err := decode("lolMiner's summary", b, &in); err != nil {
		return Status{}, err
	}
	s := Status{Software: clean(in.Software), Uptime: max(0, in.Session.Uptime)}
	var total, factor float64
	switch {
	case len(in.Algorithms) > 0:
		a := in.Algorithms[0]
		s.Algorithm, total, factor = clean(a.Algorithm), a.Total, a.Factor
		if factor == 0 {
			factor = 1
		}
		for i, w := range in.Workers {
			c := Card{Index: w.Index, PCIBus: bus(w.PCI), PowerW: watts(w.Power)}
			if i < len(a.Workers) {
				c.MHs = a.Workers[i] // times factor below
			}
			s.GPUs = append(s.GPUs, c)
		}
	case in.Session.Summary != nil:
		f, ok := units[strings.ToLower(in.Session.Unit)]
		if !ok {
			return Status{}, sluice.Errorf(sluice.Unavailable, "", "lolMiner's summary has the unit %q", clean(in.Session.Unit))
		}
		s.Algorithm, total, factor = clean(in.Mining.Algorithm), *in.Session.Summary, f
		for _, g := range in.GPUs {
			s.GPUs = append(s.GPUs, Card{Index: g.Index, PCIBus: bus(g.PCI), PowerW: watts(g.Power), MHs: g.Performance})
		}
	default:
		return Status{}, sluice.Errorf(sluice.Unavailable, "is it the API of this program?", "lolMiner's summary has no performance")
	}
	if len(s.GPUs) > maxCards {
		return Status{}, sluice.Errorf(sluice.Unavailable, "", "lolMiner's summary has %d GPUs", len(s.GPUs))
	}
	var err error
	if s.MHs, err = rate(total, factor); err != nil {
		return Status{}, sluice.Errorf(sluice.Unavailable, "", "lolMiner's summary: %v", err)
	}
	for i := range s.GPUs {
		if s.GPUs[i].MHs, err = rate(s.GPUs[i].MHs, factor); err != nil {
			return Status{}, sluice.Errorf(sluice.Unavailable, "", "lolMiner's summary: %v", err)
		}
	}
	return s, nil
}

// bus is that of an address such as 11:0, -1 where there is none.
func bus(pci string) int {
	b, _, _ := strings.Cut(pci, ":")
	n, err := strconv.ParseUint(b, 10, 8)
	if err != nil {
		return -1
	}
	return int(n)
}
