package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func run(t *testing.T, ctx context.Context, dir string, epochs int) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := train(ctx, settings{epochs: epochs, data: "digits.csv.gz", checkpoint: dir}, &out)
	return out.String(), err
}

// stopper cancels its context when a line is written that contains at.
type stopper struct {
	bytes.Buffer
	at     string
	cancel context.CancelFunc
}

func (s *stopper) Write(b []byte) (int, error) {
	if strings.Contains(string(b), s.at) {
		s.cancel()
	}
	return s.Buffer.Write(b)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// Stopped twice, it goes on where it was and ends with the same weights.
func TestResume(t *testing.T) {
	whole, err := run(t, t.Context(), "", 12)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, epoch := range []int{3, 8} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &stopper{at: fmt.Sprintf("epoch %d/", epoch), cancel: cancel}
		err := train(ctx, settings{epochs: 12, data: "digits.csv.gz", checkpoint: dir}, out)
		cancel()
		if !errors.Is(err, context.Canceled) || !strings.Contains(out.String(), fmt.Sprintf("saved after epoch %d", epoch)) {
			t.Fatalf("%v:\n%s", err, out.String())
		}
	}
	rest, err := run(t, t.Context(), dir, 12)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(rest, "starting after epoch 8 of 12") || strings.Contains(rest, "epoch 8/12") {
		t.Errorf("did not go on at epoch 9:\n%s", rest)
	}
	if lastLine(rest) != lastLine(whole) {
		t.Errorf("in pieces: %s\nat once:   %s", lastLine(rest), lastLine(whole))
	}
}

func TestAccuracy(t *testing.T) {
	learn, test, err := load("digits.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	if len(learn)+len(test) != 1797 || len(test) != 360 {
		t.Fatalf("%d samples to learn from, %d held back", len(learn), len(test))
	}
	dir := t.TempDir()
	if _, err := run(t, t.Context(), dir, 40); err != nil {
		t.Fatal(err)
	}
	s, err := resume(filepath.Join(dir, "digits.gob"), state{})
	if err != nil {
		t.Fatal(err)
	}
	if a := s.Net.accuracy(test); a < 0.95 {
		t.Errorf("%.2f %% of the held-back samples", 100*a)
	}
}

// The gradient is the slope of the loss.
func TestGradient(t *testing.T) {
	learn, _, err := load("digits.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	n, s := newNetwork(), &learn[0]
	var g params
	n.gradient(s, &g)
	const h = 1e-6
	for name, w := range map[string]struct {
		p *float64
		g float64
	}{
		"W1": {&n.P.W1[7][20], g.W1[7][20]}, "B1": {&n.P.B1[3], g.B1[3]},
		"W2": {&n.P.W2[4][9], g.W2[4][9]}, "B2": {&n.P.B2[s.digit], g.B2[s.digit]},
	} {
		at := func(d float64) float64 {
			*w.p += d
			defer func() { *w.p -= d }()
			return n.gradient(s, &params{})
		}
		if slope := (at(h) - at(-h)) / (2 * h); math.Abs(slope-w.g) > 1e-5 {
			t.Errorf("%s: gradient %v, slope %v", name, w.g, slope)
		}
	}
}

func TestDamagedCheckpoint(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "digits.gob"), []byte("half a checkp"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, t.Context(), dir, 1); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatalf("error %v", err)
	}
}

func TestOptions(t *testing.T) {
	for k, v := range map[string]string{"DIGITS_EPOCHS": "none", "DIGITS_SLEEP": "long"} {
		if _, err := options(func(n string) string { return map[string]string{k: v}[n] }); err == nil || !strings.Contains(err.Error(), k) {
			t.Errorf("%s=%s: %v", k, v, err)
		}
	}
}
