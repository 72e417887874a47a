package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/compute/agent"
	"sluice/fabric"
	"sluice/telemetry"
)

// hostReadings are what hosts measure of themselves: this machine's own, and what
// agents report. The newest are shown, all go to the history.
type hostReadings struct {
	mu     sync.Mutex
	newest map[string]map[string]fabric.Reading // by host, then by name and GPU
	kept   bool                                 // there is a history that takes them
	queue  []telemetry.HostReading
	lost   int
}

// readEvery is how often this machine measures itself, as agents do.
const readEvery = 10 * time.Second

// waiting bounds what waits for the history, should it not take any.
const waiting = 500_000

func newHostReadings() *hostReadings {
	return &hostReadings{newest: map[string]map[string]fabric.Reading{}}
}

// events takes what an agent has reported.
func (h *hostReadings) events(host string, events []fabric.Event) {
	var rs []fabric.Reading
	for _, e := range events {
		if e.Reading != nil {
			rs = append(rs, *e.Reading)
		}
	}
	h.add(host, rs)
}

func (h *hostReadings) add(host string, rs []fabric.Reading) {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := h.newest[host]
	if of == nil {
		of = map[string]fabric.Reading{}
		h.newest[host] = of
	}
	for _, r := range rs {
		key := r.Name + " " + r.Labels["gpu"]
		if old, ok := of[key]; (!ok && len(of) < 1000) || ok && !r.At.Before(old.At) {
			of[key] = r
		}
		if !h.kept {
			continue
		}
		if len(h.queue) == waiting {
			h.lost++
			continue
		}
		h.queue = append(h.queue, telemetry.HostReading{
			Host: host, Name: r.Name, Unit: r.Unit, Value: r.Value, At: r.At, GPU: r.Labels["gpu"], UUID: r.Labels["uuid"],
		})
	}
}

// keep says that there is a history, which takes them from now on.
func (h *hostReadings) keep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept = true
}

// take returns what has come since it was called last, and how many were lost.
func (h *hostReadings) take() (rs []telemetry.HostReading, lost int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rs, lost = h.queue, h.lost
	h.queue, h.lost = nil, 0
	return rs, lost
}

// of returns the newest readings of a host, sorted by name and GPU.
func (h *hostReadings) of(host string) []fabric.Reading {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.newest[host]), func(a, b fabric.Reading) int {
		if c := strings.Compare(a.Labels["gpu"], b.Labels["gpu"]); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// measure adds what the sources measure of this machine until ctx ends.
func (h *hostReadings) measure(ctx context.Context, host string, sources []agent.Source, log *slog.Logger) {
	look := func() {
		rctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		for _, s := range sources {
			rs, err := s.Readings(rctx) // with an error, what could be read
			if err != nil {
				log.Debug("a reading of this machine failed", "err", err)
			}
			h.add(host, rs)
		}
	}
	look()
	every(ctx, readEvery, look)
}
