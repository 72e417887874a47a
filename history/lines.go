package history

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"sluice"
)

// maxLine bounds a line, and with it the memory of a reader.
const maxLine = 64 << 10

// lines reads the lines of a CSV file one by one.
type lines struct {
	path   string
	file   io.ReadCloser
	in     *bufio.Reader
	line   int      // the number of the line read last, from 1
	names  []string // of the header
	fields [][]byte // of the line read last
}

// openLines opens the file and reads its header.
func openLines(path string) (*lines, error) {
	f, err := os.Open(path)
	if err != nil {
		kind := sluice.Unavailable
		if errors.Is(err, fs.ErrNotExist) {
			kind = sluice.NotFound
		}
		return nil, sluice.Errorf(kind, "check the path", "reading a recorded series: %v", err)
	}
	return newLines(path, f)
}

// newLines reads the header; it closes the file where that fails.
func newLines(path string, f io.ReadCloser) (*lines, error) {
	l := &lines{path: path, file: f}
	if err := l.head(); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

func (l *lines) close() error { return l.file.Close() }

// errorf is an error about the line read last.
func (l *lines) errorf(hint, format string, args ...any) error {
	return sluice.Errorf(sluice.Invalid, hint, "%s:%d: %s", l.path, l.line, fmt.Sprintf(format, args...))
}

func (l *lines) head() error {
	raw := bufio.NewReaderSize(l.file, maxLine)
	magic, _ := raw.Peek(2)
	switch zipped := bytes.Equal(magic, []byte{0x1f, 0x8b}); {
	case zipped:
		z, err := gzip.NewReader(raw)
		if err != nil {
			return sluice.Errorf(sluice.Invalid, "fetch the file again", "%s is no whole gzip file: %v", l.path, err)
		}
		l.in = bufio.NewReaderSize(z, maxLine)
	case strings.HasSuffix(l.path, ".gz") && len(magic) > 0:
		return sluice.Errorf(sluice.Invalid, "fetch the file again, or take .gz off its name", "%s is no gzip file", l.path)
	default:
		l.in = raw
	}
	ok, err := l.next()
	if err != nil {
		return err
	}
	if !ok {
		return sluice.Errorf(sluice.Invalid, "", "%s is empty", l.path)
	}
	for _, f := range l.fields {
		name := strings.TrimSpace(string(f))
		_, notNumber := strconv.ParseFloat(name, 64)
		if _, why := stamp([]byte(name), true); why == "" || (notNumber == nil && !isBlank(f)) {
			return l.errorf("the first line names the columns, such as ts_utc,price_usd_per_mwh", "the file has no header: %.40q is a value", name)
		}
		l.names = append(l.names, name)
	}
	return nil
}

// next reads the next line that is neither blank nor a comment, and splits it.
// It returns false at the end of the file.
func (l *lines) next() (bool, error) {
	for {
		b, err := l.in.ReadSlice('\n')
		if len(b) > 0 || err == nil {
			l.line++
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return false, l.errorf("", "the line is longer than %d KiB", maxLine>>10)
		case err != nil && !errors.Is(err, io.EOF):
			return false, l.errorf("fetch the file again", "the file cannot be read further: %v", err)
		}
		if l.line == 1 {
			b = bytes.TrimPrefix(b, []byte("\ufeff"))
		}
		b = bytes.TrimRight(b, "\r\n")
		if len(b) > 0 && b[0] != '#' && len(bytes.TrimSpace(b)) > 0 {
			return true, l.split(b)
		}
		if err != nil {
			return false, nil //nolint:nilerr // the end of the file, as the switch above has it
		}
	}
}

// split fills fields from the line. Quotes are rare: only they need a real parser.
func (l *lines) split(b []byte) error {
	l.fields = l.fields[:0]
	if bytes.IndexByte(b, '"') >= 0 {
		c := csv.NewReader(bytes.NewReader(b))
		c.TrimLeadingSpace = true
		rec, err := c.Read()
		if err != nil {
			var pe *csv.ParseError
			if errors.As(err, &pe) {
				err = pe.Err
			}
			return l.errorf("a quoted field ends on its line, and a quote within it is doubled", "the line is no CSV: %v", err)
		}
		for _, f := range rec {
			l.fields = append(l.fields, []byte(f))
		}
		return nil
	}
	for {
		i := bytes.IndexByte(b, ',')
		if i < 0 {
			l.fields = append(l.fields, b)
			return nil
		}
		l.fields = append(l.fields, b[:i])
		b = b[i+1:]
	}
}

// column returns the index of the named column, whatever its case.
func (l *lines) column(name string) (int, error) {
	is := func(n string) bool { return strings.EqualFold(n, strings.TrimSpace(name)) }
	i := slices.IndexFunc(l.names, is)
	if i < 0 {
		hint := ""
		if n := nearest(name, l.names); n != "" {
			hint = "did you mean " + n + "?"
		}
		return 0, sluice.Errorf(sluice.Invalid, hint, "%s has no column %.60q; it has %s", l.path, name, list(l.names))
	}
	if j := slices.IndexFunc(l.names[i+1:], is); j >= 0 {
		return 0, sluice.Errorf(sluice.Invalid, "give each column a name of its own", "%s has the column %.60q twice", l.path, name)
	}
	return i, nil
}

// list joins names for a person, at most 20 of them.
func list(names []string) string {
	const most = 20
	var s []string
	for i, n := range names {
		if i == most {
			return fmt.Sprintf("%s and %d more", strings.Join(s, ", "), len(names)-most)
		}
		s = append(s, fmt.Sprintf("%.60s", n))
	}
	return strings.Join(s, ", ")
}

// nearest returns the name that differs least from the wanted one; empty where
// none is like it.
func nearest(want string, names []string) string {
	best, at := "", len(want)/2+1
	for _, n := range names {
		if d := distance(strings.ToLower(want), strings.ToLower(n)); len(n) <= 200 && d < at {
			best, at = n, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete or change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, diag+1)
		}
	}
	return row[len(b)]
}
