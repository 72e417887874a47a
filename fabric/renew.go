package fabric

import (
	"crypto/tls"
	"sync"
	"time"
)

// renewing hands out the server's certificate, and a new one when the old one
// has only a third of its life left.
type renewing struct {
	a   *authority
	now func() time.Time

	mu    sync.Mutex
	cert  *tls.Certificate
	until time.Time
}

func (r *renewing) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if now.After(r.until) {
		if c, err := r.a.leaf(now); err == nil { // else the old one is still good for a month
			r.cert, r.until = c, now.Add(leafLife*2/3)
		}
	}
	return r.cert, nil
}
