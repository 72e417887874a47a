package compute

import (
	"cmp"
	"fmt"
	"net/netip"

	"sluice"
)

// NodeRun is one node of a job's present run: all of them run at once, or none.
type NodeRun struct {
	RunID    string `json:"run_id"`
	Host     string `json:"host"`
	Executor string `json:"executor"`
	Units    int    `json:"units"`
	GPUs     []int  `json:"gpus,omitempty"` // of the host

	Network string     `json:"network,omitempty"` // that connects its gang's containers, where hosts do
	Address netip.Addr `json:"address,omitzero"`  // on it

	Handle Handle `json:"handle,omitempty"`
	Exit   *Exit  `json:"exit,omitempty"` // set when nothing of it is left

	// Where the power of the whole host is limited for it, by the host's controller: to
	// how much, and what of that is not the run's.
	HostLimitW sluice.Watts `json:"host_limit_w,omitempty"`
	HostBaseW  sluice.Watts `json:"host_base_w,omitempty"`
}

// windDown is what a Stopping job becomes when one of its nodes has ended by
// itself: the others are stopped, and then the end of that node decides.
const windDown State = "wind-down"

// nodeID is the RunID of a node. A job on one host keeps the run's own.
func nodeID(run string, rank, nodes int) string {
	if nodes <= 1 {
		return run
	}
	return fmt.Sprintf("%s-n%d", run, rank)
}

// nodeOf returns the node that a run's ID names, -1 where the job has gone on
// since. Callers hold mu.
func (e *entry) nodeOf(run string) int {
	for i := range e.Nodes {
		if e.Nodes[i].RunID == run {
			return i
		}
	}
	return -1
}

// liveMS is what the nodes that run have used so far, in unit-milliseconds.
func (e *entry) liveMS() int64 {
	var ms int64
	for i, u := range e.live {
		if i < len(e.Nodes) && e.Nodes[i].Exit == nil {
			ms += unitMS(u.Seconds, e.Nodes[i].Units)
		}
	}
	return ms
}

// liveSeconds is how long the present run has held its units.
func (e *entry) liveSeconds() float64 {
	most := 0.0
	for i, n := range e.Nodes {
		switch {
		case n.Exit != nil:
			most = max(most, n.Exit.Used.Seconds)
		case i < len(e.live):
			most = max(most, e.live[i].Seconds)
		}
	}
	return most
}

// allEnded says whether nothing of the run is left.
func (e *entry) allEnded() bool {
	for i := range e.Nodes {
		if e.Nodes[i].Exit == nil {
			return false
		}
	}
	return true
}

// setNodes gives the job its places, by rank.
func (e *entry) setNodes(places []place, run string) {
	e.Nodes, e.Job.Hosts = make([]NodeRun, len(places)), nil
	e.live, e.stopping, e.Cause = make([]Usage, len(places)), make([]bool, len(places)), nil
	e.Job.PowerW = 0
	for i, p := range places {
		e.Nodes[i] = NodeRun{
			RunID: nodeID(run, i, len(places)), Host: p.host.Name, Executor: p.executor, Units: p.units, GPUs: p.gpus,
			Network: p.network, Address: p.address,
		}
		e.Job.PowerW += p.host.power(p.units)
		if len(places) > 1 {
			e.Job.Hosts = append(e.Job.Hosts, p.host.Name)
		}
	}
	e.Job.Host = e.Nodes[0].Host
}

// clearNodes forgets the run.
func (e *entry) clearNodes() {
	e.Nodes, e.live, e.stopping, e.Cause = nil, nil, nil, nil
	e.Job.Host, e.Job.Hosts, e.Job.PowerW = "", nil, 0
}

// ExecutorFor names the executor of the host that gives at least the isolation,
// and the isolation it gives; "" where none does.
func (h Host) ExecutorFor(want Isolation) (string, Isolation) {
	if len(h.Isolations) == 0 {
		if IsolationNone.AtLeast(want) {
			return cmp.Or(h.Executors[IsolationNone], h.Executor), IsolationNone
		}
		return "", ""
	}
	for _, i := range Isolations() { // the weakest that will do costs least
		for _, has := range h.Isolations {
			if has == i && i.AtLeast(want) {
				return cmp.Or(h.Executors[i], h.Executor), i
			}
		}
	}
	return "", ""
}

// power of the units that a job holds on the host.
func (h Host) power(units int) sluice.Watts { return h.UnitW * sluice.Watts(units) }
