package fabric

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sluice"
)

// HostBatch is a batch of a host's events.
type HostBatch struct {
	Host string
	Batch
	// Force takes the batch although something before it is missing: it has been
	// waited for in vain.
	Force bool
}

// Outcome is what became of a batch.
type Outcome int

// Outcomes.
const (
	Stored Outcome = iota
	Known          // all of it had been stored before
	Gap            // something before it is missing: nothing of it is stored
)

// Journal keeps the events durably. Package store implements it.
type Journal interface {
	// AppendEvents stores the batches in one transaction: of each only what comes
	// after the last event that is stored of that host and epoch. An event is never
	// stored twice.
	AppendEvents(ctx context.Context, batches []HostBatch) ([]Outcome, error)
}

const (
	readAtOnce  = 256
	streamBytes = 2 << 30
	streamAge   = 14 * 24 * time.Hour
	ackWait     = 10 * time.Second // what a site that was killed had in its hands comes again after it
	gapPatience = 6 * ackWait      // after which what is missing counts as lost
)

// openStream finds or makes the stream and its reader.
func openStream(ctx context.Context, nc *nats.Conn) (jetstream.Consumer, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open the fabric's stream: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: StreamName, Subjects: []string{subjectRoot + "*.ev"}, Storage: jetstream.FileStorage,
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, // a full stream makes the agents keep theirs
		MaxBytes: streamBytes, MaxAge: streamAge, MaxMsgSize: MaxMessage, Duplicates: 2 * time.Minute,
		Description: "what the hosts of a Sluice site report",
	})
	if err != nil {
		hint := ""
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			hint = "switch JetStream on in the cluster, for the account of Sluice's user"
		}
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "open the fabric's stream", Hint: hint, Cause: err}
	}
	c, err := s.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: DurableName, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 4 * readAtOnce, MaxDeliver: -1,
	})
	if err != nil {
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "open the fabric's stream", Cause: err}
	}
	return c, nil
}

// drain moves events from the stream into the journal until ctx ends. What the
// journal does not take stays in the stream.
func (h *Hub) drain(ctx context.Context, c jetstream.Consumer) {
	gaps := map[string]time.Duration{} // by host, since when something of it is missing
	for wait := time.Second; ctx.Err() == nil; {
		err := h.take(ctx, c, gaps)
		if err == nil || errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
			wait = time.Second
			continue
		}
		if ctx.Err() == nil {
			h.cfg.Log.Warn("what hosts report waits in the fabric's stream", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, 30*time.Second)
	}
}

func (h *Hub) take(ctx context.Context, c jetstream.Consumer, gaps map[string]time.Duration) error {
	// One waits for the first, then all that is there follows without waiting: a
	// transaction for each would be a flush of the disk for each.
	fetch, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	first, err := c.Fetch(1, jetstream.FetchContext(fetch))
	if err != nil {
		return fmt.Errorf("read the fabric's stream: %w", err)
	}
	var msgs []jetstream.Msg
	for m := range first.Messages() {
		msgs = append(msgs, m)
	}
	if err := first.Error(); err != nil || len(msgs) == 0 {
		return err
	}
	if more, err := c.FetchNoWait(readAtOnce); err == nil {
		for m := range more.Messages() {
			msgs = append(msgs, m)
		}
	}
	type told struct {
		HostBatch
		msg jetstream.Msg
	}
	var all []told
	for _, m := range msgs {
		b, err := ParseBatch(m.Data())
		host := hostOf(m.Subject())
		if err != nil || h.has(host) != nil {
			h.cfg.Log.Warn("what a host reports is not understood and dropped", "host", host, "err", err)
			_ = m.Term()
			continue
		}
		all = append(all, told{HostBatch{Host: host, Batch: b}, m})
	}
	if len(all) == 0 {
		return nil
	}
	// What comes again comes in any order. Where it has been waited for what is missing,
	// the next that is there is taken, and what follows has its own time to come.
	slices.SortStableFunc(all, func(a, b told) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.After, b.After))
	})
	now := Uptime()
	batches := make([]HostBatch, len(all))
	for i := range all {
		host := all[i].Host
		if since, missing := gaps[host]; missing && now-since > gapPatience && (i == 0 || all[i-1].Host != host) {
			all[i].Force = true
		}
		batches[i] = all[i].HostBatch
	}
	out, err := h.cfg.Journal.AppendEvents(ctx, batches)
	if err != nil {
		for _, x := range all {
			_ = x.msg.NakWithDelay(time.Second)
		}
		return fmt.Errorf("store what hosts report: %w", err)
	}
	for i, x := range all {
		switch out[i] {
		case Gap:
			if _, known := gaps[x.Host]; !known {
				gaps[x.Host] = now
			}
			_ = x.msg.NakWithDelay(500 * time.Millisecond)
			continue
		case Stored:
			delete(gaps, x.Host)
			if h.cfg.OnEvents != nil {
				h.cfg.OnEvents(batches[i].Host, batches[i].Events)
			}
		case Known:
		}
		_ = x.msg.Ack() // one that is lost brings the batch again, and it is Known
	}
	return nil
}
