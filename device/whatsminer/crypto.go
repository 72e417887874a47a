package whatsminer

import (
	"bytes"
	"crypto/aes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/GehirnInc/crypt/md5_crypt"

	"sluice"
)

// maxSalt is the longest salt that a machine is believed to hand out.
const maxSalt = 16

// md5crypt returns the digest part of the md5-crypt of a secret, as does
// `openssl passwd -1 -salt SALT SECRET | cut -d '$' -f 4`.
func md5crypt(secret, salt string) (string, error) {
	const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	if salt == "" || len(salt) > maxSalt || strings.Trim(salt, alphabet) != "" {
		return "", sluice.Errorf(sluice.Unavailable, "", "the machine's salt cannot be used")
	}
	h, err := md5_crypt.New().Generate([]byte(secret), []byte(md5_crypt.MagicPrefix+salt))
	if err != nil {
		return "", err
	}
	return h[strings.LastIndexByte(h, '$')+1:], nil
}

// session is what a V2 token and the password make: the key of the cipher and the
// sign that each command carries.
type session struct {
	key  [32]byte
	sign string
}

// newSession derives a session from what get_token answers.
func newSession(password, salt, newsalt, time string) (session, error) {
	digest, err := md5crypt(password, salt)
	if err != nil {
		return session{}, err
	}
	sign, err := md5crypt(digest+time[max(0, len(time)-4):], newsalt)
	if err != nil {
		return session{}, err
	}
	return session{key: sha256.Sum256([]byte(digest)), sign: sign}, nil
}

// seal encrypts a command: padded with NUL to whole blocks, as the firmware
// expects, in base64.
func (s session) seal(plain []byte) string {
	n := (len(plain) + aes.BlockSize - 1) / aes.BlockSize * aes.BlockSize
	return ecb(s.key, append(bytes.Clone(plain), make([]byte, n-len(plain))...))
}

// open decrypts a reply and takes the padding off.
func (s session) open(sealed string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(sealed), ""))
	if err != nil {
		return nil, err
	}
	if len(b) == 0 || len(b)%aes.BlockSize != 0 {
		return nil, errors.New("not a whole number of blocks")
	}
	c, err := aes.NewCipher(s.key[:])
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(b); i += aes.BlockSize {
		c.Decrypt(b[i:i+aes.BlockSize], b[i:i+aes.BlockSize])
	}
	return unpad(b), nil
}

// unpad takes off NUL, and what some versions send instead: PKCS#7.
func unpad(b []byte) []byte {
	if n := int(b[len(b)-1]); n > 0 && n <= aes.BlockSize && bytes.Equal(b[len(b)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return b[:len(b)-n]
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i] // what follows the first NUL is the firmware's stale buffer
	}
	return b
}

// ecb encrypts whole blocks each by itself, as the protocol has it, in base64.
func ecb(key [32]byte, b []byte) string {
	c, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // a key of 32 bytes cannot be refused
	}
	for i := 0; i < len(b); i += aes.BlockSize {
		c.Encrypt(b[i:i+aes.BlockSize], b[i:i+aes.BlockSize])
	}
	return base64.StdEncoding.EncodeToString(b)
}

// signed is the V3 hash of one command at one time: its base64 begins with the
// token, and the whole is the key for parameters that must not be read.
func signed(command, password, salt, ts string) (token string, key [32]byte) {
	key = sha256.Sum256([]byte(command + password + salt + ts))
	return base64.StdEncoding.EncodeToString(key[:])[:8], key
}

// sealParam encrypts a V3 parameter, padded by PKCS#7.
func sealParam(key [32]byte, plain []byte) string {
	n := aes.BlockSize - len(plain)%aes.BlockSize
	return ecb(key, append(bytes.Clone(plain), bytes.Repeat([]byte{byte(n)}, n)...))
}
