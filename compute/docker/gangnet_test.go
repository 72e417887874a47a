package docker_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"sluice"
	"sluice/compute"
)

// Nodes of a gang that are on hosts which a network of the engines connects reach
// each other at the addresses that they were given, and nobody else of that network
// does. Here both hosts have one engine.
func TestGangOverHosts(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	ip(t, "link set lo up")
	p := service(t, "runc")
	const name = "gangs"
	_, err := p.cli.NetworkCreate(t.Context(), name, client.NetworkCreateOptions{
		Driver: "bridge", IPAM: &network.IPAM{Driver: "default", Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix("10.30.0.0/24")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = p.cli.NetworkRemove(t.Context(), name, client.NetworkRemoveOptions{}) })
	first, second := newExecutor(t, config(p)), newExecutor(t, config(p))
	dir := t.TempDir()
	node := func(egress compute.Egress, script string, rank int, at ...string) compute.RunSpec {
		s := spec(t, dir, script)
		s.Egress, s.Rank, s.Nodes, s.Gang = egress, rank, len(at), &compute.GangPlace{Network: name}
		for _, a := range at {
			s.Gang.Peers = append(s.Gang.Peers, netip.MustParseAddr(a))
		}
		s.Gang.Address = s.Gang.Peers[rank]
		s.Env[0] = "PATH=/bin:/usr/bin"
		s.Task.Envs = map[string]string{"PATH": "/bin:/usr/bin"}
		hostPrograms(&s)
		return s
	}
	const serve = `exec python3 -c '
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers(); self.wfile.write(b"from " + self.client_address[0].encode())
http.server.HTTPServer(("", 29500), H).serve_forever()'`
	const ask = `python3 - <<'END'
import http.client, time
late = time.monotonic() + %s
while True:
    try:
        c = http.client.HTTPConnection("10.30.0.16:29500", timeout=3); c.request("GET", "/")
        print("got", c.getresponse().read().decode()); break
    except OSError as e:
        if time.monotonic() > late: print("got nothing:", e); break
        time.sleep(0.1)
END`
	a := node(compute.EgressOpen, serve, 0, "10.30.0.16", "10.30.0.32")
	startRun(t, first, a)
	b := node(compute.EgressOpen, fmt.Sprintf(ask, "60"), 1, "10.30.0.16", "10.30.0.32")
	if log, e := result(t, second, b); e.Code != 0 || !strings.Contains(log, "got from 10.30.0.32\n") {
		t.Errorf("exit %+v\n%s", e, log)
	}
	for i, egress := range []compute.Egress{compute.EgressInternet, compute.EgressOpen} {
		c := node(egress, fmt.Sprintf(ask, "3"), 1, "10.30.0.18", fmt.Sprintf("10.30.0.%d", 40+i))
		if log, e := result(t, second, c); e.Code != 0 || !strings.Contains(log, "got nothing") {
			t.Errorf("a node of another gang, %s: exit %+v\n%s", egress, e, log)
		}
	}
	// What has no filter of ours is not let in either: the host itself.
	if conn, err := net.DialTimeout("tcp", "10.30.0.16:29500", 2*time.Second); err == nil {
		_ = conn.Close()
		t.Error("the host reaches it")
	}
	none := node(compute.EgressInternet, "true", 0, "10.30.0.19", "10.30.0.35")
	none.Gang.Network = "nowhere"
	_, err = first.Start(t.Context(), none)
	wantKind(t, err, sluice.Unavailable, `no network "nowhere"`)
	none.Gang.Network = "host"
	_, err = first.Start(t.Context(), none)
	wantKind(t, err, sluice.Invalid, "has no address on the network")
}
