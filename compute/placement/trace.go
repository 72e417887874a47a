package placement

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"sluice"
)

// What a list may hold at most, so that a wrong file ends soon.
const (
	maxRows    = 2_000_000
	maxGPUs    = 64         // of a host
	maxPerHost = 1 << 40    // millicores, MiB
	maxBytes   = 1 << 30    // of a file, unpacked
	gzipMagic  = "\x1f\x8b" // RFC 1952
)

// ReadHosts reads a list of nodes in the form of Alibaba's openb trace: sn, cpu_milli,
// memory_mib, gpu, model; plain or gzipped.
func ReadHosts(path string) ([]Host, error) {
	var out []Host
	err := read(path, []string{"sn", "cpu_milli", "memory_mib", "gpu", "model"}, func(v row) error {
		h := Host{Name: v.text("sn"), Model: v.text("model")}
		var err error
		if h.CPUMilli, err = v.number("cpu_milli", maxPerHost); err != nil {
			return err
		}
		if h.MemMiB, err = v.number("memory_mib", maxPerHost); err != nil {
			return err
		}
		n, err := v.number("gpu", maxGPUs)
		if err != nil {
			return err
		}
		h.GPUs = slices.Repeat([]int{Whole}, int(n))
		out = append(out, h)
		return nil
	})
	return out, err
}

// ReadPods reads a list of pods of the same trace: cpu_milli, memory_mib, num_gpu,
// gpu_milli and, where there is one, gpu_spec.
func ReadPods(path string) ([]Demand, error) {
	var out []Demand
	err := read(path, []string{"cpu_milli", "memory_mib", "num_gpu", "gpu_milli"}, func(v row) error {
		d := Demand{}
		var err error
		if d.CPUMilli, err = v.number("cpu_milli", maxPerHost); err != nil {
			return err
		}
		if d.MemMiB, err = v.number("memory_mib", maxPerHost); err != nil {
			return err
		}
		gpus, err := v.number("num_gpu", maxGPUs)
		if err != nil {
			return err
		}
		milli, err := v.number("gpu_milli", Whole)
		if err != nil {
			return err
		}
		d.GPUs, d.GPUMilli = int(gpus), int(milli)
		if d.GPUs == 0 {
			d.GPUMilli = 0
		} else {
			d.Models = v.text("gpu_spec")
		}
		if d.GPUs > 1 {
			d.GPUMilli = Whole
		}
		if !d.valid() {
			return v.wrong("num_gpu", fmt.Sprintf("%d GPUs of %d thousandths each cannot be placed", d.GPUs, d.GPUMilli))
		}
		out = append(out, d)
		return nil
	})
	return out, err
}

// row is one line of a list.
type row struct {
	path string
	line int
	at   map[string]int
	cell []string
}

func (v row) text(name string) string {
	i, ok := v.at[name]
	if !ok || i >= len(v.cell) {
		return ""
	}
	return strings.TrimSpace(v.cell[i])
}

func (v row) wrong(name, what string) error {
	return sluice.Errorf(sluice.Invalid, "mend or leave out the line", "%s:%d: %s: %s", v.path, v.line, name, what)
}

func (v row) number(name string, most int64) (int64, error) {
	s := v.text(name)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, v.wrong(name, fmt.Sprintf("%q is no whole number from 0 to %d", s, most))
	}
	return n, nil
}

func read(path string, need []string, each func(row) error) error {
	f, err := os.Open(path)
	if err != nil {
		return sluice.Errorf(sluice.Invalid, "give a file that can be read", "%v", err)
	}
	defer func() { _ = f.Close() }()
	in := bufio.NewReader(f)
	var from io.Reader = in
	if magic, err := in.Peek(2); err == nil && string(magic) == gzipMagic {
		if from, err = gzip.NewReader(in); err != nil {
			return sluice.Errorf(sluice.Invalid, "is the file whole?", "%s: %v", path, err)
		}
	}
	r := csv.NewReader(io.LimitReader(from, maxBytes))
	r.FieldsPerRecord, r.ReuseRecord = -1, true
	at := map[string]int{}
	for n := 0; ; n++ {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) && n > 1 {
			return nil
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the list is empty")
			}
			return sluice.Errorf(sluice.Invalid, "give a CSV file with a head and a line for each", "%s: %v", path, err)
		}
		line, _ := r.FieldPos(0)
		if n == 0 {
			for i, c := range cells {
				at[strings.TrimSpace(strings.TrimPrefix(c, "\ufeff"))] = i
			}
			for _, c := range need {
				if _, ok := at[c]; !ok {
					return sluice.Errorf(sluice.Invalid, "the head must name "+strings.Join(need, ", "), "%s:%d: there is no column %s", path, line, c)
				}
			}
			continue
		}
		if n > maxRows {
			return sluice.Errorf(sluice.Invalid, "", "%s has more than %d lines", path, maxRows)
		}
		if err := each(row{path, line, at, cells}); err != nil {
			return err
		}
	}
}
