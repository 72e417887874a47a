// Package agent is the host's side of the fabric: it joins a site, runs its jobs
// through the executors of this machine, and reports.
//
// It owns a data folder: what it knows of each run (written before the run is
// started and when it changes), the jobs' folders, the lease, and the spool of
// events. An agent that is killed loses nothing: runs go on in their keepers, and
// the next agent over the same folder attaches them. A guard, a small process of
// its own, ends runs whose lease is over even when no agent is there any more.
//
// An order is obeyed by what it names, not by how often it comes: a run is started
// once for its RunID, or never, when the site has said so.
package agent
