// Package backtest runs the live controller's own code over recorded history, and
// other policies beside it over the same history.
//
// What is live here: package site with its loop, its picture of the site, its
// limits, ramps, dwells and settlement; package compute with its queue and its
// placement; dispatch, forecast, feed and ledger. What stands in for the world:
// the series of package history on the far side of a feed, a recorded stream of
// jobs, virtual hosts, and banks: machines that obey at once, each standing for an
// equal share of a class.
//
// Time is cut into the steps of the real-time series. A turn at the start of a step
// sees what was published by then: real-time prices of intervals that have ended,
// day-ahead prices of days that are published, the bitcoin network as it was. While
// wakes or starts wait for the ramp, turns follow each minute within the step. The
// step is settled at its real price, by the ledger.
//
// Memory does not grow with history but by a row for each day.
package backtest
