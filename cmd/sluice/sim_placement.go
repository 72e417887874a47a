package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/compute/placement"
)

// simPlacementCmd replays a trace of pods over a cluster.
func simPlacementCmd() *cobra.Command {
	var nodes, pods, policy string
	var seed uint64
	var asJSON bool
	c := &cobra.Command{
		Use:   "placement --nodes FILE --pods FILE",
		Short: "Fill a cluster with the pods of a trace and see how much of its GPU is used",
		Long: `Fill an empty cluster with the pods of a trace, in the form of Alibaba's openb, and
see how much of its GPU is used. The pods of the list, and more drawn from it at
random until they ask for 130 % of the cluster's GPU, come one by one in random order;
what does not fit is left out, and nothing departs. Only means over several seeds are
worth comparing.

The files are CSV, plain or gzipped: nodes with sn, cpu_milli, memory_mib, gpu, model;
pods with cpu_milli, memory_mib, num_gpu, gpu_milli and, where they want certain
models, gpu_spec.`,
		Example: "  sluice sim placement --nodes nodes.csv.gz --pods pods.csv.gz --seed 1",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "nodes", "pods"); err != nil {
				return err
			}
			by := placement.Policy(policy)
			if !slices.Contains(placement.Policies(), by) {
				return sluice.Errorf(sluice.Invalid, "policies are sluice, fgd, best-fit and random", "there is no policy %q", policy)
			}
			hosts, err := placement.ReadHosts(nodes)
			if err != nil {
				return err
			}
			demands, err := placement.ReadPods(pods)
			if err != nil {
				return err
			}
			bar := newProgress(c.ErrOrStderr(), "pods")
			r, err := placement.Replay(c.Context(), hosts, demands, by, seed, func(done, total int) { bar.part("", done, total) })
			bar.done()
			if err != nil {
				return err
			}
			if asJSON {
				raw, err := json.Marshal(r)
				if err != nil {
					return err
				}
				return printJSON(c.OutOrStdout(), raw)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%.2f %% of %d GPUs on %d hosts allocated: %d of %d pods placed, which asked for %.1f %% (policy %s, seed %d)\n",
				r.GPUAllocatedPct, r.GPUs, r.Hosts, r.Placed, r.Pods, r.AskedPct, r.Policy, r.Seed)
			return err
		},
	}
	c.Flags().StringVar(&nodes, "nodes", "", "`FILE` of the cluster's hosts")
	c.Flags().StringVar(&pods, "pods", "", "`FILE` of the pods")
	c.Flags().StringVar(&policy, "policy", string(placement.Sluice), "sluice, fgd, best-fit or random")
	c.Flags().Uint64Var(&seed, "seed", 1, "of the draws and the order")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
