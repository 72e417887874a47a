package backtest

import (
	"context"
	"time"
)

// fan hands the forecast to the controller, step by step.
type fan struct {
	stop func()
	next func(now time.Time, n int) []float64
}

func (f *fan) expect() func(time.Time, int) []float64 { return f.next }

// expectations begins the forecast of a policy that uses one.
func expectations(ctx context.Context, o *Options, policy string, step time.Duration) (*fan, error) {
	return &fan{stop: func() {}}, nil
}
