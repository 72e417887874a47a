package whatsminer

import (
	"bytes"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The vectors were made with OpenSSL 3.0:
//
//	openssl passwd -1 -salt SALT SECRET
//	printf %s DIGEST | openssl dgst -sha256
//	openssl enc -aes-256-ecb -nopad -K KEY -in PADDED -base64 -A
const (
	vecDigest = "rcOJi1KLlkBCxcAu/z3Ka/"
	vecSign   = "vV.xd1/t.LK3eCBzkpy0d0"
	vecKey    = "f0daad831d87c23bc2b5d1b8db233061e540d1d49373d4da3079a4bb7d793220"
	vecPlain  = `{"cmd":"power_on","token":"x"}`
	vecSealed = "vkFfkew7KDqE7PW67j+vMVCCAwiZLmEJ2pIz5QdBv54="
)

func vecSession(t testing.TB) session {
	s, err := newSession("letmein", "BQ5hoXV9", "1A2b3C4d", "1741501234")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMD5Crypt(t *testing.T) {
	for _, v := range []struct{ secret, salt, want string }{
		{"letmein", "BQ5hoXV9", vecDigest},
		{"admin", "abcdefgh", "l/LAqC8oJERu7Cmx6trtY/"},
		{"abc", "123456789012", "GVDEjIF51EkM3MPmFX6dO1"}, // a salt counts to its eighth letter
	} {
		if got, err := md5crypt(v.secret, v.salt); got != v.want || err != nil {
			t.Errorf("md5crypt(%q, %q) = %q, %v; want %q", v.secret, v.salt, got, err, v.want)
		}
	}
	for _, salt := range []string{"", "a$b", "a:b", strings.Repeat("a", 17), "\x00", "sälz"} {
		if got, err := md5crypt("x", salt); err == nil {
			t.Errorf("the salt %q gave %q", salt, got)
		}
	}
}

func TestSession(t *testing.T) {
	s := vecSession(t)
	if s.sign != vecSign || hex.EncodeToString(s.key[:]) != vecKey {
		t.Errorf("sign %s, key %x", s.sign, s.key)
	}
	if got := s.seal([]byte(vecPlain)); got != vecSealed {
		t.Errorf("sealed %s, want %s", got, vecSealed)
	}
	if got, err := s.open(vecSealed); string(got) != vecPlain || err != nil {
		t.Errorf("opened %q, %v", got, err)
	}
	for _, bad := range []string{"", "x", "QQ==", vecSealed[:40], strings.Repeat("?", 24)} {
		if got, err := s.open(bad); err == nil {
			t.Errorf("opened %q as %q", bad, got)
		}
	}
}

func TestSignedV3(t *testing.T) {
	token, key := signed("set.miner.service", "hunter2", "px5hoXa9", "1692685443")
	if token != "Y1h5E9an" || hex.EncodeToString(key[:]) != "63587913d6a7d243f456742fa7e7fc6c5b9b962657596b5ff838c99301b4f8c6" {
		t.Errorf("token %s, key %x", token, key)
	}
	_, key = signed("set.miner.pools", "hunter2", "px5hoXa9", "1692685443")
	const want = "Swh24Tz7LnUY2a/YBVy8e74QoP3TjmAmNS8jkgTdNpYjay6AJ+OnXDOP0IvOw2WB046f4GxhtNWcw/fHXFl2mA=="
	if got := sealParam(key, []byte(`[{"passwd":"x","pool":"stratum+tcp://a:1","worker":"w"}]`)); got != want {
		t.Errorf("sealed %s\nwant   %s", got, want)
	}
}

// TestAgainstOpenSSL asks openssl itself where it is installed, for secrets that no
// vector has.
func TestAgainstOpenSSL(t *testing.T) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Log("there is no openssl here: the vectors in the other tests are from it")
		return
	}
	run := func(in []byte, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl %v: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	for _, secret := range []string{"a", "correct horse battery staple", "pässwörd", `"'$\`, strings.Repeat("long", 20)} {
		out := run([]byte(secret+"\n"), "passwd", "-1", "-salt", "x./Z09aa", "-stdin")
		if got, err := md5crypt(secret, "x./Z09aa"); err != nil || out != "$1$x./Z09aa$"+got {
			t.Errorf("md5crypt(%q) = %q, %v; openssl says %s", secret, got, err, out)
		}
	}
	s := vecSession(t)
	for n := 1; n < 70; n += 23 {
		plain := bytes.Repeat([]byte("x"), n)
		padded := append(bytes.Clone(plain), make([]byte, (16-n%16)%16)...)
		out := run(padded, "enc", "-aes-256-ecb", "-nopad", "-K", hex.EncodeToString(s.key[:]), "-base64", "-A")
		if got := s.seal(plain); got != out {
			t.Errorf("sealed %d bytes as %s; openssl %s", n, got, out)
		}
		out = run(plain, "enc", "-aes-256-ecb", "-K", hex.EncodeToString(s.key[:]), "-base64", "-A")
		if got := sealParam(s.key, plain); got != out {
			t.Errorf("sealed a parameter of %d bytes as %s; openssl %s", n, got, out)
		}
	}
}

// TestSealedOpens: what is sealed opens as it was, with either padding, as long as
// it is text, as JSON is.
func TestSealedOpens(t *testing.T) {
	s := vecSession(t)
	rapid.Check(t, func(t *rapid.T) {
		plain := []byte(rapid.StringMatching(`[ -~]{1,100}`).Draw(t, "plain"))
		for _, sealed := range []string{s.seal(plain), sealParam(s.key, plain)} {
			if got, err := s.open(sealed); !bytes.Equal(got, plain) || err != nil {
				t.Fatalf("opened %q, %v; want %q", got, err, plain)
			}
		}
	})
}

// FuzzV2 feeds arbitrary replies and salts to the older wire's parsers.
func FuzzV2(f *testing.F) {
	s := vecSession(f)
	f.Add([]byte(`{"STATUS":"S","Code":131,"Msg":"API command OK"}`), "BQ5hoXV9")
	f.Add([]byte(`{"STATUS":[{"STATUS":"E","Code":45,"Msg":"permission denied"}]}`), "$1$x")
	f.Add([]byte(`{"enc":"`+s.seal([]byte(`{"STATUS":"S","Code":131,"Msg":{}}`))+`"}`), "")
	f.Add([]byte(`{"enc":"`+vecSealed+`"}`), "\x00")
	f.Add([]byte(`{"enc":1,"data":""}`), strings.Repeat("a", 100))
	f.Add([]byte(`{"STATUS":{"STATUS":1},"Code":"1e400"}`+"\x00"), "é")
	f.Fuzz(func(t *testing.T, wire []byte, salt string) {
		reply, _, err := s.parse(wire)
		if (reply == nil) == (err == nil) {
			t.Errorf("reply %q with %v", reply, err)
		}
		if _, err := newSession("x", salt, salt, salt); err == nil && salt == "" {
			t.Error("a session without a salt")
		}
	})
}

// FuzzV3 feeds arbitrary bytes to the newer wire's parsers.
func FuzzV3(f *testing.F) {
	f.Add(frame([]byte(`{"code":0,"when":1692685512,"msg":"ok","desc":"x"}`)))
	f.Add(append(make([]byte, 8), frame([]byte(`{"code":-4,"msg":{"a":1},}`))...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, '{'})
	f.Add([]byte{4, 0, 0, 0, '{'})
	f.Add(make([]byte, 400))
	f.Fuzz(func(t *testing.T, wire []byte) {
		b, err := readFrame(bytes.NewReader(wire))
		if err != nil {
			return
		}
		if len(b) == 0 || len(b) > len(wire) {
			t.Fatalf("%d bytes out of %d", len(b), len(wire))
		}
		if _, r, err := judgeV3(b); err == nil && (r.Code == nil || *r.Code != v3OK) {
			t.Errorf("took %q for a yes", b)
		}
	})
}
