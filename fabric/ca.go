package fabric

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"sluice"
)

// leafName is the one name in the server's certificate: agents pin the authority,
// and addresses of a site change.
const leafName = "sluice-fabric"

const (
	caYears  = 20 * 365 * 24 * time.Hour
	leafLife = 90 * 24 * time.Hour // made anew at each start and when a third is left
)

// authority signs the server's certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// loadAuthority reads the site's authority from the folder, and makes it there
// where it is missing.
func loadAuthority(dir string, now time.Time) (*authority, error) {
	file := filepath.Join(dir, "ca.pem")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeAuthority(file, now)
	} else if err != nil {
		return nil, fmt.Errorf("read the fabric's authority: %w", err)
	}
	a := &authority{}
	for p, rest := pem.Decode(b); p != nil; p, rest = pem.Decode(rest) {
		switch p.Type {
		case "CERTIFICATE":
			a.cert, err = x509.ParseCertificate(p.Bytes)
		case "EC PRIVATE KEY":
			a.key, err = x509.ParseECPrivateKey(p.Bytes)
		}
		if err != nil {
			break
		}
	}
	if err != nil || a.cert == nil || a.key == nil {
		return nil, sluice.Errorf(sluice.Internal, "restore it from a backup; without it every host joins anew with a new token", "%s is damaged: %v", file, err)
	}
	return a, nil
}

func makeAuthority(file string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the fabric's authority: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serialNumber(), Subject: pkix.Name{CommonName: "Sluice fabric authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(caYears), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make the fabric's authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the fabric's authority: %w", err)
	}
	kb, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the fabric's authority: %w", err)
	}
	var out bytes.Buffer
	_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	_ = pem.Encode(&out, &pem.Block{Type: "EC PRIVATE KEY", Bytes: kb})
	if err := sluice.WriteFile(file, out.Bytes()); err != nil {
		return nil, fmt.Errorf("make the fabric's authority: %w", err)
	}
	return &authority{cert: cert, key: key}, nil
}

func serialNumber() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return big.NewInt(time.Now().UnixNano())
	}
	return n
}

// fingerprint is what agents pin.
func (a *authority) fingerprint() string {
	h := sha256.Sum256(a.cert.Raw)
	return hex.EncodeToString(h[:])
}

// leaf makes a certificate of the server.
func (a *authority) leaf(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the fabric's certificate: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serialNumber(), Subject: pkix.Name{CommonName: leafName}, DNSNames: []string{leafName},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("make the fabric's certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}, nil
}

// serverTLS makes the server's side. The certificate is renewed by itself.
func (a *authority) serverTLS(now func() time.Time) (*tls.Config, error) {
	first, err := a.leaf(now())
	if err != nil {
		return nil, err
	}
	r := &renewing{a: a, now: now, cert: first, until: now().Add(leafLife * 2 / 3)}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*first}, GetCertificate: r.get}, nil
}

var errPinned = errors.New("the server's certificate is not of the authority that the join token names: this is another site, or somebody in between")

// pinnedTLS makes the agent's side: whatever the address, the chain must end in
// the authority with that fingerprint.
func pinnedTLS(fingerprint string) *tls.Config {
	want, _ := hex.DecodeString(fingerprint)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: leafName,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks more: the one authority
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, c := range s.PeerCertificates[min(1, len(s.PeerCertificates)):] {
				h := sha256.Sum256(c.Raw)
				if subtle.ConstantTimeCompare(h[:], want) != 1 {
					continue
				}
				roots := x509.NewCertPool()
				roots.AddCert(c)
				_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: leafName, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
				if err != nil {
					return fmt.Errorf("%w: %w", errPinned, err)
				}
				return nil
			}
			return errPinned
		},
	}
}

// clusterTLS makes a client's side towards an existing cluster: the chain must
// verify for the server's name under the authorities of the file, or under the
// system's where there is none.
func clusterTLS(caFile string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13}
	if caFile == "" {
		return c, nil
	}
	b, err := os.ReadFile(caFile)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "", "the cluster's authority: %v", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(b) {
		return nil, sluice.Errorf(sluice.Invalid, "give certificates in PEM", "the cluster's authority: %s holds no certificate", caFile)
	}
	return c, nil
}
