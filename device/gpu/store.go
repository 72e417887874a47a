package gpu

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sluice"
)

// file is where a hold stands: runs are named by paths.
func (h *Holds) file(run string) string {
	sum := sha256.Sum256([]byte(run))
	return filepath.Join(h.dir, hex.EncodeToString(sum[:12])+".json")
}

// store writes a hold so that it survives a crash from now on.
func (h *Holds) store(x *hold) error {
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("store the GPUs of %s: %w", filepath.Base(x.Run), err)
	}
	if err := sluice.WriteFile(h.file(x.Run), b); err != nil {
		return fmt.Errorf("store the GPUs of %s: %w", filepath.Base(x.Run), err)
	}
	x.stored = time.Now()
	return nil
}

// maxHold bounds a hold's file.
const maxHold = 1 << 20

func readHold(path string) (*hold, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the GPUs that a run holds: %w", err)
	}
	x := &hold{}
	if err := json.Unmarshal(b, x); err != nil || len(b) > maxHold || x.Run == "" {
		return nil, sluice.Errorf(sluice.Internal, "it holds power limits to be restored: restore them with `nvidia-smi -pl`, then remove it", "%s is damaged: %v", path, err)
	}
	return x, nil
}
