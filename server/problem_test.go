package server

import (
	"strings"
	"testing"
)

// What a body held is not sent back, whatever is wrong with it: it may be a secret.
func TestProblemsTellNoSecrets(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		body, where string
		status      int
	}{
		{`{"task": "run: x", "secrets": {"A": "hidden-4711"}, "tsak": 1}`, "body.tsak", 422},
		{`{"task": "run: x", "secrets": {"A": {"hidden-4711": 1}}}`, "body.secrets.A", 422},
		{`{"task": "run: x", "secrets": {"A": 4711}}`, "body.secrets.A", 422},
		{`{"task": "run: x", "secrets": {"A": "hidden-4711"}`, "body", 400},
		{`{"task": ["secrets: {A: hidden-4711}"]}`, "body.task", 422},
	} {
		for _, path := range []string{"/api/v1/jobs", "/api/v1/jobs/check"} {
			b := string(r.want(c.status, "POST", path, c.body))
			if strings.Contains(b, "4711") || !strings.Contains(b, `"location":"`+c.where+`"`) {
				t.Errorf("%s of %s:\n%s", path, c.body, b)
			}
		}
	}
	// What is no secret helps to mend it.
	if b := string(r.want(422, "POST", "/api/v1/curtailments", `{"limit_kw": -5, "for_s": 60}`)); !strings.Contains(b, "-5") {
		t.Errorf("a number is not named: %s", b)
	}
	if b := string(r.want(422, "GET", "/api/v1/jobs?state=foo", "")); !strings.Contains(b, "foo") {
		t.Errorf("a filter is not named: %s", b)
	}
}
