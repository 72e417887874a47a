package backtest

import (
	"context"

	"sluice"
	"sluice/history"
)

func hindsight(ctx context.Context, o *Options) (*tally, []history.Finding, error) {
	return nil, nil, sluice.Errorf(sluice.Internal, "", "hindsight is not there yet")
}
