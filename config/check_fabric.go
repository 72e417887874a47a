package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// checkFabric finds what does not fit together in how other machines join.
func (d *decoder) checkFabric(c *Config) {
	agents := 0
	for i, h := range c.Hosts {
		p := fmt.Sprintf("hosts[%d]", i)
		d.checkHostClass(c, i)
		d.checkHostMeter(c, i)
		for j, l := range h.Labels {
			if k, _, ok := strings.Cut(l, "="); !ok || k == "" {
				d.bad(fmt.Sprintf("%s.labels[%d]", p, j), "", "%s.labels: %q is not KEY=VALUE", p, l)
			}
		}
		if h.Driver != "agent" {
			for _, f := range []string{".address", ".cpus", ".isolations"} {
				if d.has(p + f) {
					d.bad(p+f, "", "%s%s: only hosts with driver: agent have it", p, f)
				}
			}
			continue
		}
		agents++
		if h.Slots <= 0 && !d.broken[p+".slots"] {
			d.bad(p, "", "the host %s needs slots: how many GPUs or CPU slots it gives to jobs", h.Name)
		}
		all := []string{"process", "container", "sandbox"}
		for j, x := range h.Isolations {
			if !slices.Contains(all, x) {
				d.bad(fmt.Sprintf("%s.isolations[%d]", p, j), nearest(x, all), "%s.isolations: there is no isolation %q", p, x)
			}
		}
	}
	f := c.Fabric
	if d.has("fabric") && agents == 0 {
		d.warn("fabric", "no host has driver: agent, so nobody is waited for")
	}
	if f.URL == "" {
		for _, k := range []string{"ca", "credentials", "user", "password"} {
			if d.has("fabric." + k) {
				d.bad("fabric."+k, "", "fabric.%s: it belongs to an existing cluster; give its url", k)
			}
		}
		if _, port, err := net.SplitHostPort(f.Listen); f.Listen != "" && (err != nil || !validPort(port)) {
			d.bad("fabric.listen", "", "fabric.listen: %q is not host:port", f.Listen)
		}
		return
	}
	if d.has("fabric.listen") {
		d.bad("fabric.listen", "", "fabric.listen: with the url of a cluster nothing is listened on")
	}
	for _, one := range strings.Split(f.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil || u.Scheme != "tls" || u.Host == "":
			d.bad("fabric.url", "", "fabric.url: %q is not tls://host:port", one)
		case u.User != nil:
			d.bad("fabric.url", "", "fabric.url: give the user and the password by themselves")
		}
	}
	if f.Credentials != "" && f.User != "" {
		d.bad("fabric.credentials", "", "fabric.credentials: give credentials, or a user and a password")
	}
	if f.Password.clear() {
		d.warn("fabric.password", "the secret stands in the file for everybody to read; env:NAME or file:PATH keeps it out")
	}
}

// checkHostClass finds hosts of one class that cannot take each other's place.
func (d *decoder) checkHostClass(c *Config, i int) {
	h := c.Hosts[i]
	p := fmt.Sprintf("hosts[%d].class", i)
	if h.Class == "" {
		return
	}
	if h.Driver == "virtual" || h.GPUs == "auto" {
		d.bad(p, "", "%s: a virtual host and one with gpus: auto have a class of their own", p)
		return
	}
	for k, o := range c.Hosts[:i] {
		if o.Name == h.Class && o.Class != h.Class {
			d.bad(p, "", "%s: %s is the class of the host of that name, which does not say so itself", p, h.Class)
		}
		if o.Class != h.Class {
			continue
		}
		if o.Node != h.Node || o.GPU != h.GPU || o.Rate != h.Rate || o.SpotRate != h.SpotRate {
			d.bad(p, "", "%s: hosts of the class %s must have one node, one kind of GPU and one price, as hosts[%d] has", p, h.Class, k)
		}
		return
	}
}

// checkHostMeter finds a host's meter that is not there.
func (d *decoder) checkHostMeter(c *Config, i int) {
	h := c.Hosts[i]
	p := fmt.Sprintf("hosts[%d].meter", i)
	switch {
	case h.Meter == "":
		return
	case h.Driver == "virtual":
		d.bad(p, "", "%s: a virtual host has no meter", p)
		return
	}
	name, n, err := OutletOf(h.Meter)
	if err != nil {
		d.bad(p, "", "%s: %s", p, asWrong(err).msg)
		return
	}
	x, ok := d.device(c, p, name, "measures no power", func(f facilityDriver) bool { return f.meters })
	if ok && n > 0 && x.Driver != "snmp" {
		d.bad(p, "", "%s: only a PDU has outlets: write %s alone", p, name)
	}
}
