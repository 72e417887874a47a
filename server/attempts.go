package server

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of failed logins from one address, in wall time.
const (
	maxFailures  = 20               // at once
	failureAfter = 10 * time.Second // one more after so long
	maxAddresses = 10_000           // remembered
)

// attempts counts the failed logins of each address: a bucket of maxFailures that
// fills by one each failureAfter.
type attempts struct {
	mu    sync.Mutex
	from  map[netip.Prefix]bucket
	swept time.Time // those that are forgiven were taken out
}

type bucket struct {
	spent float64 // failures that have not been forgotten yet
	at    time.Time
}

func (b bucket) now(at time.Time) float64 {
	return max(0, b.spent-at.Sub(b.at).Seconds()/failureAfter.Seconds())
}

// wait returns how long the address must wait before it may try again, 0 for now.
func (a *attempts) wait(addr string, at time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	over := a.from[network(addr)].now(at) - (maxFailures - 1)
	if over <= 0 {
		return 0
	}
	return max(time.Second, time.Duration(over*float64(failureAfter)))
}

// failed notes a failed login.
func (a *attempts) failed(addr string, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.from == nil {
		a.from = map[netip.Prefix]bucket{}
	}
	if len(a.from) >= maxAddresses {
		if at.Sub(a.swept) >= failureAfter { // not at each of a flood of failures
			a.swept = at
			for k, b := range a.from { // those that are forgiven go first
				if b.now(at) == 0 {
					delete(a.from, k)
				}
			}
		}
		for k := range a.from { // then any: an attacker with that many addresses is not stopped here
			if len(a.from) < maxAddresses {
				break
			}
			delete(a.from, k)
		}
	}
	k := network(addr)
	a.from[k] = bucket{spent: min(maxFailures, a.from[k].now(at)+1), at: at}
}

// network is what counts as one address: a single IPv4 one, or the /64 of IPv6
// that one line has all of.
func network(addr string) netip.Prefix {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}
