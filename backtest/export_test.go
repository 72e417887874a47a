package backtest

// BlockSpan is how long the blocks of hindsight's bound are.
var BlockSpan = blockSpan
