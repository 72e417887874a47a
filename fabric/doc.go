// Package fabric is how a site and the agents of its hosts speak with each other:
// over NATS, one authenticated TLS connection for each agent.
//
// It owns the embedded server (or the connection to an existing cluster), the
// site's certificate authority, join tokens and what their holders may say, the
// messages and their bounds, heartbeats and leases, and the stream of what hosts
// report. What a run is, and what is done with it, is compute/remote's on the
// site's side and compute/agent's on the host's.
//
// # Three ways of speaking
//
// State is told by heartbeats: each says what of every run its host holds, so a
// beat that is lost costs nothing and a cut needs no replay. Orders are requests
// with an answer, each harmless when it is repeated. What happened over time and
// cannot be asked for later (use of runs, readings of power) is an event: the
// agent appends it to a bounded spool on its disk, hands the spool on in order to
// the JetStream stream of the site, and deletes what the stream has confirmed;
// the site confirms to the stream only what its own database has committed,
// counted by a number for each host. So either side, and a cluster between them,
// may be away or be killed, and nothing is lost or counted twice. A spool of files
// and not a JetStream leaf node on every host: a leaf would bring a server, its
// memory and its cluster state to each host, and would still need the same number
// for each host at the end, since a stream forgets the IDs of messages after
// minutes.
//
// # Who may say what
//
// A host's agent publishes below sluice.h.HOST.up and to sluice.h.HOST.ev, hears
// below sluice.h.HOST.down and its own inbox, and answers what it was asked;
// nothing else, and nothing of JetStream's API. Answers go to an inbox only if it
// is the asking host's own. An order carries a key that the site made up for that
// host alone and told it over its heartbeat, so that no third party can give one.
package fabric
