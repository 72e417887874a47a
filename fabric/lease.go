package fabric

import "time"

// How a run never runs twice, although nobody can see beyond a cut:
//
// The agent holds a lease from the instant at which it sent the last heartbeat
// that the site answered. When it has lasted longer than the run's, the agent
// stops the run with its notice, and kills it at the notice's end. The site counts
// from the instant at which it answered last, which is never earlier, and takes
// the run for gone only when lease, notice, the time that killing may take, and a
// margin for clocks that run unevenly have passed. A site that has just started
// does not know when the one before it answered last: it counts from its own start.
//
// Clocks are never compared between machines; each counts by its own, which runs
// on while the machine sleeps.

// Leases by default.
const (
	GangLease   = 15 * time.Second // nodes of a gang: it goes on elsewhere soon
	SingleLease = 2 * time.Hour    // jobs on one host: a cut of an hour costs nothing
)

const (
	killTime  = 15 * time.Second // that an executor may take to kill, after the notice
	leaseSlop = 5 * time.Second
	driftPart = 100 // clocks may differ by one part in so many

	// orderLife is how old an order to start may be, and how old the agent's own
	// lease then: one that was kept back on its way is refused.
	orderLife = 10 * time.Second
)

// Horizon is how long after its last answer the site takes a run for gone.
func Horizon(lease, notice time.Duration) time.Duration {
	d := max(lease, 2*orderLife) + notice + killTime
	return d + leaseSlop + d/driftPart
}

// Grant is what the site's answer to a heartbeat gives.
type Grant struct {
	Key string `json:"key"` // of this life of the site, for this host alone
	MS  int64  `json:"ms"`  // since the site's start, by its own clock
}

// Holder is the agent's side. Times are readings of the agent's clock.
type Holder struct {
	Have  bool          `json:"have"`
	At    time.Duration `json:"at"` // when the heartbeat was sent that brought it
	Grant Grant         `json:"grant"`
}

// Granted notes an answer to the heartbeat that was sent at that time. An answer
// that comes late takes nothing back.
func (h *Holder) Granted(sent time.Duration, g Grant) {
	if h.Have && sent < h.At {
		return
	}
	h.Have, h.At, h.Grant = true, sent, g
}

// Expired says whether a run with that lease has to stop.
func (h Holder) Expired(now, lease time.Duration) bool { return !h.Have || now-h.At >= lease }

// Fresh says whether an order to start may be obeyed.
func (h Holder) Fresh(now time.Duration, order Grant) bool {
	return h.Have && now-h.At < orderLife && order.Key == h.Grant.Key && h.Grant.MS-order.MS < orderLife.Milliseconds()
}

// Ours says whether an order comes from the site as it lives now.
func (h Holder) Ours(order Grant) bool { return h.Have && order.Key == h.Grant.Key }

// Grantor is the site's side, for one host.
type Grantor struct {
	Last time.Duration // when it answered last, or when it began
}

// Granted notes that an answer is about to be sent.
func (g *Grantor) Granted(now time.Duration) { g.Last = max(g.Last, now) }

// Over says whether a run of that lease and notice is certainly gone.
func (g Grantor) Over(now, lease, notice time.Duration) bool {
	return now-g.Last >= Horizon(lease, notice)
}
