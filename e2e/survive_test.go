package e2e_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	kills   = 30
	lifeMax = 3500 * time.Millisecond
)

// load is what people do to a site while its server is killed. It goes on
// through the kills and remembers what was confirmed.
type load struct {
	self, dir string

	mu     sync.Mutex
	client client
	tasks  map[string]string // submission → job, "" while not confirmed
	order  []string
	orders map[string]bool // curtailments that were confirmed
	errs   []error
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

func (l *load) diary(name string) string { return filepath.Join(l.dir, name) }

// submit asks for a job until that is confirmed; asking again under the same ID
// must not make a second one.
func (l *load) submit(c *client, name string, beats int, spot bool) {
	j, err := ask[jobRecord](c, http.MethodPost, "/jobs", map[string]any{
		"id": "req-" + name, "task": task(name, l.self, l.diary(name), beats, spot), "by": "tester",
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	known, there := l.tasks[name]
	if !there {
		l.order = append(l.order, name)
		l.tasks[name] = ""
	}
	var no *refusedError
	switch {
	case errors.As(err, &no) && no.status == http.StatusConflict, errors.As(err, &no) && no.status == http.StatusServiceUnavailable:
		// The same submission is under way, or the site is just starting.
	case errors.As(err, &no):
		l.errs = append(l.errs, fmt.Errorf("job %s: %w", name, err))
	case err != nil: // killed; whether it was taken is not known
	case known != "" && known != j.ID:
		l.errs = append(l.errs, fmt.Errorf("job %s has become %s, it was %s", name, j.ID, known))
	default:
		l.tasks[name] = j.ID
	}
}

// open returns the submissions that are not confirmed.
func (l *load) open() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, n := range l.order {
		if l.tasks[n] == "" {
			out = append(out, n)
		}
	}
	return out
}

// run works until end closes.
func (l *load) run(end <-chan struct{}, rnd *rand.Rand) {
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	short := 0
	for {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		c := l.client
		for _, n := range l.open() {
			if strings.HasPrefix(n, "short") {
				l.submit(&c, n, 20, false)
			}
		}
		switch rnd.IntN(10) {
		case 0, 1:
			if len(l.open()) == 0 && short < 60 {
				short++
				l.submit(&c, fmt.Sprintf("short-%d", short), 20, false)
			}
		case 2:
			id := fmt.Sprintf("o-%d", rnd.Uint32())
			o, err := ask[curtailment](&c, http.MethodPost, "/curtailments", map[string]any{
				"id":       id,
				"limit_kw": 20 + rnd.Float64()*120, "for_s": 2 + rnd.IntN(15), "by": "grid", "why": "exercise",
			})
			var no *refusedError
			if errors.As(err, &no) {
				l.fail(err)
			} else if err == nil {
				l.mu.Lock()
				l.orders[o.ID] = true
				l.mu.Unlock()
			}
		case 3:
			_, _ = c.raw(http.MethodPut, "/api/v1/machines/m-00007/pin", map[string]string{"mode": "sleep", "by": "tester", "why": "exercise"})
		case 4:
			_, _ = c.raw(http.MethodDelete, "/api/v1/machines/m-00007/pin?by=tester", nil)
		case 5:
			_, _ = c.machines()
		default:
			// At every instant that somebody looks.
			if bs, err := c.balances(); err == nil {
				if err := trialBalance(bs); err != nil {
					l.fail(err)
				}
			}
		}
	}
}

// The server is killed thirty times at random instants, while miners are shed
// and woken by prices and orders and jobs come, run, are preempted and end. The
// devices, the jobs and the disk live on. In the end nothing is lost, nothing is
// there twice, and all mine.
func TestSurvivesKills(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	site := newRealSite(t, 60, 20, "")
	site.setPrices(t, func(at time.Time) float64 {
		if at.Unix()/int64(priceStep.Seconds())%2 == 1 {
			return dear
		}
		return cheap
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &load{self: self, dir: t.TempDir(), client: client{base: "http://" + site.listen}, tasks: map[string]string{}, orders: map[string]bool{}}

	s := up(t, site.args()...)
	long := []string{"firm-1", "firm-2", "spot-1", "spot-2"}
	for _, n := range long {
		l.submit(s.client, n, 0, strings.HasPrefix(n, "spot"))
	}
	if open := l.open(); len(open) > 0 {
		t.Fatalf("not taken: %v %v", open, l.errs)
	}
	t.Cleanup(func() {
		for _, n := range long {
			_ = os.WriteFile(l.diary(n)+".end", nil, 0o600)
		}
	})
	eventually(t, patience, func() error { return l.beats("firm-1", "firm-2") })

	end, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); l.run(end, rand.New(rand.NewPCG(seed, 2))) }()
	p := s.process
	shedMost := 0
	// On a slow machine little goes on between two kills: then there are more of them.
	enough := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return shedMost >= site.miners/2 && len(l.order) >= 10 && len(l.orders) >= 5
	}
	for i := 0; i < kills || !enough() && i < 4*kills; i++ {
		life, dead := time.Duration(rnd.Int64N(int64(lifeMax))), time.Duration(0)
		if left := time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)); left < lifeMax {
			// No server lives while an interval ends: the next one must settle it.
			life, dead = max(left-100*time.Millisecond, 0), 200*time.Millisecond
		}
		select {
		case <-p.ended:
			t.Fatalf("it ended by itself: %v\n%s", p.failed, p.err.String())
		case <-time.After(life):
		}
		if n, err := site.asleep(); err == nil {
			shedMost = max(shedMost, n)
		}
		p.kill()
		<-time.After(dead)
		p = start(t, append([]string{"up"}, site.args()...)...)
	}
	p.kill()
	l.mu.Lock()
	t.Logf("at most %d of %d miners slept; %d jobs, %d orders confirmed", shedMost, site.miners, len(l.order), len(l.orders))
	l.mu.Unlock()
	if !enough() {
		t.Error("the kills have hit a site where little went on")
	}
	// Power becomes cheap for good, and the server is started for the last time.
	now := time.Now()
	site.setPrices(t, func(at time.Time) float64 {
		if at.Before(now) && at.Unix()/int64(priceStep.Seconds())%2 == 1 {
			return dear
		}
		return cheap
	})
	s = up(t, site.args()...)
	close(end)
	<-done
	for _, err := range l.errs {
		t.Error(err)
	}
	for _, n := range l.open() {
		l.submit(s.client, n, 20, false)
	}
	if open := l.open(); len(open) > 0 {
		t.Errorf("not taken: %v", open)
	}
	l.checkOrders(t, s)
	if _, err := s.raw(http.MethodDelete, "/api/v1/machines/m-00007/pin?by=tester", nil); err != nil {
		var no *refusedError
		if !errors.As(err, &no) || no.status != http.StatusConflict {
			t.Errorf("releasing the pin: %v", err)
		}
	}
	eventually(t, 3*patience, func() error { return site.allMine(s.client) })
	for _, n := range long {
		if err := os.WriteFile(l.diary(n)+".end", nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 2*patience, func() error { return l.finished(s.client) })
	l.checkJobs(t, s)
	l.checkBills(t, s)
	checkPrices(t, s)
	checkBooks(t, s, time.Minute, int(time.Since(site.began)/time.Minute)-1)
}

