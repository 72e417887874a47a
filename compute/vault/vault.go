// Package vault keeps the secrets of jobs so that nobody reads them at rest, and
// so that to forget them is to forget them everywhere.
//
// There are two keys. Each job with secrets has a random data key, under which its
// secrets are encrypted; the site has a master key, under which the data keys are.
// The encrypted secrets are in the site's database, which is backed up and copied.
// The wrapped data keys are not: each is a small file of its own in the vault's
// folder, which no backup of Sluice's includes. To erase a job's secrets is to
// overwrite and remove that one file; what is left of them in old pages of the
// database, in its write-ahead log and in every backup is noise from then on, for
// the holder of the master key too.
//
// All encryption is AES-256-GCM. What is sealed is bound to its job, and a data
// key to its job and its master key, so nothing can be moved to another job's name
// unnoticed.
package vault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"sluice"
	"sluice/compute"
)

// MaxSecrets bounds what a job's secrets take, in bytes.
const MaxSecrets = 256 << 10

// Store keeps what is sealed, under the name of the job.
type Store interface {
	// PutSealed keeps it durably. Error: Conflict when the job has some.
	PutSealed(ctx context.Context, job string, sealed []byte) error
	Sealed(ctx context.Context, job string) (sealed []byte, found, erased bool, err error)
	// DropSealed notes that the secrets were erased; without any it does nothing.
	DropSealed(ctx context.Context, job string, at time.Time) error
}

// Config is what a Vault is made of.
type Config struct {
	Dir string // the vault's folder; it is made
	// Master says where the master key is: the path of a file, which is made at the
	// first use and may lie on another disk, or env:NAME. Empty: Dir/master.key.
	Master string
	Store  Store
	Now    func() time.Time
}

// Vault is a compute.Vault. All methods may be called from any goroutine.
type Vault struct {
	cfg  Config
	file string // of the master key; "" when it comes from the environment
	keys *os.Root

	turn   sync.RWMutex // held for writing while the master key changes
	master *master      // nil until the first use
	first  sync.Mutex   // over the first use
	jobs   [64]sync.Mutex
}

var _ compute.Vault = (*Vault)(nil)

const keysDir = "keys"

// Open opens the vault and finishes a rotation that was cut off. A vault that holds
// keys without its master key fails with Invalid: a new master would not open them.
func Open(cfg Config) (*Vault, error) {
	if cfg.Master == "" {
		cfg.Master = filepath.Join(cfg.Dir, "master.key")
	}
	dir := filepath.Join(cfg.Dir, keysDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "mend the permissions of the data folder", "cannot make the vault's folder: %v", err)
	}
	keys, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the vault: %w", err)
	}
	v := &Vault{cfg: cfg, keys: keys}
	if err := v.open(); err != nil {
		_ = keys.Close()
		return nil, err
	}
	return v, nil
}

func (v *Vault) open() error {
	var err error
	if v.file, v.master, err = readMaster(v.cfg.Master); err != nil {
		return err
	}
	if v.file != "" {
		if err := v.finishRotation(); err != nil {
			return fmt.Errorf("finish the rotation of the master key: %w", err)
		}
	}
	names, err := v.names()
	if err != nil {
		return err
	}
	if v.master == nil && len(names) > 0 {
		return sluice.Errorf(sluice.Invalid, "mount the disk that it is on, or put it back from where you keep it",
			"the vault holds the keys of %d jobs, but its master key %s is not there", len(names), v.file)
	}
	return nil
}

// Close lets go of the folder.
func (v *Vault) Close() error { return v.keys.Close() }

// Seal encrypts the secrets of a job under a key of its own and keeps them; the
// key comes first, so that a crash leaves a key without secrets and never the
// other way round. Without secrets it does nothing. Errors: Conflict when the job
// has some already, Invalid when they are too many.
func (v *Vault) Seal(ctx context.Context, job string, secrets map[string]string) error {
	if len(secrets) == 0 {
		return nil
	}
	if err := checkName(job); err != nil {
		return err
	}
	plain, err := json.Marshal(secrets)
	if err != nil {
		return fmt.Errorf("seal the secrets of job %s: %w", job, err)
	}
	defer clear(plain)
	if len(plain) > MaxSecrets {
		return sluice.Errorf(sluice.Invalid, "keep large files elsewhere and their password here", "the secrets of job %s take %d bytes, at most %d", job, len(plain), MaxSecrets)
	}
	v.turn.RLock()
	defer v.turn.RUnlock()
	if err := v.ready(); err != nil {
		return err
	}
	defer v.lock(job)()
	if _, found, _, err := v.cfg.Store.Sealed(ctx, job); err != nil {
		return err
	} else if found {
		return sluice.Errorf(sluice.Conflict, "", "job %s has its secrets already", job)
	}
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	defer clear(key)
	if err := v.writeKey(job, v.master.wrap(job, key)); err != nil {
		return fmt.Errorf("seal the secrets of job %s: %w", job, err)
	}
	if err := v.cfg.Store.PutSealed(ctx, job, seal(key, secretsOf(job), plain)); err != nil {
		return errors.Join(err, v.destroyKey(job))
	}
	return nil
}

