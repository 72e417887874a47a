package agent

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sluice/fabric"
)

// lease is the agent's Holder, kept in a file so that it outlives the agent and
// the guard can read it.
type lease struct {
	file string
	boot string

	mu     sync.Mutex
	holder fabric.Holder
}

// kept is the file's content. Without the boot's ID the times would mean nothing
// after a restart of the machine.
type kept struct {
	Boot   string        `json:"boot"`
	Holder fabric.Holder `json:"holder"`
}

func openLease(dir string) *lease {
	l := &lease{file: filepath.Join(dir, "lease.json"), boot: bootID()}
	l.holder = readLease(l.file, l.boot)
	return l
}

// readLease reads the file; where there is none, or of another boot, nothing is
// held.
func readLease(file, boot string) fabric.Holder {
	var k kept
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &k) != nil || k.Boot != boot {
		return fabric.Holder{}
	}
	return k.Holder
}

func (l *lease) granted(sent time.Duration, g fabric.Grant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holder.Granted(sent, g)
	// Not flushed: a power cut ends the runs too. An older lease than the true one
	// only makes the guard careful.
	if b, err := json.Marshal(kept{l.boot, l.holder}); err == nil {
		tmp := l.file + ".new"
		if os.WriteFile(tmp, b, 0o600) == nil {
			_ = os.Rename(tmp, l.file)
		}
	}
}

func (l *lease) get() fabric.Holder {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