func (l *load) beats(names ...string) error {
	for _, n := range names {
		d, err := readDiary(l.diary(n))
		if err != nil || len(d) < 3 {
			return fmt.Errorf("job %s has written %d lines (%v)", n, len(d), err)
		}
	}
	return nil
}

func (l *load) checkOrders(t *testing.T, s *server) {
	t.Helper()
	os, err := s.orders()
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]int{}
	for _, o := range os {
		there[o.ID]++
		if o.State != "ended" && o.State != "cancelled" {
			if _, err := s.raw(http.MethodDelete, "/api/v1/curtailments/"+o.ID+"?by=tester", nil); err != nil {
				t.Logf("cancelling %s: %v", o.ID, err) // it may have ended just now
			}
		}
	}
	for id := range l.orders {
		if there[id] != 1 {
			t.Errorf("the order %s, which was confirmed, is there %d times", id, there[id])
		}
	}
}

func (l *load) finished(c *client) error {
	js, err := c.jobs()
	if err != nil {
		return err
	}
	for _, j := range js {
		switch j.State {
		case "succeeded", "failed", "cancelled", "lost":
		default:
			return fmt.Errorf("job %s (%s) is %s: %s", j.ID, j.Name, j.State, j.Why)
		}
	}
	return nil
}

// checkJobs: each submission is one job, which ran one at a time to its end, and
// those that nobody preempted in one process over all kills.
func (l *load) checkJobs(t *testing.T, s *server) {
	t.Helper()
	js, err := s.jobs()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string][]jobRecord{}
	for _, j := range js {
		byName[j.Name] = append(byName[j.Name], j)
	}
	if len(js) != len(l.order) {
		t.Errorf("%d jobs of %d submissions", len(js), len(l.order))
	}
	preempted := 0
	for _, n := range l.order {
		if len(byName[n]) != 1 {
			t.Errorf("%s, submitted once, is there %d times", n, len(byName[n]))
			continue
		}
		j := byName[n][0]
		d, err := readDiary(l.diary(n))
		if err != nil {
			t.Fatal(err)
		}
		pids, err := checkDiary(d)
		switch {
		case err != nil:
			t.Errorf("%s (%s): %v", n, j.ID, err)
		case j.State != "succeeded" || !ended(d):
			// The server alone was killed: no process was, so none may be lost.
			t.Errorf("%s (%s) is %s: %s; its diary has ended: %t", n, j.ID, j.State, j.Why, ended(d))
		case j.Runs != j.Preemptions+1 || len(pids) > j.Runs: // a run that is stopped at once writes nothing
			t.Errorf("%s (%s) ran as %v, in %d runs with %d preemptions", n, j.ID, pids, j.Runs, j.Preemptions)
		case !j.Interruptible && len(pids) != 1:
			t.Errorf("%s (%s), sold as firm, was stopped: it ran as %v", n, j.ID, pids)
		}
		preempted += j.Preemptions
	}
	if preempted == 0 {
		t.Error("no interruptible job was preempted")
	}
}

