package antminer

import (
	"net/http"
	"strings"
	"testing"
)

// The examples of RFC 7616 section 3.9.1 and RFC 2617 section 3.5.
func TestDigestExamples(t *testing.T) {
	const rfc7616 = `Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=%ALG%, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`
	for _, c := range []struct{ challenge, password, cnonce, response string }{
		{strings.Replace(rfc7616, "%ALG%", "MD5", 1), "Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "8ca523f5e9506fed4657c9700eebdbec"},
		{strings.Replace(rfc7616, "%ALG%", "SHA-256", 1), "Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
		{`Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`, "Circle Of Life", "0a4f113b", "6629fae49393a05397450978507c4ef1"},
		// Without qop: RFC 2069, as old lighttpd speaks it.
		{`Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"`, "Circle Of Life", "0a4f113b", "670fd8c2df070c60b045671b8b24ff02"},
	} {
		ch := parseChallenge(http.Header{"Www-Authenticate": {`Basic realm="x"`, c.challenge}})
		if ch == nil {
			t.Fatalf("no challenge in %s", c.challenge)
		}
		got := authParams(strings.TrimPrefix(ch.answer("GET", "/dir/index.html", "Mufasa", c.password, c.cnonce, 1), "Digest "))
		if got["response"] != c.response {
			t.Errorf("response %s, want %s", got["response"], c.response)
		}
		if got["nonce"] != ch.nonce || got["opaque"] != ch.opaque || got["username"] != "Mufasa" || got["uri"] != "/dir/index.html" {
			t.Errorf("header %v", got)
		}
		if _, has := got["nc"]; has != ch.qop {
			t.Errorf("nc is there: %v, qop: %v", has, ch.qop)
		}
	}
}

func TestChallengesThatCannotBeAnswered(t *testing.T) {
	for _, line := range []string{
		"", "Digest", `Basic realm="x"`, `Digest realm="x"`, `Digest realm="x", nonce="n", algorithm=MD5-sess`,
		`Digest realm="x", nonce="n", qop="auth-int"`,
	} {
		if c := parseChallenge(http.Header{"Www-Authenticate": {line}}); c != nil {
			t.Errorf("%q yields %+v", line, c)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(`Digest realm="a\"b", qop="auth", nonce="n"`)
	f.Add(`Digest realm="a, nonce=n,qop=auth,,`)
	f.Add(`Digest =,="`)
	f.Fuzz(func(t *testing.T, line string) {
		c := parseChallenge(http.Header{"Www-Authenticate": {line}})
		if c == nil {
			return
		}
		h := c.authorize("GET", "/x", `us"er`, "p")
		if strings.ContainsAny(h, "\r\n") {
			t.Errorf("the header %q would be two", h)
		}
		if got := authParams(strings.TrimPrefix(h, "Digest ")); got["username"] != `us"er` || got["nc"] != "00000001" && c.qop {
			t.Errorf("%q reads back as %v", h, got)
		}
	})
}

func FuzzConf(f *testing.F) {
	f.Add([]byte(`{"pools":[{"url":"a"}],"bitmain-work-mode":"0"}`))
	f.Add([]byte(`{"miner-mode":1,}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConf(b)
		if err != nil {
			return
		}
		asleep := c.with(workSleep)
		if asleep.mode() != workSleep {
			t.Errorf("asked for sleep, reads %q", asleep.mode())
		}
		for key, v := range c {
			if key != keyMiner && key != keyWork && string(asleep[key]) != string(v) {
				t.Errorf("%s: %s became %s", key, v, asleep[key])
			}
		}
		back, _ := asleep.restored(c)
		if back.hasPool() != c.hasPool() {
			t.Error("pools were not restored")
		}
	})
}
