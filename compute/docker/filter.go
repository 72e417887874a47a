package docker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"sluice"
	"sluice/compute"
)

// A run that may reach a part of the network has a filter in its container's own
// network namespace. The engine makes the network, the container's first process
// asks for the filter and waits, and whoever acts on the run installs it and gives
// the word. So nothing of the job runs without it, whoever is killed in between,
// and the job, which has no CAP_NET_ADMIN there, cannot undo it.

const (
	asksFile = "asks"     // in out: the first process waits for the filter
	wordFile = "filtered" // in box: the filter stands
)

// filter is what a run's network lets through.
type filter struct {
	Egress    compute.Egress `json:"egress"`
	Allow     []string       `json:"allow,omitempty"`     // each a compute.Reach
	Resolvers []netip.Addr   `json:"resolvers,omitempty"` // nil: those that the engine has written down
	Peers     []netip.Addr   `json:"peers,omitempty"`     // nodes of its gang, on the network that connects hosts
	Nets      []netip.Prefix `json:"nets,omitempty"`      // what that network is
}

// networked says whether a run has a network to the outside, filtered or not.
func networked(spec compute.RunSpec) bool {
	return spec.Egress == compute.EgressOpen || filtered(spec)
}

func filtered(spec compute.RunSpec) bool {
	return spec.Egress == compute.EgressInternet || len(spec.EgressAllow) > 0 || spec.Gang != nil && spec.Egress == compute.EgressOpen
}

// slirpResolvers are where slirp4netns answers for the host's resolver.
var slirpResolvers = []netip.Addr{netip.MustParseAddr("10.0.2.3"), netip.MustParseAddr("fd00::3")}

// newFilter is the filter of a run, nil where it needs none.
func (x *Executor) newFilter(ctx context.Context, e *engine, spec compute.RunSpec) (*filter, error) {
	if !filtered(spec) {
		return nil, nil
	}
	f := &filter{Egress: spec.Egress, Allow: spec.EgressAllow}
	if x.network(e, spec) == slirp {
		f.Resolvers = slirpResolvers
	}
	if spec.Gang == nil {
		return f, nil
	}
	var err error
	f.Peers = spec.Gang.Peers
	f.Nets, err = e.subnets(ctx, spec.Gang.Network)
	return f, err
}

// rule passes or refuses what goes to the addresses, and the ports of them where
// it has any; or what comes from them. The first that matches counts.
type rule struct {
	to          netip.Prefix
	in          bool   // what comes from there
	first, last uint16 // of TCP and UDP; 0: everything
	pass        bool
}

// notPublic is what of IPv4 is not the internet, and what of the public IPv6
// addresses is not or leads to IPv4 (RFC 6890 and its registry).
var notPublic = prefixes("0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 " +
	"192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 " +
	"2001::/23 2001:db8::/32 2002::/16 3fff::/20")

// public is what the internet is in.
var public = prefixes("0.0.0.0/0 2000::/3")

