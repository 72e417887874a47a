package fabric

import (
	"context"
	"errors"
	"fmt"
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
	gapPatience = 20 // deliveries after which a gap counts as a loss
	ackWait     = 30 * time.Second
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
	for wait := time.Second; ctx.Err() == nil; {
		err := h.take(ctx, c)
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

func (h *Hub) take(ctx context.Context, c jetstream.Consumer) error {
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
	var batches []HostBatch
	var of []jetstream.Msg
	for _, m := range msgs {
		b, err := ParseBatch(m.Data())
		host := hostOf(m.Subject())
		if err != nil || h.has(host) != nil {
			h.cfg.Log.Warn("what a host reports is not understood and dropped", "host", host, "err", err)
			_ = m.Term()
			continue
		}
		x := HostBatch{Host: host, Batch: b}
		if meta, err := m.Metadata(); err == nil {
			x.Force = meta.NumDelivered > gapPatience
		}
		batches, of = append(batches, x), append(of, m)
	}
	if len(batches) == 0 {
		return nil
	}
	out, err := h.cfg.Journal.AppendEvents(ctx, batches)
	if err != nil {
		for _, m := range of {
			_ = m.NakWithDelay(time.Second)
		}
		return fmt.Errorf("store what hosts report: %w", err)
	}
	for i, m := range of {
		switch out[i] {
		case Gap:
			_ = m.NakWithDelay(500 * time.Millisecond)
			continue
		case Stored:
			if h.cfg.OnEvents != nil {
				h.cfg.OnEvents(batches[i].Host, batches[i].Events)
			}
		case Known:
		}
		_ = m.Ack() // one that is lost brings the batch again, and it is Known
	}
	return nil
}
