package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/sim"
)

func simCmd() *cobra.Command {
	return apiGroup("sim", "Try Sluice on virtual devices and recorded work", simDevicesCmd(), simPlacementCmd())
}

// simFlags are the options of `sluice sim devices`.
type simFlags struct {
	count  int
	out    string
	state  string
	speed  float64
	limit  string
	net    string
	speak  []string
	faulty bool
	atOnce bool
}

func simDevicesCmd() *cobra.Command {
	var f simFlags
	c := &cobra.Command{
		Use:   "devices",
		Short: "Run virtual miners and a meter on loopback until Ctrl-C",
		Long: `Run virtual miners and a site meter on loopback until Ctrl-C, in a process of their
own, and write the sluice.yaml of a site made of them. They speak their real
protocols, as many of each firmware: to ` + "`sluice up --config`" + ` they are a real site.`,
		Example: "  sluice sim devices --count 200 --out virtual.yaml\n  sluice up --config virtual.yaml\n" +
			"  sluice sim devices --count 10000 --net 127.64.0.0/18 --out virtual.yaml\n  sluice device scan 127.64.0.0/18",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "out"); err != nil {
				return err
			}
			return simDevices(c, f)
		},
	}
	c.Flags().IntVar(&f.count, "count", 100, "how many miners")
	c.Flags().StringVar(&f.out, "out", "", "`FILE` to write the site's sluice.yaml to")
	c.Flags().StringVar(&f.state, "state", "", "`FILE` that keeps the miners' modes over a restart")
	c.Flags().Float64Var(&f.speed, "speed", 1, "virtual seconds per second of the devices' delays")
	c.Flags().StringVar(&f.net, "net", "", "give each miner an address of its own at the usual ports, in a `PREFIX` of 127.0.0.0/8")
	c.Flags().StringSliceVar(&f.speak, "dialects", nil, "only miners of these firmwares (`NAMES` as antminer,luxos; default: all there are)")
	c.Flags().StringVar(&f.limit, "limit", "", "limit of the connection (default: what all miners draw together)")
	c.Flags().BoolVar(&f.atOnce, "instant", false, "devices obey at once, without the delays and ramps of real ones")
	c.Flags().BoolVar(&f.faulty, "faults", false, "of a hundred machines two are silent, two slow by 20 s, two accept and ignore, one truncates its replies, one restarts")
	return c
}

func simDevices(c *cobra.Command, f simFlags) error {
	if f.count < 1 || f.count > 20000 {
		return sluice.Errorf(sluice.Invalid, "give 1 to 20000", "--count %d", f.count)
	}
	if err := mayReplace(f.out); err != nil {
		return err
	}
	var network *sim.Network
	if f.net != "" {
		prefix, err := netip.ParsePrefix(f.net)
		if err != nil {
			return sluice.Errorf(sluice.Invalid, "give a part of 127.0.0.0/8, as 127.64.0.0/18", "--net %q is not a prefix", f.net)
		}
		network = &sim.Network{Prefix: prefix}
	}
	clock := sluice.NewClock(sluice.WallClock().Now(), f.speed)
	models, err := modelsOf(f.speak)
	if err != nil {
		return err
	}
	var specs []sim.MinerSpec
	for i := range f.count {
		m := models[i*len(models)/f.count] // one model after the other
		s := sim.MinerSpec{Name: fmt.Sprintf("m-%05d", i+1), Model: m.Name, Dialect: m.Dialect, Node: "site", Modes: m.Modes, Default: m.Default, Seed: uint64(i + 1)}
		if f.faulty {
			s.Fault = faultOf(i)
		}
		specs = append(specs, s)
	}
	fleet, err := sim.StartFleet(specs, sim.FleetOptions{Clock: clock, StatePath: f.state, Network: network, Instant: f.atOnce})
	if err != nil {
		return err
	}
	defer func() { _ = fleet.Close() }()
	meter, err := sim.StartMeter("127.0.0.1:0", func() float64 { return float64(fleet.NodePower("site", clock.Now())) })
	if err != nil {
		return err
	}
	defer func() { _ = meter.Close() }()
	var b strings.Builder
	if err := writeSimConfig(&b, f, models, specs, fleet, meter.Address()); err != nil {
		return err
	}
	// Whole or not at all: a site that starts meanwhile must not read half of it.
	tmp := f.out + ".new"
	if err := os.WriteFile(tmp, []byte(b.String()), 0o600); err != nil {
		return sluice.Errorf(sluice.Invalid, "give a file that can be written with --out", "writing the configuration: %v", err)
	}
	if err := os.Rename(tmp, f.out); err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "%d virtual miners and a meter run; their site is in %s\n", f.count, f.out)
	<-c.Context().Done()
	return nil
}

