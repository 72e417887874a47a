package server

import (
	"io"
	"os"
	"strings"

	"sluice"
)

// minToken is the least length of a token: it is all that stands between a
// network and the site.
const minToken = 16

// ReadToken reads the bearer token of a file that only its owner can read. It
// fails with Invalid, and the way to make a good one as hint.
func ReadToken(path string) (string, error) {
	const hint = "make one: (umask 077; head -c 32 /dev/urandom | base64 > FILE)"
	f, err := os.Open(path)
	if err != nil {
		return "", &sluice.Error{Kind: sluice.Invalid, Msg: "reading the token", Hint: hint, Cause: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", &sluice.Error{Kind: sluice.Invalid, Msg: "reading the token", Hint: hint, Cause: err}
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return "", sluice.Errorf(sluice.Invalid, "chmod 600 "+path, "token file %s can be read by others", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", &sluice.Error{Kind: sluice.Invalid, Msg: "reading the token", Hint: hint, Cause: err}
	}
	token := strings.TrimSpace(string(b))
	if len(token) < minToken || strings.ContainsAny(token, " \t\r\n") {
		return "", sluice.Errorf(sluice.Invalid, hint, "token file %s must hold one word of at least %d characters", path, minToken)
	}
	return token, nil
}
