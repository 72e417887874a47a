package config

import (
	"fmt"
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
