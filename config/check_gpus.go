package config

import (
	"fmt"
	"net/url"
)

// checkGPUs finds what does not fit together of hosts' GPUs and of what they mine.
func (d *decoder) checkGPUs(c *Config) {
	for i, h := range c.Hosts {
		p := fmt.Sprintf("hosts[%d]", i)
		auto := h.GPUs == "auto"
		switch {
		case auto && h.Driver == "virtual":
			d.bad(p+".gpus", "", "%s.gpus: a virtual host names its gpu and slots", p)
		case auto && h.Slots > 0:
			d.bad(p+".slots", "", "%s.slots: its slots are the GPUs that the driver shows", p)
		}
		if !d.has(p + ".idle_mining") {
			continue
		}
		if !auto {
			d.bad(p+".idle_mining", "gpus: auto", "%s.idle_mining: it is for a host whose GPUs Sluice knows", p)
		}
		d.checkMining(p+".idle_mining", h.IdleMining)
	}
}

func (d *decoder) checkMining(p string, m IdleMining) {
	if m.Driver == "" {
		if !d.broken[p+".driver"] {
			d.bad(p, "", "%s: the driver is missing: xmrig, trex or lolminer", p)
		}
		return
	}
	if m.URL == "" && !d.broken[p+".url"] {
		d.bad(p, "", "%s: the url of its API is missing", p)
	}
	if u, err := url.Parse(m.URL); err == nil && !d.broken[p+".url"] && (u.User != nil || u.RawQuery != "") {
		d.bad(p+".url", "", "%s.url: give the token or password in token_file", p)
	}
	if m.Driver == "lolminer" && len(m.Command) == 0 {
		d.bad(p, "", "%s: lolminer's API cannot stop it: give the command that starts it", p)
	}
	if m.Hashrate <= 0 && !d.broken[p+".hashrate_mhs"] {
		d.bad(p, "", "%s: hashrate_mhs of one GPU is missing", p)
	}
	if m.Power <= 0 && !d.broken[p+".power"] {
		d.bad(p, "", "%s: power of one GPU while it mines is missing", p)
	}
	switch {
	case m.Values != "" && (d.has(p+".usd_per_mh_day") || d.has(p+".as_of")):
		d.bad(p+".values_file", "", "%s: give values_file, or usd_per_mh_day and as_of", p)
	case m.Values != "" && m.Algorithm == "":
		d.bad(p, "", "%s: algorithm says which value of values_file is meant", p)
	case m.Values == "" && (!d.has(p+".usd_per_mh_day") || !d.has(p+".as_of")):
		d.bad(p, "", "%s: give values_file, or usd_per_mh_day and as_of: what mining earns, and of which day that is", p)
	}
}
