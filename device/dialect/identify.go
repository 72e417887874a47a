package dialect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice"
	"sluice/device"
)

// Timing of Identify.
const (
	identifyTimeout = 10 * time.Second // without a deadline
	patience        = 2 * time.Second  // for a better fingerprint, once there is one
	headStart       = 150 * time.Millisecond
)

// port is one place to ask, in one way.
type port struct {
	way  string // api, web, tls, or a wire's name
	port int
}

// question is one request that is asked for one or more dialects.
type question struct {
	link    *link
	request *request
	marks   []asked
	rank    int // of the best of marks
}

type asked struct {
	d *Dialect
	m mark
}

// match is a fingerprint that fits.
type match struct {
	asked
	at    port
	reply any
}

// Identify asks the device what it is and returns its driver and report. It
// asks few questions, at all ports that a dialect names at once, or only at the
// port that the address sets. A device that answers nothing, or nothing known,
// is sluice.NotFound with the errors; a silent one uses up the deadline.
func (s *Set) Identify(ctx context.Context, a device.Address) (*Driver, device.Report, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, identifyTimeout)
		defer cancel()
	}
	found, err := s.ask(ctx, a)
	if len(found) == 0 {
		return nil, device.Report{}, &sluice.Error{
			Kind: sluice.NotFound, Msg: "identifying " + a.String() + ": nothing that mines answers there",
			Hint: "is it on, and in this network? name its driver if it is a known one", Cause: err,
		}
	}
	best := found[0]
	for _, m := range found[1:] {
		if m.m.Rank > best.m.Rank || (m.m.Rank == best.m.Rank && m.d.Name < best.d.Name) {
			best = m
		}
	}
	have := map[string]any{}
	for _, m := range found {
		if m.d == best.d {
			have[m.m.Request] = m.reply
			a = m.at.put(a, m.d)
		}
	}
	d := newDriver(best.d, a)
	r, err := d.reportWith(ctx, have)
	return d, r, err
}

// put sets the port that answered, where it is not the dialect's own.
func (p port) put(a device.Address, d *Dialect) device.Address {
	if p.way == "web" || p.way == "tls" {
		if a.WebPort == 0 && p.port != first(d.Ports.Web, 80) {
			a.WebPort = p.port
		}
	} else if a.APIPort == 0 && p.port != first(d.Ports.API, 4028) {
		a.APIPort = p.port
	}
	return a
}

// questions groups what there is to ask by port, the best fingerprints first.
func (s *Set) questions(a device.Address) map[port][]*question {
	out := map[port][]*question{}
	index := map[string]*question{}
	for _, d := range s.list {
		for _, m := range d.Fingerprint {
			r := d.Requests[m.Request]
			for _, p := range d.portsOf(r, a) {
				b, _ := json.Marshal(r.Body)
				key := p.way + strconv.Itoa(p.port) + r.name() + r.Parameter + strconv.FormatBool(r.NewAPI) + r.Form + string(b)
				q := index[key]
				if q == nil {
					at := a
					at.APIPort, at.WebPort = p.port, p.port
					q = &question{link: newLink(at, d), request: r}
					if a.Password == "" && d.Auth.Kind == "bearer" {
						q.link.web.auth.Kind = "none" // no passwords are tried on what is not known yet
					}
					index[key] = q
					out[p] = append(out[p], q)
				}
				q.marks = append(q.marks, asked{d, m})
				q.rank = max(q.rank, m.Rank)
			}
		}
	}
	for _, qs := range out {
		slices.SortStableFunc(qs, func(a, b *question) int { return cmp.Compare(b.rank, a.rank) })
	}
	return out
}

func (d *Dialect) portsOf(r *request, a device.Address) []port {
	way, list := "api", d.Ports.API
	set := cmp.Or(a.APIPort, a.WebPort)
	if _, p := r.method(); p != "" {
		way, list, set = "web", d.Ports.Web, cmp.Or(a.WebPort, a.APIPort)
		if d.Ports.TLS {
			way = "tls"
		}
		if len(list) == 0 {
			list = []int{80}
		}
	} else if r.Via != "" {
		way = r.Via
	}
	if len(list) == 0 {
		list = []int{4028}
	}
	if set != 0 {
		list = []int{set}
	}
	out := make([]port, len(list))
	for i, n := range list {
		out[i] = port{way, n}
	}
	return out
}

