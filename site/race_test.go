//go:build race

package site_test

// raceEnabled shortens what takes ten times as long under the race detector.
const raceEnabled = true
