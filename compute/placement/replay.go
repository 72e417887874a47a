package placement

import (
	"context"
	"math/rand/v2"
)

// Load is how much GPU a Replay asks for, as a share of what the cluster has.
const Load = 1.3

// Result is what a Replay came to.
type Result struct {
	Policy          Policy  `json:"policy"`
	Seed            uint64  `json:"seed"`
	Hosts           int     `json:"hosts"`
	GPUs            int     `json:"gpus"`
	Pods            int     `json:"pods"`        // that asked
	Placed          int     `json:"pods_placed"` // and were
	AskedPct        float64 `json:"gpu_asked_pct"`
	GPUAllocatedPct float64 `json:"gpu_allocated_pct"` // of all GPU, when the last has asked
}

// Usual counts the demands of a list: what usually comes.
func Usual(pods []Demand) []Typical {
	at := map[Demand]int{}
	var out []Typical
	for _, d := range pods {
		i, ok := at[d]
		if !ok {
			i = len(out)
			at[d] = i
			out = append(out, Typical{Demand: d})
		}
		out[i].Weight++
	}
	return out
}

// Replay fills an empty cluster: the list of pods, and after it pods drawn from it at
// random with replacement until they ask for Load of the cluster's GPU, come one by one
// in random order; what does not fit is left out, and nothing departs. progress may be
// nil.
func Replay(ctx context.Context, hosts []Host, pods []Demand, by Policy, seed uint64, progress func(done, total int)) (Result, error) {
	r := rand.New(rand.NewPCG(seed, 0x706c616365))
	all := 0
	res := Result{Policy: by, Seed: seed, Hosts: len(hosts)}
	for _, h := range hosts {
		res.GPUs += len(h.GPUs)
		for _, f := range h.GPUs {
			all += f
		}
	}
	queue := append([]Demand(nil), pods...)
	asked := 0
	for _, d := range queue {
		asked += d.GPUShare()
	}
	if asked > 0 {
		for float64(asked) < Load*float64(all) {
			d := pods[r.IntN(len(pods))]
			queue = append(queue, d)
			asked += d.GPUShare()
		}
	}
	r.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
	c := New(hosts, Usual(pods), by)
	for i, d := range queue {
		if i%256 == 0 {
			if err := ctx.Err(); err != nil {
				return res, err
			}
			if progress != nil {
				progress(i, len(queue))
			}
		}
		if at, ok := c.Find(d, r); ok {
			c.Take(d, at)
			res.Placed++
		}
	}
	if progress != nil {
		progress(len(queue), len(queue))
	}
	res.Pods = len(queue)
	if all > 0 {
		res.AskedPct = 100 * float64(asked) / float64(all)
		res.GPUAllocatedPct = 100 * float64(all-c.Free()) / float64(all)
	}
	return res, nil
}
