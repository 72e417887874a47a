package feed

// SubsidyAt returns the subsidy in BTC of the block at the height: 50 halved
// every 210,000 blocks, to the satoshi.
func SubsidyAt(height int64) float64 {
	n := height / 210_000
	if height < 0 || n > 63 {
		return 0
	}
	return float64(int64(50e8)>>n) / 1e8
}
