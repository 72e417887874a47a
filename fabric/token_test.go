package fabric

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTokens(t *testing.T) {
	for _, host := range []string{"gpu1", "rack-2.row.b", "A_1"} {
		tok, err := NewToken(host, strings.Repeat("ab", 32), false)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseToken(tok.Text() + "\n")
		if err != nil || got != tok {
			t.Fatalf("%+v, %v, want %+v", got, err, tok)
		}
		for _, s := range []string{fmt.Sprint(tok), fmt.Sprintf("%v %s", tok, &tok)} {
			if strings.Contains(s, tok.Secret) {
				t.Fatalf("printed: %s", s)
			}
		}
		now := time.Unix(1e9, 0)
		r := tok.Record(now, now.Add(time.Hour), "me")
		if !r.matches(tok.Secret) || r.matches(tok.Secret[1:]+"A") || r.matches("") {
			t.Fatal("matches what it should not, or not what it should")
		}
		if !r.Valid(now) || r.Valid(now.Add(2*time.Hour)) {
			t.Fatal("expiry")
		}
		r.JoinedAt = now
		if !r.Valid(now.Add(2 * time.Hour)) {
			t.Fatal("a host that has joined is cut off by the expiry of its token")
		}
		if r.RevokedAt = now; r.Valid(now) {
			t.Fatal("revoked, and holds")
		}
	}
	for _, host := range []string{"", "a b", "../x", "a*", "a>", strings.Repeat("x", 65)} {
		if _, err := NewToken(host, "", true); err == nil {
			t.Errorf("made a token of %q", host)
		}
	}
}

func TestTokenFile(t *testing.T) {
	tok, _ := NewToken("h", strings.Repeat("00", 32), false)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(tok.Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadToken(file); err != nil || got != tok {
		t.Fatalf("%v, %v", got, err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadToken(file); err == nil || strings.Contains(err.Error(), tok.Secret) {
		t.Fatalf("read a file that others can read: %v", err)
	}
}

func FuzzParseToken(f *testing.F) {
	tok, _ := NewToken("a.b", strings.Repeat("0f", 32), false)
	ext, _ := NewToken("x", "", true)
	f.Add(tok.Text())
	f.Add(ext.Text())
	f.Add("sluice-join.x.e..")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseToken(s)
		if err != nil {
			return
		}
		again, err := ParseToken(got.Text())
		if err != nil || again != got || CheckHost(got.Host) != nil {
			t.Fatalf("%q: %+v, %+v, %v", s, got, again, err)
		}
	})
}

func TestSubjects(t *testing.T) {
	for _, host := range []string{"a", "a.b", "a-b_c.9"} {
		for _, s := range []string{upSubject(host, "beat"), downSubject(host, "x"), eventSubject(host)} {
			if got := hostOf(s); got != host {
				t.Errorf("%s belongs to %q, want %q", s, got, host)
			}
		}
		if ownReply(host, inboxPrefix(host+"x")+".1") || ownReply(host, downSubject(host, "stop")) || !ownReply(host, inboxPrefix(host)+".1") {
			t.Errorf("replies of %s", host)
		}
	}
	for _, s := range []string{"", "sluice.h", "sluice.h.", "sluice.h.a", "other.h.a.ev", "sluice.h.*.ev"} {
		if got := hostOf(s); got != "" {
			t.Errorf("%q belongs to %q", s, got)
		}
	}
}
