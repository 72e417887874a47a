package devicetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
	"time"
)

// Certificate is a certificate for 127.0.0.1 that signs itself.
type Certificate struct {
	Cert, Key   string // files
	Fingerprint string // SHA-256, hex
}

// NewCertificate makes a certificate in the folder.
func NewCertificate(t testing.TB, dir string) Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "loopback"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	priv, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	c := Certificate{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), Fingerprint: hex.EncodeToString(sum[:])}
	for name, b := range map[string]*pem.Block{c.Cert: {Type: "CERTIFICATE", Bytes: der}, c.Key: {Type: "PRIVATE KEY", Bytes: priv}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// Mosquitto is Debian's MQTT broker on loopback: with the user "operator" and
// the password "hunter2", plain on one port and over TLS on another.
type Mosquitto struct {
	t           testing.TB
	dir         string
	Plain, TLS  int
	Certificate Certificate
	*Peer       // the one that runs now
}

// StartMosquitto starts a broker.
func StartMosquitto(t testing.TB) *Mosquitto {
	t.Helper()
	m := &Mosquitto{t: t, dir: t.TempDir(), Plain: FreePort(t, "tcp"), TLS: FreePort(t, "tcp")}
	m.Certificate = NewCertificate(t, m.dir)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(context.Background(), Program(t, "mosquitto_passwd", "mosquitto"), "-b", "-c", m.dir+"/passwd", "operator", "hunter2").CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v: %s", err, out)
	}
	conf := fmt.Sprintf("user %s\nallow_anonymous false\npassword_file %s/passwd\nacl_file %s/acl\nlistener %d 127.0.0.1\nlistener %d 127.0.0.1\ncertfile %s\nkeyfile %s\n",
		me.Username, m.dir, m.dir, m.Plain, m.TLS, m.Certificate.Cert, m.Certificate.Key)
	for name, text := range map[string]string{"mosquitto.conf": conf, "acl": "user operator\ntopic readwrite #\ntopic deny secret/#\n"} {
		if err := os.WriteFile(m.dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m.Start()
	return m
}

// Start starts the broker again after Stop, with nothing retained.
func (m *Mosquitto) Start() {
	m.t.Helper()
	m.Peer = StartPeer(m.t, Program(m.t, "mosquitto", "mosquitto"), "-c", m.dir+"/mosquitto.conf")
	m.Answers(fmt.Sprintf("127.0.0.1:%d", m.Plain))
	m.Answers(fmt.Sprintf("127.0.0.1:%d", m.TLS))
}
