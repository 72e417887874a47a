// Command digits trains a small neural network on handwritten digits. It is an
// example of a job that Sluice may preempt at any time: it saves its state after
// each epoch to $SLUICE_CHECKPOINT_DIR, ends soon after SIGTERM, and goes on at
// the epoch it left. Interrupted or not, it ends with the same weights.
//
// Environment: DIGITS_EPOCHS (default 40), DIGITS_SLEEP (a pause after each
// epoch such as 1s, to make it last), DIGITS_DATA (default digits.csv.gz).
package main

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// exitPreempted is what a shell reports of a program that SIGTERM has ended.
// A job that was told to stop is not done, so it does not exit with 0.
const exitPreempted = 143

func main() { os.Exit(exitStatus()) }

// exitStatus runs the job; its defers have run when the process ends.
func exitStatus() int {
	// SIGTERM is only noted: an epoch takes milliseconds, and what is begun is
	// finished and saved.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	opt, err := options(os.Getenv)
	if err == nil {
		err = train(ctx, opt, os.Stdout)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return exitPreempted
	case err != nil:
		fmt.Fprintln(os.Stderr, "digits:", err)
		return 1
	}
	return 0
}

type settings struct {
	epochs     int
	pause      time.Duration
	data       string
	checkpoint string // folder; empty: nothing is saved
}

func options(env func(string) string) (settings, error) {
	s := settings{epochs: 40, data: "digits.csv.gz", checkpoint: env("SLUICE_CHECKPOINT_DIR")}
	var err error
	if v := env("DIGITS_EPOCHS"); v != "" {
		if s.epochs, err = strconv.Atoi(v); err != nil || s.epochs < 1 {
			return s, fmt.Errorf("DIGITS_EPOCHS=%q is no number of epochs", v)
		}
	}
	if v := env("DIGITS_SLEEP"); v != "" {
		if s.pause, err = time.ParseDuration(v); err != nil {
			return s, fmt.Errorf("DIGITS_SLEEP=%q is no duration such as 1s", v)
		}
	}
	if v := env("DIGITS_DATA"); v != "" {
		s.data = v
	}
	return s, nil
}

// state is all that training needs to go on: the order of the samples in an
// epoch follows from its number.
type state struct {
	Epoch int // epochs that are done
	Net   *network
}

// train runs the epochs that are missing. It returns context.Canceled when it
// was told to stop; what was done is saved then.
func train(ctx context.Context, opt settings, out io.Writer) error {
	learn, test, err := load(opt.data)
	if err != nil {
		return fmt.Errorf("read the samples: %w", err)
	}
	file := filepath.Join(opt.checkpoint, "digits.gob")
	s := state{Net: newNetwork()}
	if opt.checkpoint != "" {
		if s, err = resume(file, s); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%d samples to learn from, %d held back, starting after epoch %d of %d\n", len(learn), len(test), s.Epoch, opt.epochs)
	for s.Epoch < opt.epochs {
		if ctx.Err() != nil {
			fmt.Fprintf(out, "told to stop, saved after epoch %d\n", s.Epoch)
			return ctx.Err()
		}
		order := rand.New(rand.NewPCG(seed, uint64(s.Epoch+1))).Perm(len(learn))
		loss := s.Net.epoch(learn, order, rate(s.Epoch, opt.epochs))
		s.Epoch++
		if opt.checkpoint != "" {
			if err := save(file, s); err != nil {
				return fmt.Errorf("save after epoch %d: %w", s.Epoch, err)
			}
		}
		fmt.Fprintf(out, "epoch %d/%d loss %.4f held-back accuracy %.2f %%\n", s.Epoch, opt.epochs, loss, 100*s.Net.accuracy(test))
		if s.Epoch < opt.epochs {
			pause(ctx, opt.pause)
		}
	}
	fmt.Fprintf(out, "done: %.2f %% of %d held-back samples, weights %s\n", 100*s.Net.accuracy(test), len(test), s.Net.digest())
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// rate falls linearly, from 0.05 to a tenth of it.
func rate(epoch, epochs int) float64 {
	return 0.05 * (1 - 0.9*float64(epoch)/float64(epochs))
}

// resume reads the checkpoint; without one it returns what it was given.
func resume(file string, fresh state) (state, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return fresh, nil
	} else if err != nil {
		return fresh, fmt.Errorf("read the checkpoint: %w", err)
	}
	defer f.Close()
	var s state
	if err := gob.NewDecoder(f).Decode(&s); err != nil {
		return fresh, fmt.Errorf("the checkpoint %s is damaged: %w", file, err)
	}
	if s.Net == nil {
		return fresh, fmt.Errorf("the checkpoint %s is damaged: it has no net", file)
	}
	return s, nil
}

// save writes the checkpoint at once: a kill in the middle leaves the one before.
func save(file string, s state) error {
	f, err := os.CreateTemp(filepath.Dir(file), "digits-*.tmp")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone after the rename
	err = gob.NewEncoder(f).Encode(s)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	return err
}

// sample is one digit: 8 × 8 grey values from 0 to 1, and which digit it is.
type sample struct {
	x     [inputs]float64
	digit int
}

// load reads the samples and holds every fifth of a shuffled order back.
func load(path string) (learn, test []sample, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, nil, err
	}
	r := csv.NewReader(io.LimitReader(z, 16<<20))
	r.FieldsPerRecord = inputs + 1
	rows, err := r.ReadAll()
	if err != nil {
		return nil, nil, err
	}
	for i, k := range rand.New(rand.NewPCG(seed, 0)).Perm(len(rows)) {
		var s sample
		for j, v := range rows[k] {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 || n > 16 || (j == inputs && n > 9) {
				return nil, nil, fmt.Errorf("line %d: %q is no grey value or digit", k+1, v)
			}
			if j == inputs {
				s.digit = n
			} else {
				s.x[j] = float64(n) / 16
			}
		}
		if i%5 == 0 {
			test = append(test, s)
		} else {
			learn = append(learn, s)
		}
	}
	if len(test) == 0 || len(learn) == 0 {
		return nil, nil, errors.New("too few samples")
	}
	return learn, test, nil
}