// ask puts the questions to all ports at once and returns what fits.
func (s *Set) ask(ctx context.Context, a device.Address) ([]match, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		match
		end  bool // of this port's questions
		err  error
		from port
	}
	groups := s.questions(a)
	answers := make(chan answer)
	tell := func(x answer) bool {
		select {
		case answers <- x:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for p, qs := range groups {
		_, shared := groups[port{"api", p.port}]
		go func() {
			if shared && p.way != "api" && !wait(ctx, headStart) {
				return // two ways on one port: the cheaper one first
			}
			err := p.visit(ctx, qs, func(m match) bool { return tell(answer{match: m}) })
			tell(answer{end: true, err: err, from: p})
		}()
	}
	var found []match
	var errs unanswered
	var late <-chan time.Time
	best := -1
	for len(groups) > 0 {
		select {
		case x := <-answers:
			switch {
			case x.end:
				delete(groups, x.from)
				errs.add(x.from.port, x.err)
			default:
				found = append(found, x.match)
				best = max(best, x.m.Rank)
				for p := range groups { // a port that answers one way has no other
					if p.port == x.at.port && p.way != x.at.way {
						delete(groups, p)
					}
				}
				if late == nil {
					t := time.NewTimer(patience)
					defer t.Stop()
					late = t.C
				}
			}
			if best >= 0 && !slices.ContainsFunc(mapped(groups), func(qs []*question) bool { return qs[0].rank > best }) {
				return found, nil
			}
		case <-late:
			return found, nil
		case <-ctx.Done():
			errs.add(0, ctx.Err())
			return found, errs.join()
		}
	}
	return found, errs.join()
}

// unanswered collects why ports did not tell what they are: ports that nobody opened are told together.
type unanswered struct {
	closed map[string][]int // why → ports
	errs   []error
}

func (u *unanswered) add(port int, err error) {
	var dial *net.OpError
	if !errors.As(err, &dial) || dial.Op != "dial" {
		u.errs = append(u.errs, err)
		return
	}
	why := dial.Err.Error()
	var no syscall.Errno
	if errors.As(err, &no) {
		why = no.Error()
	}
	if u.closed == nil {
		u.closed = map[string][]int{}
	}
	if !slices.Contains(u.closed[why], port) {
		u.closed[why] = append(u.closed[why], port)
	}
}

func (u *unanswered) join() error {
	errs := u.errs
	for _, why := range slices.Sorted(maps.Keys(u.closed)) {
		slices.Sort(u.closed[why])
		ports := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(u.closed[why])), ", "), "[]")
		errs = append(errs, fmt.Errorf("port %s: %s", ports, why))
	}
	return errors.Join(errs...)
}

func mapped(m map[port][]*question) [][]*question {
	out := make([][]*question, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// visit asks one port its questions, one after the other, until a fingerprint
// fits that none of the questions left could better.
func (p port) visit(ctx context.Context, qs []*question, tell func(match) bool) error {
	answered, best := false, -1
	var last error
	for _, q := range qs {
		if best >= 0 && q.rank <= best {
			break
		}
		v, err := q.link.do(ctx, q.request, env{}, map[string]any{"user": q.link.web.user, "password": q.link.web.password}, false)
		var st *StatusError
		if err != nil {
			last = err
			// A page that is not there, or is no JSON, says that somebody is in.
			answered = answered || errors.As(err, &st) || refused(err)
			if !answered || ctx.Err() != nil {
				return err
			}
			continue
		}
		answered = true
		for _, k := range q.marks {
			e := env{root: map[string]any{k.m.Request: v}}
			if !slices.ContainsFunc(k.m.Where, func(c cond) bool { return !c.holds(e) }) {
				best = max(best, k.m.Rank)
				if !tell(match{k, p, v}) {
					return ctx.Err()
				}
			}
		}
	}
	return last
}
