package device

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"

	"sluice"
)

// TLS says by what the certificate of the other side is known: by the
// authorities that the system trusts, unless one of the fields says else.
type TLS struct {
	CAFile      string // PEM: the authorities that count instead of the system's
	Fingerprint string // SHA-256 of the very certificate, as hex with or without colons
	Insecure    bool   // any certificate: whoever stands in between is not noticed
}

// Config makes the settings for a connection to the host.
func (t TLS) Config(host string) (*tls.Config, error) {
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	given := 0
	for _, set := range []bool{t.CAFile != "", t.Fingerprint != "", t.Insecure} {
		if set {
			given++
		}
	}
	if given > 1 {
		return nil, sluice.Errorf(sluice.Invalid, "", "a certificate is known by one thing: an authority, a fingerprint, or not at all")
	}
	switch {
	case t.CAFile != "":
		f, err := os.Open(t.CAFile)
		if err != nil {
			return nil, sluice.Errorf(sluice.Invalid, "", "the file of authorities: %v", err)
		}
		defer f.Close()
		pem, err := io.ReadAll(io.LimitReader(f, 1<<20))
		if err != nil {
			return nil, sluice.Errorf(sluice.Invalid, "", "the file of authorities: %v", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, sluice.Errorf(sluice.Invalid, "it begins with -----BEGIN CERTIFICATE-----", "%s holds no certificate", t.CAFile)
		}
	case t.Fingerprint != "":
		want, err := hex.DecodeString(strings.ReplaceAll(t.Fingerprint, ":", ""))
		if err != nil || len(want) != sha256.Size {
			return nil, sluice.Errorf(sluice.Invalid, "openssl x509 -noout -fingerprint -sha256 prints it", "the fingerprint is not a SHA-256 of 32 bytes in hex")
		}
		// The certificate itself is known: who signed it and for which name does
		// not matter.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) > 0 && sha256.Sum256(s.PeerCertificates[0].Raw) == [sha256.Size]byte(want) {
				return nil
			}
			return errors.New("the certificate has another fingerprint than the one that is configured")
		}
	case t.Insecure:
		c.InsecureSkipVerify = true
	}
	return c, nil
}
