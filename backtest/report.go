package backtest

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"sluice/history"
)

// Report is what a backtest found out.
type Report struct {
	Site     string            `json:"site"`
	From     time.Time         `json:"from"`
	To       time.Time         `json:"to"`
	StepS    float64           `json:"step_s"`
	Currency string            `json:"currency"` // of all money
	Policies []Result          `json:"policies"`
	Findings []history.Finding `json:"findings"` // in the data
	Rules    []string          `json:"rules"`    // by which it was cleaned
	// Days and Spike are of each policy that was run: a row for each day, and the
	// week around the highest price.
	Days  map[string][]Day   `json:"days"`
	Spike map[string][]Point `json:"spike"`
}

// Run runs the policies over the range, as many at once as there are processors.
// Hindsight is a bound and not a run; with it every result tells its capture.
func Run(ctx context.Context, o Options, policies []string) (*Report, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	for _, p := range policies {
		if err := Check(p); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &Report{
		Site: o.Site.Name, From: o.From.UTC(), To: o.To.UTC(), Currency: "USD", Policies: make([]Result, len(policies)),
		Rules: history.Rules(), Days: map[string][]Day{}, Spike: map[string][]Point{}, Findings: []history.Finding{},
	}
	var mu sync.Mutex
	var first error
	var group sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, p := range policies {
		group.Add(1)
		go func() {
			defer group.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			t, found, err := one(ctx, &o, p)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if first == nil {
					first = err
				}
				cancel()
				return
			}
			r.Policies[i] = t.Result
			r.StepS = t.step.Seconds()
			if t.days != nil {
				r.Days[p], r.Spike[p] = t.days, t.spike
			}
			if len(r.Findings) == 0 {
				r.Findings = within(found, o.From, o.To)
			}
		}()
	}
	group.Wait()
	if first != nil {
		return nil, first
	}
	r.capture()
	return r, nil
}

func one(ctx context.Context, o *Options, policy string) (*tally, []history.Finding, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	began := time.Now() // of the wall: what a run takes is one of its figures
	var t *tally
	var found []history.Finding
	var err error
	if policy == Hindsight {
		t, found, err = hindsight(ctx, o)
	} else {
		t, found, err = run(ctx, o, policy)
	}
	if err != nil {
		return nil, nil, err
	}
	t.Seconds = time.Since(began).Seconds()
	return t, found, nil
}

// within keeps the findings that touch the range.
func within(all []history.Finding, from, to time.Time) []history.Finding {
	out := []history.Finding{}
	for _, f := range all {
		if f.To.After(from) && f.From.Before(to) || f.From.IsZero() {
			out = append(out, f)
		}
	}
	return out
}

// capture holds each profit against hindsight's.
func (r *Report) capture() {
	i := slices.IndexFunc(r.Policies, func(p Result) bool { return p.Name == Hindsight })
	if i < 0 || r.Policies[i].ProfitUSD <= 0 {
		return
	}
	for j := range r.Policies {
		c := r.Policies[j].ProfitUSD / r.Policies[i].ProfitUSD
		r.Policies[j].Capture = &c
	}
}
