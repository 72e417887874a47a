package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// positionFile in a run's folder says how much of its output stands in the job's
// log, and where the next would begin.
const positionFile = "log.position"

type position struct {
	Next int64 `json:"next"` // byte of the run's output
	At   int64 `json:"at"`   // byte of the log behind what was appended last
}

// Log appends output of a run to the job's log and returns which byte it wants
// next. The file's own length tells whether a crash came between the appending and
// the noting of it, so that nothing is missing or doubled.
func (x *Executor) Log(host, id string, from int64, data []byte) (int64, bool, error) {
	r := x.find(id)
	if r == nil || r.Host != host {
		return 0, false, nil
	}
	r.log.Lock()
	defer r.log.Unlock()
	next, sure, err := appendLog(r.Dir, r.handle.Log, from, data, x.cfg.MaxLog, !r.logged)
	if err != nil {
		return 0, true, fmt.Errorf("append to the log of %s: %w", id, err)
	}
	r.logged = r.logged || sure
	return next, true, nil
}

// appendLog appends what of the data is new and returns which byte comes next. first
// says that a process before this one may have been killed between the appending of
// a piece and the noting of it; sure that nothing of such a piece is left.
func appendLog(dir, log string, from int64, data []byte, limit int64, first bool) (next int64, sure bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, false, err
	}
	note, err := os.OpenFile(filepath.Join(dir, positionFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 0, false, err
	}
	defer note.Close()
	if err := unix.Flock(int(note.Fd()), unix.LOCK_EX); err != nil {
		return 0, false, err
	}
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		return 0, false, err
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return 0, false, err
	}
	defer out.Close()
	info, err := out.Stat()
	if err != nil {
		return 0, false, err
	}
	size := info.Size()
	p, there, err := readPosition(note)
	if err != nil {
		return 0, false, err
	}
	if !there {
		p = position{At: size}
		if err := writePosition(note, p); err != nil {
			return 0, false, err
		}
	}
	if lost := p.At - size; lost > 0 {
		p.Next, p.At = max(0, p.Next-lost), size // a power cut has taken what was not flushed
	}
	if skip := p.Next - from; from > p.Next || skip >= int64(len(data)) {
		return p.Next, false, nil // something before it is missing, or all of it is known
	} else if skip > 0 {
		data = data[skip:]
	}
	p.Next += int64(len(data))
	if k := known(out, p.At, data); first && k > 0 {
		if data = data[k:]; len(data) == 0 {
			p.At += int64(k)
			return p.Next, false, writePosition(note, p)
		}
	}
	switch left := limit - size; {
	case left <= 0:
		data = nil
	case int64(len(data)) > left:
		data = append(data[:left:left], fmt.Sprintf("\n[sluice] the log has reached its limit of %d bytes; what follows is dropped\n", limit)...)
	}
	if _, err := out.Write(data); err != nil {
		return 0, false, errors.Join(err, out.Truncate(size)) // a disk that is full: half a piece would be doubled
	}
	if info, err = out.Stat(); err != nil {
		return 0, false, err
	}
	p.At = info.Size()
	return p.Next, true, writePosition(note, p)
}

func readPosition(f *os.File) (p position, there bool, err error) {
	b := make([]byte, positionRoom)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return p, false, err
	}
	if b = bytes.TrimRight(b[:n], "\x00 "); len(b) == 0 {
		return p, false, nil
	}
	if err := json.Unmarshal(b, &p); err != nil || p.Next < 0 || p.At < 0 {
		return p, false, fmt.Errorf("%s is damaged", f.Name())
	}
	return p, true, nil
}

const positionRoom = 128

// writePosition is one small write in place: a crash of the process leaves the old
// position or the new one.
func writePosition(f *os.File, p position) error {
	b, err := json.Marshal(p)
	if err == nil {
		_, err = f.WriteAt(append(b, bytes.Repeat([]byte(" "), max(0, positionRoom-len(b)))...), 0)
	}
	return err
}

// known is how much of the data stands in the log already, behind what was noted.
func known(log *os.File, at int64, data []byte) int {
	b := make([]byte, len(data))
	n, err := log.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) || n == 0 || !bytes.Equal(b[:n], data[:n]) {
		return 0
	}
	return n
}
