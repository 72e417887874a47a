package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/device"
	"sluice/device/dialect"
	"sluice/device/scan"
)

func deviceCmd() *cobra.Command {
	return apiGroup("device", "Find miners in a network, and ask one what it is", deviceScanCmd(), deviceProbeCmd())
}

// deviceFlags are common to scan and probe.
type deviceFlags struct {
	dialects, user, passwordFile string
	timeout                      time.Duration
	asJSON                       bool
}

func (f *deviceFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.dialects, "dialects", "", "`DIR` of firmwares of your own (docs/writing-a-driver.md)")
	c.Flags().StringVar(&f.user, "user", "", "user, where reading needs one (default: the firmware's own)")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "`FILE` with the password")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "what one device has to tell all it knows")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object for each device")
}

// prober returns what identifies a device.
func (f *deviceFlags) prober() (*dialect.Set, func(context.Context, device.Address) (device.Report, error), error) {
	if f.timeout <= 0 {
		return nil, nil, sluice.Errorf(sluice.Invalid, "give a duration such as 10s", "--timeout %v", f.timeout)
	}
	set, err := dialect.Load(f.dialects)
	if err != nil {
		return nil, nil, err
	}
	password := ""
	if f.passwordFile != "" {
		b, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return nil, nil, sluice.Errorf(sluice.Invalid, "give a file that can be read", "--password-file: %v", rootCause(err))
		}
		password = strings.TrimRight(string(b), "\r\n")
	}
	return set, func(ctx context.Context, a device.Address) (device.Report, error) {
		a.User, a.Password = f.user, password
		_, r, err := set.Identify(ctx, a)
		return r, err
	}, nil
}

func deviceProbeCmd() *cobra.Command {
	var f deviceFlags
	c := &cobra.Command{
		Use:   "probe ADDRESS",
		Short: "Ask one device what it is and what it does",
		Long: `Ask one device what it is and what it does. Nothing is changed on it.

ADDRESS is a name or an IP, with a port where it is not the firmware's usual one.`,
		Example: "  sluice device probe 10.0.1.17\n  sluice device probe 10.0.1.17 --json",
		Args:    exactly("ADDRESS"),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := probeAddress(args[0])
			if err != nil {
				return err
			}
			_, probe, err := f.prober()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
			defer cancel()
			r, err := probe(ctx, a)
			if err != nil {
				return err
			}
			if f.asJSON {
				raw, err := json.Marshal(r)
				if err != nil {
					return err
				}
				return printJSON(c.OutOrStdout(), raw)
			}
			printReport(c.OutOrStdout(), r)
			return nil
		},
	}
	f.add(c)
	return c
}

func probeAddress(s string) (device.Address, error) {
	a := device.Address{Host: s}
	if host, port, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return a, sluice.Errorf(sluice.Invalid, "give a port from 1 to 65535", "%q: no port %q", s, port)
		}
		a.Host, a.APIPort, a.WebPort = host, n, n
	}
	if a.Host == "" || strings.ContainsAny(a.Host, "/ \t\n@?#") {
		return a, sluice.Errorf(sluice.Invalid, "give an IP address or a name, such as 10.0.1.17 or 10.0.1.17:4028", "%q is no address", s)
	}
	return a, nil
}

func deviceScanCmd() *cobra.Command {
	var f deviceFlags
	var rate float64
	var knock time.Duration
	var ports []int
	c := &cobra.Command{
		Use:   "scan PREFIX...",
		Short: "Find the miners of a network",
		Long: `Find the miners of a network: knock at the ports that mining firmwares use, and ask
whoever opens what it is. Nothing is changed on a device.

PREFIX is a network such as 10.0.0.0/16, or a single address. Connections are
tried at a bounded rate, so that no switch or firewall suffers. With --json each
device is one line, printed when it is found; otherwise a table at the end.`,
		Example: "  sluice device scan 10.0.0.0/16\n  sluice device scan 10.0.1.0/24 10.0.7.0/24 --json",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			prefixes, err := scanPrefixes(args)
			if err != nil {
				return err
			}
			if rate < 1 || rate > 1e5 || knock <= 0 {
				return sluice.Errorf(sluice.Invalid, "give 1 to 100000 connections a second, and a wait such as 1s", "--rate %v --knock %v", rate, knock)
			}
			set, probe, err := f.prober()
			if err != nil {
				return err
			}
			own := len(ports) > 0
			if !own {
				ports = set.Ports()
			}
			for _, p := range ports {
				if p < 1 || p > 65535 {
					return sluice.Errorf(sluice.Invalid, "give ports from 1 to 65535", "--ports: %d", p)
				}
			}
			return runScan(c, f, scan.Options{Prefixes: prefixes, Ports: ports, Exact: own, Rate: rate, Knock: knock, Answer: f.timeout, Identify: probe})
		},
	}
	f.add(c)
	c.Flags().Float64Var(&rate, "rate", 4000, "connections tried each second, at most")
	c.Flags().DurationVar(&knock, "knock", time.Second, "how long a connection may take")
	c.Flags().IntSliceVar(&ports, "ports", nil, "`PORTS` to knock at and ask (default: all that known firmwares use)")
	return c
}

// runScan scans, draws the progress and prints what is found.
func runScan(c *cobra.Command, f deviceFlags, o scan.Options) error {
	bar := newProgress(c.ErrOrStderr(), "addresses")
	var all []device.Report
	var broken error
	nameless, out := 0, json.NewEncoder(c.OutOrStdout())
	o.Progress = func(done, total int) { bar.part("", done, total) }
	o.Nameless = func(string, error) { nameless++ }
	o.Found = func(r device.Report) {
		if !f.asJSON {
			all = append(all, r)
		} else if err := out.Encode(r); err != nil && broken == nil {
			broken = err
		}
	}
	began := time.Now()
	n, err := scan.Run(c.Context(), o)
	bar.done()
	if broken != nil {
		return broken
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if !f.asJSON {
		slices.SortFunc(all, func(a, b device.Report) int { return compareHosts(a.Address, b.Address) })
		printScan(c.OutOrStdout(), all)
	}
	end := ""
	if err != nil {
		end = ", called off before its end"
	}
	if nameless > 0 {
		end += fmt.Sprintf("; %d more opened a port and are no known miners", nameless)
	}
	if f.asJSON && err == nil {
		return nil
	}
	fmt.Fprintf(c.ErrOrStderr(), "%d devices in %.1f s%s\n", n, time.Since(began).Seconds(), end)
	return err
}

// scanPrefixes reads networks and single addresses.
func scanPrefixes(args []string) ([]netip.Prefix, error) {
	if len(args) == 0 {
		return nil, sluice.Errorf(sluice.Invalid, "give a network such as 10.0.0.0/16", "sluice device scan: PREFIX is missing")
	}
	var out []netip.Prefix
	for _, s := range args {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil || !a.Is4() {
				return nil, sluice.Errorf(sluice.Invalid, "give a network such as 10.0.0.0/16, or an IPv4 address", "%q is no network", s)
			}
			p = netip.PrefixFrom(a, 32)
		}
		out = append(out, p)
	}
	_, err := scan.Addresses(out)
	return out, err
}

// compareHosts orders addresses by number where they are IPs.
func compareHosts(a, b string) int {
	host := func(s string) string {
		if h, _, err := net.SplitHostPort(s); err == nil {
			return h
		}
		return s
	}
	x, xe := netip.ParseAddr(host(a))
	y, ye := netip.ParseAddr(host(b))
	if xe == nil && ye == nil {
		return x.Compare(y)
	}
	return strings.Compare(a, b)
}
