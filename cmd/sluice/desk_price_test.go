package main

import (
	"strings"
	"testing"
	"time"

	"sluice/compute"
	"sluice/server"
)

// What a client would rather know before: that a job will be late, and that it would
// wait for cheaper power, where every choice that fits would.
func TestForeseen(t *testing.T) {
	rate := func(class string, spot bool) (float64, float64) {
		if class == "dear" {
			return 2, 900
		}
		return 1, 40
	}
	choice := func(class string, spot, fits bool) server.JobChoice {
		return server.JobChoice{Class: class, Fits: fits, Resources: compute.Resources{UseSpot: spot}}
	}
	for name, c := range map[string]struct {
		choices []server.JobChoice
		due     time.Duration
		want    string
	}{
		"in time, firm":       {[]server.JobChoice{choice("cheap", false, true)}, 3 * time.Hour, ""},
		"late":                {[]server.JobChoice{choice("cheap", false, true)}, time.Hour, "it is due in 60m and takes 2h: it will be late"},
		"waits":               {[]server.JobChoice{choice("cheap", true, true), choice("dear", true, false)}, 0, "it would wait for cheaper power now: it pays up to 40.0 $/MWh, the price is 60.0"},
		"another choice runs": {[]server.JobChoice{choice("cheap", true, true), choice("dear", true, true)}, 0, ""},
		"fits nowhere":        {[]server.JobChoice{choice("cheap", true, false)}, 0, ""},
	} {
		got := strings.Join(foreseen(server.JobCheck{Choices: c.choices}, server.Submission{Expect: 2 * time.Hour, Due: c.due}, rate, 60), "; ")
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A check says what submitting would be refused for.
func TestCheckIsRefusedAsSubmitting(t *testing.T) {
	d, ctx := newDesk(t)
	s := server.Submission{Task: "#!/bin/sh\n#SBATCH -d afterok:99\nx\n", File: "s.sh"}
	_, err := d.Submit(ctx, s)
	if err == nil {
		t.Fatal("it was taken")
	}
	c, cerr := d.Check(ctx, s)
	if cerr != nil || len(c.Choices) != 1 || c.Choices[0].Fits || c.Choices[0].Why != err.Error() || c.Choices[0].USDPerHour != 0.1 {
		t.Errorf("%+v, %v; submitting it: %v", c, cerr, err)
	}
}
