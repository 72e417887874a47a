package site

import "sync"

// broadcaster hands events to listeners; one that does not keep up misses
// events rather than holding the site.
type broadcaster struct {
	mu   sync.Mutex
	subs map[chan Event]struct{}
}

func (b *broadcaster) send(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.subs {
		select {
		case c <- e:
		default:
		}
	}
}

// Subscribe returns a channel of events and a function that ends it.
func (s *Site) Subscribe(buffer int) (<-chan Event, func()) {
	b := &s.events
	c := make(chan Event, max(buffer, 1))
	b.mu.Lock()
	if b.subs == nil {
		b.subs = map[chan Event]struct{}{}
	}
	b.subs[c] = struct{}{}
	b.mu.Unlock()
	var once sync.Once
	return c, func() {
		once.Do(func() {
			b.mu.Lock()
			delete(b.subs, c)
			close(c)
			b.mu.Unlock()
		})
	}
}

// Publish tells the listeners of a change outside the site's own loop, such as
// a job's.
func (s *Site) Publish(e Event) { s.events.send(e) }
