package fabric

import (
	"strings"
	"testing"
	"time"

	"sluice/compute"
)

func seed(f *testing.F, head any, data []byte) {
	f.Helper()
	b, err := pack(head, data)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
}

func FuzzParseBeat(f *testing.F) {
	epoch := strings.Repeat("a1", 16)
	seed(f, Beat{V: Version, Epoch: epoch, Runs: []RunState{{Run: "j-1-r1", Phase: Running}, {Run: "j-2-r1", Phase: Ended, Exit: &compute.Exit{Code: 3}}}, Facts: &Facts{Name: "h", GPUs: []GPU{{Model: "H200"}}}, Fault: "GPU 0: gone"}, nil)
	seed(f, Beat{V: 9, Epoch: epoch}, nil)
	f.Add([]byte("\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		b, err := ParseBeat(msg)
		if err != nil {
			return
		}
		for _, r := range b.Runs {
			if !ValidRun(r.Run) {
				t.Fatalf("run %q", r.Run)
			}
		}
		if len(b.Fault) > maxHeld || b.Facts != nil && len(b.Facts.GPUs) > maxGPUs {
			t.Fatalf("more of GPUs than may be: %d bytes", len(b.Fault))
		}
	})
}

// What a host tells of its GPUs is bounded.
func TestBeatOfGPUs(t *testing.T) {
	epoch := strings.Repeat("a1", 16)
	for _, c := range []struct {
		what string
		beat Beat
		ok   bool
	}{
		{"a fault", Beat{Fault: Clip(strings.Repeat("é", maxHeld))}, true},
		{"one without an end", Beat{Fault: strings.Repeat("x", maxHeld+1)}, false},
		{"GPUs", Beat{Facts: &Facts{GPUs: make([]GPU, maxGPUs)}}, true},
		{"more than fit", Beat{Facts: &Facts{GPUs: make([]GPU, maxGPUs+1)}}, false},
	} {
		c.beat.V, c.beat.Epoch, c.beat.Runs = Version, epoch, []RunState{}
		msg, err := pack(c.beat, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := ParseBeat(msg); (err == nil) != c.ok || c.ok && b.Fault != c.beat.Fault {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func FuzzParseBatch(f *testing.F) {
	epoch := strings.Repeat("a1", 16)
	seed(f, Batch{V: Version, Epoch: epoch, After: 3, To: 5, Events: []Event{{Seq: 4, Dropped: 1}, {Seq: 5, At: time.Unix(1, 0), Reading: &Reading{Name: "power"}}}}, nil)
	f.Fuzz(func(t *testing.T, msg []byte) {
		b, err := ParseBatch(msg)
		if err != nil {
			return
		}
		last := b.After
		for _, e := range b.Events {
			if e.Seq <= last || e.Seq > b.To {
				t.Fatalf("%d after %d up to %d", e.Seq, last, b.To)
			}
			last = e.Seq
		}
	})
}

func FuzzUnpack(f *testing.F) {
	seed(f, Order{Grant: Grant{Key: "k", MS: 4}, Body: []byte(`{"run":"r"}`)}, []byte("data"))
	seed(f, LogPiece{Run: "r", From: 9}, []byte("some output"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, head := range []any{&Order{}, &Answer{}, &LogPiece{}, &ControlCall{}, &BeatReply{}} {
			data, err := unpack(msg, head)
			if err != nil {
				continue
			}
			again, err := pack(head, data)
			if err != nil {
				continue // what JSON writes may be longer than what it read
			}
			if rest, err := unpack(again, head); err != nil || string(rest) != string(data) {
				t.Fatalf("%q: %q, %v", msg, rest, err)
			}
		}
	})
}

// A version that differs is told in words, not as a message that cannot be read.
func TestOtherVersion(t *testing.T) {
	b, _ := pack(map[string]any{"v": 7, "new": "field"}, nil)
	if _, err := ParseBeat(b); err == nil || !strings.Contains(err.Error(), "version 7") {
		t.Fatal(err)
	}
}
