package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"sluice/fabric"
)

const (
	segmentBytes = 1 << 20
	spoolBytes   = 64 << 20 // months of readings of a host with a few runs; days of a busy one
	batchBytes   = 192 << 10
	maxLine      = 128 << 10
)

// spool keeps events on the disk until the site's stream has them, numbered
// without gaps. When it is full the oldest go, and that is told.
type spool struct {
	dir   string
	limit int64
	more  chan struct{} // has a token when something was added

	mu    sync.Mutex
	segs  []segment // the oldest first; the last is written to
	f     *os.File
	note  *os.File // holds acked, so that what is dropped meanwhile is told after a restart too
	next  uint64   // number of the next event
	acked uint64   // the stream has everything up to it
	lost  uint64   // events that could not be kept, not told yet
}

type segment struct {
	first uint64
	size  int64
}

func openSpool(dir string, limit int64) (*spool, error) {
	s := &spool{dir: dir, limit: limit, more: make(chan struct{}, 1)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.events"))
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	for _, n := range names {
		first, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(n), ".events"), 10, 64)
		info, serr := os.Stat(n)
		if err != nil || serr != nil {
			continue
		}
		s.segs = append(s.segs, segment{first, info.Size()})
	}
	slices.SortFunc(s.segs, func(a, b segment) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	if len(s.segs) == 0 {
		s.segs = []segment{{first: 1}}
	}
	last := &s.segs[len(s.segs)-1]
	s.next = last.first
	if s.note, err = os.OpenFile(filepath.Join(dir, "acked"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	b := make([]byte, 20)
	if n, _ := s.note.ReadAt(b, 0); n == len(b) {
		s.acked, _ = strconv.ParseUint(string(b), 10, 64)
	}
	// What a crash has cut in the middle was never confirmed to anybody.
	events, good, err := s.readSegment(*last, 0, 0)
	if err != nil {
		return nil, err
	}
	if n := len(events); n > 0 {
		s.next = events[n-1].Seq + 1
	}
	if s.f, err = os.OpenFile(s.path(last.first), os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	if err = s.f.Truncate(good); err == nil {
		_, err = s.f.Seek(good, io.SeekStart)
	}
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	last.size = good
	s.acked = min(s.acked, s.next-1)
	s.wake()
	return s, nil
}

func (s *spool) path(first uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%020d.events", first))
}

func (s *spool) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// add appends events, numbering them. It returns once they are on the disk.
func (s *spool) add(events ...fabric.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.wake()
	var b bytes.Buffer
	n := s.next
	for _, e := range events {
		e.Seq = n
		line, err := json.Marshal(e)
		if err != nil || len(line) > maxLine {
			s.lost++
			continue
		}
		fmt.Fprintf(&b, "%08x %s\n", crc32.ChecksumIEEE(line), line)
		n++
	}
	last := &s.segs[len(s.segs)-1]
	_, err := s.f.Write(b.Bytes())
	if err == nil {
		err = s.f.Sync()
	}
	if err != nil {
		// A disk that is full: what is half there goes again, the numbers too.
		s.lost += n - s.next
		_ = s.f.Truncate(last.size)
		_, _ = s.f.Seek(last.size, io.SeekStart)
		return fmt.Errorf("keep events: %w", err)
	}
	last.size += int64(b.Len())
	s.next = n
	if last.size >= min(segmentBytes, s.limit/8) {
		return s.rotate()
	}
	return nil
}

func (s *spool) rotate() error {
	f, err := os.OpenFile(s.path(s.next), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep events: %w", err) // the old one grows meanwhile
	}
	_ = s.f.Close()
	s.f = f
	s.segs = append(s.segs, segment{first: s.next})
	var total int64
	for _, g := range s.segs {
		total += g.size
	}
	for total > s.limit && len(s.segs) > 2 {
		total -= s.segs[0].size
		_ = os.Remove(s.path(s.segs[0].first))
		s.segs = s.segs[1:]
	}
	return nil
}

// batch returns the next events for the stream, nil where there are none.
func (s *spool) batch(epoch string) (*fabric.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acked+1 >= s.next {
		return nil, nil
	}
	for i, g := range s.segs {
		if i+1 < len(s.segs) && s.segs[i+1].first <= s.acked+1 {
			continue
		}
		events, _, err := s.readSegment(g, s.acked, batchBytes)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			continue // all of it is damaged
		}
		b := &fabric.Batch{Epoch: epoch, After: s.acked, To: events[len(events)-1].Seq, Events: events}
		if missing := events[0].Seq - 1 - s.acked; missing > 0 {
			b.Events = append([]fabric.Event{{Seq: events[0].Seq - 1, At: events[0].At, Dropped: missing}}, b.Events...)
		}
		return b, nil
	}
	return nil, nil
}

// readSegment reads the events of a segment behind a number, up to most bytes
// (0: all), and where the good part of the file ends.
func (s *spool) readSegment(g segment, after uint64, most int) ([]fabric.Event, int64, error) {
	f, err := os.Open(s.path(g.first))
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	} else if err != nil {
		return nil, 0, fmt.Errorf("read the spool: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, maxLine+16)
	var out []fabric.Event
	var good int64
	size := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return out, good, nil // the end, or what a crash has cut
		}
		e, ok := parseLine(line)
		if !ok {
			return out, good, nil
		}
		good += int64(len(line))
		if e.Seq <= after {
			continue
		}
		if size += len(line); most > 0 && size > most && len(out) > 0 {
			return out, good, nil
		}
		out = append(out, e)
	}
}

// parseLine reads one line of a segment.
func parseLine(line []byte) (fabric.Event, bool) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if len(line) < 10 || line[8] != ' ' {
		return fabric.Event{}, false
	}
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	if err != nil || crc32.ChecksumIEEE(line[9:]) != uint32(sum) {
		return fabric.Event{}, false
	}
	var e fabric.Event
	if json.Unmarshal(line[9:], &e) != nil || e.Seq == 0 {
		return fabric.Event{}, false
	}
	return e, true
}

// ack notes that the stream has everything up to a number.
func (s *spool) ack(to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = max(s.acked, to)
	_, _ = fmt.Fprintf(io.NewOffsetWriter(s.note, 0), "%020d", s.acked)
	if len(s.segs) > 1 && s.segs[1].first <= s.acked+1 {
		_ = s.note.Sync() // before what it says is not needed goes
	}
	for len(s.segs) > 1 && s.segs[1].first <= s.acked+1 {
		_ = os.Remove(s.path(s.segs[0].first))
		s.segs = s.segs[1:]
	}
}

// pending is how many events wait.
func (s *spool) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.next - 1 - s.acked) //nolint:gosec // bounded by the disk
}

func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.f.Close()
	_ = s.note.Close()
}
