package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// Here says whether the host is the machine that runs sluice.
func (h Host) Here() bool { return h.Driver == "local" || h.Driver == "docker" }

// HasContainers says whether host i runs containers.
func (c *Config) HasContainers(i int) bool {
	return c.Hosts[i].Driver == "docker" || c.read != nil && c.read.has(fmt.Sprintf("hosts[%d].containers", i))
}

// checkHosts finds what is wrong with the hosts that run real work.
func (d *decoder) checkHosts(c *Config) {
	if n := slices.IndexFunc(c.Hosts, Host.Here); n >= 0 {
		for i := n + 1; i < len(c.Hosts); i++ {
			if c.Hosts[i].Here() {
				d.bad(fmt.Sprintf("hosts[%d].driver", i), "", "this machine is a host already: %s", c.Hosts[n].Name)
			}
		}
	}
	for i, h := range c.Hosts {
		p := fmt.Sprintf("hosts[%d].containers", i)
		if h.Driver == "virtual" && d.has(p) {
			d.bad(p, "", "%s: a virtual host runs nothing", p)
		}
		if h.Driver == "docker" && h.Containers.Image == "" {
			d.warn(p, "%s.image: tasks that name no image will be refused", p)
		}
		d.checkContainers(p, h.Containers)
	}
	d.checkGangNetworks(c)
}

// checkGangNetworks finds addresses that are no host's alone.
func (d *decoder) checkGangNetworks(c *Config) {
	for i, h := range c.Hosts {
		mine, ok := d.checkGangNetwork(fmt.Sprintf("hosts[%d].containers", i), h.Containers)
		for j := 0; ok && j < i; j++ {
			n := c.Hosts[j].Containers.GangNetwork
			if p, err := netip.ParsePrefix(n.Addresses); err == nil && n.Name == h.Containers.GangNetwork.Name && p.Overlaps(mine) {
				d.bad(fmt.Sprintf("hosts[%d].containers.gang_network.addresses", i), "", "%s: addresses of %s are those of the host %s too", h.Name, n.Name, c.Hosts[j].Name)
			}
		}
	}
}

func (d *decoder) checkGangNetwork(p string, k Containers) (mine netip.Prefix, ok bool) {
	n := k.GangNetwork
	if n == (GangNetwork{}) {
		return mine, false
	}
	at := join(p, "gang_network")
	if n.Name == "" || n.Addresses == "" {
		d.bad(at, "", "%s: it needs a name and addresses", at)
		return mine, false
	}
	mine, err := netip.ParsePrefix(n.Addresses)
	if err != nil || !mine.Addr().Is4() || mine.Masked() != mine || mine.Bits() < 8 {
		d.bad(join(at, "addresses"), "10.30.0.16/28", "%s.addresses: %q is no part of a network, such as 10.30.0.16/28", at, n.Addresses)
		return mine, false
	}
	return mine, true
}

func (d *decoder) checkContainers(p string, k Containers) {
	for name, path := range map[string]string{"socket": k.Socket, "sandbox_socket": k.SandboxSocket} {
		if path != "" && (!filepath.IsAbs(path) || strings.Contains(path, "://")) {
			at := join(p, name)
			d.bad(at, filepath.Join("/", strings.TrimPrefix(path, "unix://")), "%s: %q is not the path of a socket", at, path)
		}
	}
	allowed := []string{"container", "sandbox"}
	for i, name := range k.Isolations {
		if !slices.Contains(allowed, name) {
			at := fmt.Sprintf("%s[%d]", join(p, "isolations"), i)
			d.bad(at, nearest(name, allowed), "%s: %q is not one of %s", at, name, strings.Join(allowed, ", "))
		}
	}
}
