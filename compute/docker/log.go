package docker

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// An engine's record of a container's output is lines, each a piece of the
// output with its time: in Kubernetes' form (Podman) or as JSON (Docker).

// maxRecord is how long a line of the record may be; engines split the output
// into pieces of some KiB.
const maxRecord = 1 << 20

// piece returns the output that one line of the record holds. A line that is
// none holds nothing: the log goes on after it.
func piece(line []byte) []byte {
	if len(line) > 0 && line[0] == '{' {
		var r struct {
			Log *string `json:"log"`
		}
		if json.Unmarshal(line, &r) != nil || r.Log == nil {
			return nil
		}
		return []byte(*r.Log)
	}
	// TIME STREAM F|P TEXT; F ends with the newline that P has not.
	rest := line
	var field []byte
	for range 3 {
		var ok bool
		if field, rest, ok = bytes.Cut(rest, []byte{' '}); !ok {
			return nil
		}
	}
	switch string(field) {
	case "F":
		return append(bytes.Clone(rest), '\n')
	case "P":
		return bytes.Clone(rest)
	}
	return nil
}

// carrier carries the output of one container from the engine's record to the
// run's log. What the log has of it already is its size less where the output
// begins: after a restart that much is passed over, so that nothing is lost or
// doubled whenever we were killed. A log that other nodes of a gang write too
// does not tell; there the count is kept beside it, and what was written last
// may be there twice after a kill.
type carrier struct {
	count *os.File // of the output carried; nil where the log's size says it
	done  int64
	from  *os.File
	to    *os.File
	skip  int64 // bytes of output that the log has
	size  int64 // of the log
	limit int64
	rest  []byte // of a record whose end is not there yet
	out   []byte // output to be written
	buf   []byte
}

func openCarrier(dir string, r run, record string) (*carrier, error) {
	to, err := openLog(r.Log)
	if err != nil {
		return nil, err
	}
	info, err := to.Stat()
	if err != nil {
		_ = to.Close()
		return nil, err
	}
	from, err := os.Open(record)
	if err != nil {
		_ = to.Close()
		return nil, err
	}
	c := &carrier{from: from, to: to, skip: max(0, info.Size()-r.LogStart), size: info.Size(), limit: r.LogLimit, buf: make([]byte, 64<<10)}
	if r.Shared {
		if c.count, err = os.OpenFile(filepath.Join(dir, carriedFile), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
			c.close()
			return nil, err
		}
		var b [8]byte
		if _, err := c.count.ReadAt(b[:], 0); err == nil {
			c.done = int64(binary.LittleEndian.Uint64(b[:])) //nolint:gosec // our own count
		}
		c.skip = c.done
	}
	return c, nil
}

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
}

func (c *carrier) close() {
	if c.count != nil {
		_ = c.count.Close()
	}
	_ = c.from.Close()
	_ = c.to.Close()
}

// pump carries what is there, at most some MiB so that other work gets its turn,
// and says whether there is more. What cannot be written, on a disk that is full,
// is tried again the next time: the engine's record keeps it so long.
func (c *carrier) pump() (more bool, err error) {
	for range 64 {
		if !c.flush() {
			return false, nil
		}
		n, err := c.from.Read(c.buf)
		c.rest = append(c.rest, c.buf[:n]...)
		c.records()
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			c.flush()
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return true, nil
}

// records takes the complete records of rest apart into out.
func (c *carrier) records() {
	for {
		line, rest, ok := bytes.Cut(c.rest, []byte{'\n'})
		if !ok {
			break
		}
		c.rest = rest
		c.out = append(c.out, piece(line)...)
	}
	if len(c.rest) > maxRecord {
		c.rest = nil // no engine writes such
	}
	c.rest = bytes.Clone(c.rest)
	n := min(c.skip, int64(len(c.out)))
	c.out, c.skip = c.out[n:], c.skip-n
}

// flush writes out, up to the log's limit, and says whether it could.
func (c *carrier) flush() bool {
	if c.count != nil && len(c.out) > 0 {
		if info, err := c.to.Stat(); err == nil {
			c.size = info.Size() // others write too
		}
	}
	if c.size >= c.limit {
		c.out = c.out[:0]
	}
	if len(c.out) == 0 {
		return true
	}
	if left := c.limit - c.size; int64(len(c.out)) > left {
		c.out = append(c.out[:left:left], fmt.Appendf(nil, "\n[sluice] the log has reached its limit of %d bytes; what follows is dropped\n", c.limit)...)
	}
	n, err := c.to.Write(c.out)
	c.size += int64(n)
	c.out = c.out[n:]
	if c.count != nil && n > 0 {
		c.done += int64(n)
		_, _ = c.count.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(c.done)), 0) //nolint:gosec // our own count
	}
	return err == nil
}

// note adds a line of Sluice's own to a run's log. Output has priority: a note
// that cannot be written is left out.
func note(r run, format string, args ...any) {
	f, err := openLog(r.Log)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = fmt.Fprintf(f, "[sluice] "+format+"\n", args...)
}

func size(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// readTail returns the end of the output of a container that failed early, for
// an error's text.
func readTail(record string) (string, error) {
	f, err := os.Open(record)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", err
	}
	var out []byte
	for line := range bytes.Lines(b) {
		out = append(out, piece(bytes.TrimSuffix(line, []byte{'\n'}))...)
	}
	text := strings.TrimSpace(string(out[max(0, len(out)-500):]))
	if text != "" {
		text = ": " + text
	}
	return text, nil
}