// Open returns the secrets of a job, nil without an error where it has none.
// Errors: Conflict when they were erased, NotFound when the key is not here,
// Internal when something was changed since it was sealed.
func (v *Vault) Open(ctx context.Context, job string) (map[string]string, error) {
	if err := checkName(job); err != nil {
		return nil, err
	}
	v.turn.RLock()
	defer v.turn.RUnlock()
	sealed, found, erased, err := v.cfg.Store.Sealed(ctx, job)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, nil
	case erased:
		return nil, sluice.Errorf(sluice.Conflict, "submit it again with its secrets", "the secrets of job %s were erased", job)
	}
	wrapped, err := v.readKey(job)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sluice.Errorf(sluice.NotFound, "submit it again with its secrets; a backup holds no keys, by design",
			"the key of the secrets of job %s is not here: it was erased, or the database is a backup from elsewhere", job)
	}
	if err != nil {
		return nil, fmt.Errorf("open the secrets of job %s: %w", job, err)
	}
	if err := v.ready(); err != nil {
		return nil, err
	}
	changed := func(what string) error {
		return sluice.Errorf(sluice.Internal, "restore the vault's folder, or submit the job again",
			"the %s of job %s does not open: it was changed, or belongs to another job or master key", what, job)
	}
	key, ok := v.master.unwrap(job, wrapped)
	if !ok {
		return nil, changed("key of the secrets")
	}
	defer clear(key)
	plain, ok := unseal(key, secretsOf(job), sealed)
	if !ok {
		return nil, changed("sealed text of the secrets")
	}
	defer clear(plain)
	var out map[string]string
	if err := json.Unmarshal(plain, &out); err != nil {
		return nil, changed("text of the secrets") // without the error, which may quote them
	}
	return out, nil
}

// Erase destroys the job's key and notes it. It may be called again, and for a job
// without secrets.
func (v *Vault) Erase(ctx context.Context, job string) error {
	if err := checkName(job); err != nil {
		return err
	}
	v.turn.RLock()
	defer v.turn.RUnlock()
	defer v.lock(job)()
	if err := v.destroyKey(job); err != nil {
		return fmt.Errorf("erase the secrets of job %s: %w", job, err)
	}
	if _, found, erased, err := v.cfg.Store.Sealed(ctx, job); err != nil || !found || erased {
		return err
	}
	return v.cfg.Store.DropSealed(ctx, job, v.cfg.Now())
}

// lock keeps two calls for one job apart, and returns what lets go.
func (v *Vault) lock(job string) func() {
	h := fnv.New32a()
	_, _ = h.Write([]byte(job))
	m := &v.jobs[h.Sum32()%uint32(len(v.jobs))]
	m.Lock()
	return m.Unlock
}

// ready makes the master key at the first use. Callers hold turn.
func (v *Vault) ready() error {
	v.first.Lock()
	defer v.first.Unlock()
	if v.master != nil {
		return nil
	}
	m, err := makeMaster(v.file)
	if err == nil {
		v.master = m
	}
	return err
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)

func checkName(job string) error {
	if !nameForm.MatchString(job) {
		return sluice.Errorf(sluice.Invalid, "", "%q is no job", job)
	}
	return nil
}

const keySize = 32

func secretsOf(job string) []byte { return []byte("sluice vault 1\x00secrets\x00" + job) }

// seal encrypts under a key: a random nonce, then the text and its tag.
func seal(key, bound, plain []byte) []byte { return aead(key).Seal(nil, nil, plain, bound) }

func unseal(key, bound, sealed []byte) ([]byte, bool) {
	plain, err := aead(key).Open(nil, nil, sealed, bound)
	return plain, err == nil
}

// aead is AES-256-GCM with random nonces of 96 bits: a data key seals once, a master
// key far fewer than 2^32 times.
func aead(key []byte) cipher.AEAD {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only a key of another size gets here
	}
	a, err := cipher.NewGCMWithRandomNonce(b)
	if err != nil {
		panic(err)
	}
	return a
}