// checkPrices: no interval was settled without its price, however short the time
// was that the server lived around its end.
func checkPrices(t *testing.T, s *server) {
	t.Helper()
	es, err := s.entries()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		price, ok := e.Meta["price"]
		switch {
		case !ok: // AI's revenue has none
		case strings.HasSuffix(e.ID, "/mining-revenue"):
			if price != "60.000000" {
				t.Errorf("%s is settled at a hashprice of %s (%s)", e.ID, price, e.Meta["price_origin"])
			}
		case price != fmt.Sprintf("%d.000000", cheap) && price != fmt.Sprintf("%d.000000", dear):
			t.Errorf("%s is settled at %s $/MWh (%s)", e.ID, price, e.Meta["price_origin"])
		}
	}
}

// checkBills: what the books say that AI has sold is what the jobs' records say,
// and that is what they have used.
func (l *load) checkBills(t *testing.T, s *server) {
	t.Helper()
	eventually(t, 2*patience, func() error { // until the interval of the last end is settled
		js, err := s.jobs()
		if err != nil {
			return err
		}
		billed := int64(0)
		for _, j := range js {
			billed += j.Billed
			// A millisecond of each run is cut off, and the micro-dollar rounded.
			used := j.RunSeconds * float64(j.Units) * j.Rate * 1e6 / 3600
			if diff := used - float64(j.Billed); diff < -1000 || diff > 1000 {
				return fmt.Errorf("job %s (%s) has used %.0f and was billed %d micro-USD", j.ID, j.Name, used, j.Billed)
			}
		}
		bs, err := s.balances()
		if err != nil {
			return err
		}
		sold := int64(0)
		for _, b := range bs {
			if strings.HasPrefix(b.Account, "revenue:ai:") {
				sold -= b.Amount
			}
		}
		if sold != billed || sold == 0 {
			return fmt.Errorf("the books have sold %d, the jobs were billed %d micro-USD", sold, billed)
		}
		return nil
	})
}
