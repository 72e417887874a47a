package replay

// GPU rates of August 2023 in USD per GPU and hour: for each provider its median
// quote of the month, over them the median, from public price trackers (see
// README.md). "On demand" may not be interrupted, "spot" may.
const (
	A100OnDemandUSD = 1.89 // A100 80 GB, five neoclouds; hyperscalers asked 4.40
	A100SpotUSD     = 1.47 // A100 80 GB, one hyperscaler: no other spot quote that month

	H100OnDemandUSD = 2.4431 // two neoclouds; no hyperscaler had it yet
	// H100SpotUSD is an estimate: nobody quoted H100 spot before 2026. It is the
	// on-demand rate times what the A100's spot rate was of its own (1.47 / 1.89).
	H100SpotUSD = 1.90
)

// H100Rates returns the rates per GPU and hour in USD of work that may not be
// interrupted, and of work that may.
func H100Rates() (firm, spot float64) { return H100OnDemandUSD, H100SpotUSD }
