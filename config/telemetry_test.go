package config

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestTelemetry(t *testing.T) {
	site, err := os.ReadFile("../examples/site/sluice.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(site, "sluice.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if x := c.Telemetry; !x.On() || x.Retention.Duration() != 720*time.Hour || x.MaxGB != 20 || x.MinFreeGB != 1 || x.RemoteWrite.Backlog.Duration() != 2*time.Hour {
		t.Errorf("defaults: %+v", x)
	}
	for _, c := range []struct{ text, mistake, warning string }{
		{"telemetry:\n  enabled: no\n", "", ""},
		{"telemetry:\n  enabled: no\n  remote_write:\n    url: https://m.example/w\n", "", "nothing is sent"},
		{"telemetry:\n  enabled: maybe\n", "is not one of yes, no", ""},
		{"telemetry:\n  retention: 1h\n", "out of range", ""},
		{"telemetry:\n  remote_write:\n    url: https://m.example/api/v1/write\n    token: env:T\n", "", ""},
		{"telemetry:\n  remote_write:\n    token: env:T\n", "there is no url", ""},
		{"telemetry:\n  remote_write:\n    url: m.example\n", "http:// or https://", ""},
		{"telemetry:\n  remote_write:\n    url: https://a:b@m.example/w\n", "by themselves", ""},
		{"telemetry:\n  remote_write:\n    url: https://m.example/w\n    user: a\n", "go together", ""},
		{"telemetry:\n  remote_write:\n    url: https://m.example/w\n    user: a\n    password: env:P\n    token: env:T\n", "a token, or", ""},
		{"telemetry:\n  remote_write:\n    url: http://m.example/w\n    token: env:T\n", "", "over http"},
		{"telemetry:\n  remote_write:\n    url: https://m.example/w\n    token: plain-text\n", "", "stands in the file"},
		{"telemetry:\n  remote_write:\n    url: https://m.example/w\n    backlog: 800h\n", "longer than", ""},
	} {
		got, err := Parse(append(append([]byte{}, site...), "\n"+c.text...), "sluice.yaml")
		switch {
		case c.mistake != "" && (err == nil || !strings.Contains(err.Error(), c.mistake)):
			t.Errorf("%q: %v, want %q", c.text, err, c.mistake)
		case c.mistake == "" && err != nil:
			t.Errorf("%q: %v", c.text, err)
		case c.mistake == "":
			var said []string
			for _, w := range got.Warnings {
				if strings.HasPrefix(w.Path, "telemetry") {
					said = append(said, w.Message)
				}
			}
			if all := strings.Join(said, "\n"); (c.warning == "") != (all == "") || !strings.Contains(all, c.warning) || strings.Contains(all, "plain-text") {
				t.Errorf("%q: warned %q, want %q", c.text, all, c.warning)
			}
		}
	}
}
