package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
)

// progress is a bar with rate and time left, on a terminal; elsewhere it is
// silent. Several parts may go on at once: the bar shows their sum.
type progress struct {
	to    io.Writer
	unit  string
	began time.Time

	mu    sync.Mutex
	did   map[string]int
	want  map[string]int
	drawn time.Time
	wide  int
}

// newProgress makes a bar that counts units of work.
func newProgress(w io.Writer, unit string) *progress {
	p := &progress{unit: unit, began: time.Now(), did: map[string]int{}, want: map[string]int{}}
	if f, ok := w.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		p.to = w
	}
	return p
}

// part tells how far a part has come.
func (p *progress) part(name string, done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.did[name], p.want[name] = done, total
	if p.to == nil || time.Since(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = time.Now()
	var did, want int
	var under []string
	for k, v := range p.did {
		did += v
		want += p.want[k]
		if v < p.want[k] {
			under = append(under, k)
		}
	}
	line := progressBar(did, want, time.Since(p.began), p.unit)
	if len(under) == 1 && len(p.did) > 1 {
		line += "  " + under[0]
	}
	fmt.Fprintf(p.to, "\r%-*s", p.wide, line)
	p.wide = len(line)
}

// progressBar draws a bar: how much is done, the rate, the time left.
func progressBar(did, want int, took time.Duration, unit string) string {
	share := float64(did) / float64(max(want, 1))
	full := int(share * 30)
	rate := float64(did) / max(took.Seconds(), 1e-3)
	left := "…"
	if did > 0 {
		left = time.Duration(float64(want-did) / rate * float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("[%s%s] %3.0f %%  %.0f %s/s  %s left", strings.Repeat("█", full), strings.Repeat("·", 30-full), 100*share, rate, unit, left)
}

// done wipes the bar away.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to != nil && p.wide > 0 {
		fmt.Fprintf(p.to, "\r%s\r", strings.Repeat(" ", p.wide))
	}
}
