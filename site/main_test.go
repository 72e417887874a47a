package site_test

import (
	"flag"
	"os"
	"testing"
)

// A check of a property here is hours of a site's life, not a function call: a
// handful for each run, more by hand with -rapid.checks.
func TestMain(m *testing.M) {
	checks := "6"
	if raceEnabled {
		checks = "1"
	}
	if err := flag.Set("rapid.checks", checks); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}
