package docker

import (
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/compute"
)

// check refuses what containers do not give.
func check(spec compute.RunSpec) error {
	switch {
	case spec.Task == nil:
		return sluice.Errorf(sluice.Invalid, "", "the run has no task")
	case spec.Egress == compute.EgressHost:
		return sluice.Errorf(sluice.Invalid, "ask for internet or open, or for the isolation process", "a container does not get the host's own network")
	case !slices.Contains([]compute.Egress{"", compute.EgressNone, compute.EgressInternet, compute.EgressOpen}, spec.Egress):
		return sluice.Errorf(sluice.Invalid, "", "unknown egress policy %q", spec.Egress)
	case spec.Egress == compute.EgressOpen && len(spec.EgressAllow) > 0:
		return sluice.Errorf(sluice.Invalid, "", "the egress open has nothing to allow besides")
	case spec.Gang != nil && (!spec.Gang.Address.Is4() || !isNetwork(spec.Gang.Network)):
		return sluice.Errorf(sluice.Invalid, "", "%q has no address on the network %q", spec.Gang.Address, spec.Gang.Network)
	case spec.Isolation == compute.IsolationSandbox && filtered(spec):
		// Its packets come from a network stack of its own, past the host's filters.
		return sluice.Errorf(sluice.Invalid, "set the tenant's egress to none without egress_allow, or ask for the isolation container", "the network of a sandbox cannot be filtered")
	case !slices.Contains(append(compute.Isolations(), ""), spec.Isolation):
		return sluice.Errorf(sluice.Invalid, "", "unknown isolation %q", spec.Isolation)
	}
	for _, s := range spec.EgressAllow {
		if _, err := compute.ParseReach(s); err != nil {
			return err
		}
	}
	if _, err := signalName(spec.Interrupt.Signal); err != nil {
		return err
	}
	for _, m := range spec.Mounts {
		if at := target(spec, m.Target); !filepath.IsAbs(m.Source) || !filepath.IsAbs(at) || strings.ContainsAny(m.Source+at, ",\n") ||
			at == "/" || within(at, "/proc") || within(at, "/sys") || within(at, "/dev") || within(at, "/run/sluice") {
			return sluice.Errorf(sluice.Invalid, "", "cannot mount %q at %q", m.Source, m.Target)
		}
	}
	for _, kv := range slices.Concat(spec.Env, spec.Secrets) {
		if k, _, ok := strings.Cut(kv, "="); !ok || !isName(k) {
			return sluice.Errorf(sluice.Invalid, "names have letters, digits and _", "%q is no name of an environment variable", k)
		}
	}
	return nil
}

// within says whether a clean path is the folder or below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// isName says whether a shell can set a variable of this name.
func isName(s string) bool {
	for i, c := range s {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// isNetwork says whether this may be the name of an engine's network, and is no
// word that engines understand as another.
func isNetwork(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c)) {
			return false
		}
	}
	return s != "" && !slices.Contains([]string{"host", "none", "bridge", "default", "private", "slirp4netns", "pasta"}, s)
}

// signalName is the name of an interrupt's signal as shells write it: USR1.
func signalName(s string) (string, error) {
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if name == "" {
		return "TERM", nil
	}
	if name == "KILL" || name == "STOP" || unix.SignalNum("SIG"+name) == 0 {
		return "", sluice.Errorf(sluice.Invalid, "for example TERM, INT or USR1", "%q is no signal that a job can handle", s)
	}
	return name, nil
}