func prefixes(s string) (out []netip.Prefix) {
	for p := range strings.FieldsSeq(s) {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// rules are the filter, in order; what none of them passes is refused. own are the
// host's addresses.
func (f filter) rules(own, resolvers []netip.Addr) ([]rule, error) {
	var out []rule
	if f.Egress != compute.EgressNone {
		for _, a := range resolvers {
			out = append(out, rule{to: alone(a), first: 53, last: 53, pass: true})
		}
	}
	// Of a network that connects hosts it has its gang, both ways, and nothing else.
	if len(f.Nets) > 0 {
		for _, a := range f.Peers {
			out = append(out, rule{to: alone(a), pass: true}, rule{to: alone(a), in: true, pass: true})
		}
		for _, a := range resolvers {
			out = append(out, rule{to: alone(a), in: true, pass: true}) // what they answer
		}
		for _, n := range f.Nets {
			out = append(out, rule{to: n}, rule{to: n, in: true})
		}
	}
	for _, s := range f.Allow {
		r, err := compute.ParseReach(s)
		if err != nil {
			return nil, fmt.Errorf("what it may reach: %w", err)
		}
		out = append(out, rule{to: r.Net, first: r.First, last: r.Last, pass: true})
	}
	switch f.Egress {
	case compute.EgressOpen:
		for _, p := range prefixes("0.0.0.0/0 ::/0") {
			out = append(out, rule{to: p, pass: true})
		}
		return out, nil
	case compute.EgressInternet:
	default:
		return out, nil
	}
	for _, a := range own {
		out = append(out, rule{to: alone(a)})
	}
	for _, p := range notPublic {
		out = append(out, rule{to: p})
	}
	for _, p := range public {
		out = append(out, rule{to: p, pass: true})
	}
	return out, nil
}

func alone(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// hostAddresses are those of this machine, but for the loopback's.
func hostAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("this machine's addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && !ip.Unmap().IsLoopback() {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out, nil
}

// resolversOf reads the addresses of a resolv.conf. Those on the loopback are the
// container's own.
func resolversOf(text string) (out []netip.Addr) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" || len(out) == 3 { // as many as resolvers take
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil && !a.Unmap().IsLoopback() && !a.IsUnspecified() {
			out = append(out, a.Unmap().WithZone(""))
		}
	}
	return out
}

// release installs the run's filter, where its first process waits for it, and
// gives the word. Until then it has nothing to do.
func (x *Executor) release(ctx context.Context, e *engine, dir string, r run) error {
	out, word := filepath.Join(dir, outDir), filepath.Join(dir, boxDir, wordFile)
	if r.Filter == nil || !exists(out, asksFile) || exists(filepath.Dir(word), wordFile) {
		return nil
	}
	doing := func(err error) error {
		if errors.Is(err, os.ErrPermission) {
			return &sluice.Error{Kind: sluice.Unavailable, Cause: err, Msg: "its network cannot be filtered", Hint: "run Sluice as root, or set the tenant's egress to none or open"}
		}
		return fmt.Errorf("filter its network: %w", err)
	}
	s, err := e.state(ctx, r.Container)
	if err != nil {
		return doing(err)
	}
	if !s.running || s.pid <= 0 {
		return nil // whoever looks for its end finds it
	}
	own, err := hostAddresses()
	if err != nil {
		return doing(err)
	}
	resolvers := r.Filter.Resolvers
	if resolvers == nil && r.Filter.Egress != compute.EgressNone {
		// Docker's own resolver asks the host's, from in there.
		for _, file := range []string{s.resolvConf, "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
			b, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return doing(fmt.Errorf("its resolvers: %w", err))
			}
			if resolvers = resolversOf(string(b)); len(resolvers) > 0 {
				break
			}
		}
	}
	rules, err := r.Filter.rules(own, resolvers)
	if err != nil {
		return doing(err)
	}
	ns, err := namespaceOf(s.pid, out)
	if err != nil {
		return doing(err)
	}
	defer ns.Close()
	if err := install(ns, rules); err != nil {
		return doing(err)
	}
	return os.WriteFile(word, nil, 0o600)
}

// released takes the word back once the first process has heard it: a container
// that somebody starts again would find it, and has another network then.
func released(dir string, r run) {
	if r.Filter != nil && exists(filepath.Join(dir, outDir), "up") {
		_ = os.Remove(filepath.Join(dir, boxDir, wordFile))
	}
}

// namespaceOf opens the network namespace of the container whose first process
// that is: who has the run's folder out. The engine may be somewhere else, and its
// number one of this machine's own processes.
func namespaceOf(pid int, out string) (*os.File, error) {
	proc, err := os.Open(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	at := fmt.Sprintf("/proc/self/fd/%d", proc.Fd()) // of this process, also when its number is given away
	ns, err := os.Open(at + "/ns/net")
	if err != nil {
		return nil, err
	}
	err = func() error {
		ours, err := os.Stat(out)
		if err != nil {
			return err
		}
		its, err := os.Stat(at + "/root" + atOut)
		if err != nil || !os.SameFile(ours, its) {
			return sluice.Errorf(sluice.Unavailable, "does the engine run on this machine, in the same pid namespace?", "process %d is not its container", pid)
		}
		host, err := os.Stat("/proc/self/ns/net")
		if err != nil {
			return err
		}
		info, err := ns.Stat()
		if err == nil && os.SameFile(host, info) {
			err = sluice.Errorf(sluice.Unavailable, "", "the engine has given it the host's own network")
		}
		return err
	}()
	if err != nil {
		_ = ns.Close()
		return nil, err
	}
	return ns, nil
}