// modelsOf are the models of the named dialects, or all.
func modelsOf(names []string) ([]sim.Model, error) {
	all := sim.FieldModels()
	if len(names) == 0 {
		return all, nil
	}
	var known []string
	for _, m := range all {
		if !slices.Contains(known, m.Dialect) {
			known = append(known, m.Dialect)
		}
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, sluice.Errorf(sluice.Invalid, "there are "+strings.Join(known, ", "), "no virtual miner speaks %q", n)
		}
	}
	return slices.DeleteFunc(all, func(m sim.Model) bool { return !slices.Contains(names, m.Dialect) }), nil
}

// classOf is the name of a model's class: two may be of the same hardware, with other
// firmware.
func classOf(model, dialect string) string {
	name := strings.ToLower(strings.ReplaceAll(model, " ", "-"))
	if dialect == sim.VNish || dialect == sim.Braiins {
		name += "-" + dialect
	}
	return name
}

// faultOf gives eight machines of a hundred a fault, those of any small fleet
// included: two never answer, two answer after 20 s, two say yes and do nothing, one
// cuts its replies short, one restarts all the time.
func faultOf(i int) sim.Fault {
	switch i % 50 {
	case 4:
		if i%100 == 4 {
			return sim.Truncated
		}
		return sim.Restarts
	case 9:
		return sim.SlowReply
	case 14:
		return sim.Silent
	case 19:
		return sim.Ignores
	}
	return sim.NoFault
}

// simHeader is the first line of a configuration that this command wrote.
const simHeader = "# Virtual miners and a meter on loopback, as a site."

// mayReplace refuses to write over a file that is somebody's own.
func mayReplace(file string) error {
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return sluice.Errorf(sluice.Invalid, "give another file with --out", "%s cannot be read: %v", file, rootCause(err))
	case strings.HasPrefix(string(data), simHeader):
		return nil
	}
	return sluice.Errorf(sluice.Conflict, "give another file with --out", "%s is there already and is not a site of virtual devices", file)
}

func writeSimConfig(w io.Writer, f simFlags, models []sim.Model, specs []sim.MinerSpec, fleet *sim.Fleet, meter string) error {
	full := map[string]sluice.Watts{} // of a class
	for _, m := range models {
		for _, x := range m.Modes {
			if x.Name == m.Default {
				full[classOf(m.Name, m.Dialect)] = x.Power
			}
		}
	}
	limit := f.limit
	if limit == "" {
		var sum sluice.Watts
		for _, s := range specs {
			sum += full[classOf(s.Model, s.Dialect)]
		}
		limit = fmt.Sprintf("%dW", sum+sum/10)
	}
	fmt.Fprintf(w, simHeader+`
site: {name: virtual, mode: control}
nodes:
  - {name: site, limit: %s}
meters:
  - {node: site, driver: modbus, address: %q}
feeds:
  - name: fixed
    type: constant
    values: {real_time_usd_per_mwh: 40, hashprice_usd_per_ph_day: 60}
classes:
`, limit, meter)
	for _, m := range models {
		class := classOf(m.Name, m.Dialect)
		fmt.Fprintf(w, "  - name: %s\n    node: site\n    model: %s\n    modes:\n", class, m.Name)
		for _, x := range m.Modes {
			if x.Power <= full[class] {
				fmt.Fprintf(w, "      - {name: %q, power: %dW, hashrate_ths: %g}\n", x.Name, x.Power, float64(x.HashRate))
			}
		}
	}
	fmt.Fprintln(w, "machines:")
	for i := 0; i < len(specs); {
		s, a, n := specs[i], fleet.Address(i), 1
		name, address := s.Name, a.Host
		if f.net != "" { // with an address each, those of a model are a range
			for i+n < len(specs) && specs[i+n].Model == s.Model && specs[i+n].Dialect == s.Dialect {
				n++
			}
			name, address = classOf(s.Model, s.Dialect)+"-", a.Host+"-"+fleet.Address(i+n-1).Host
		}
		fmt.Fprintf(w, "  - {name: %s, class: %s, driver: %s, address: %s", name, classOf(s.Model, s.Dialect), s.Dialect, address)
		if s.Dialect == sim.VNish || s.Dialect == sim.Braiins {
			fmt.Fprintf(w, ", web_port: %d", a.WebPort)
		} else {
			fmt.Fprintf(w, ", api_port: %d, web_port: %d", a.APIPort, a.WebPort)
		}
		if a.User != "" {
			fmt.Fprintf(w, ", user: %q", a.User)
		}
		if a.Password != "" {
			fmt.Fprintf(w, ", password: %q", a.Password)
		}
		fmt.Fprintln(w, "}")
		i += n
	}
	return nil
}
