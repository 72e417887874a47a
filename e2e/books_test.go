package e2e_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// trialBalance says where the books do not add up to zero.
func trialBalance(bs []balance) error {
	sum := map[string]int64{}
	for _, b := range bs {
		sum[b.Commodity] += b.Amount
	}
	for c, s := range sum {
		if s != 0 {
			return fmt.Errorf("the trial balance is %d micro-%s", s, c)
		}
	}
	return nil
}

// checkIntervals says where an interval is missing between the first and the
// last that was settled, or settled twice. It returns how many there are.
func checkIntervals(es []entry, step time.Duration) (int, error) {
	seen := map[string]bool{}
	var at []time.Time
	for _, e := range es {
		sum := int64(0)
		for _, p := range e.Postings {
			sum += p.Amount
		}
		if sum != 0 {
			return 0, fmt.Errorf("entry %s is %d micro-USD over", e.ID, sum)
		}
		if e.Corrects != "" {
			continue
		}
		to, err := time.Parse(time.RFC3339Nano, e.Meta["to"])
		if err != nil {
			return 0, fmt.Errorf("entry %s: %w", e.ID, err)
		}
		if !e.At.Equal(e.At.Truncate(step)) || to.Sub(e.At) != step {
			return 0, fmt.Errorf("entry %s is of [%s, %s), no interval of %s", e.ID, e.At, to, step)
		}
		kind := e.ID[strings.LastIndex(e.ID, "/")+1:]
		if k := e.At.String() + kind; seen[k] {
			return 0, fmt.Errorf("%s of %s is there twice", kind, e.At)
		} else {
			seen[k] = true
		}
		if kind == "mining-energy" {
			at = append(at, e.At)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	for i := 1; i < len(at); i++ {
		if at[i].Sub(at[i-1]) != step {
			return 0, fmt.Errorf("after the interval of %s comes that of %s", at[i-1], at[i])
		}
	}
	return len(at), nil
}

// checkBooks holds the books against themselves and against another bookkeeper.
func checkBooks(t testing.TB, s *server, step time.Duration, least int) {
	t.Helper()
	// Intervals may be settled between two questions: what is told in between is of the
	// entries before it, of all after it, or of so many of these as were posted by then.
	ask := func() []entry {
		es, err := s.entries()
		if err != nil {
			t.Fatal(err)
		}
		return es
	}
	es := ask()
	file := filepath.Join(t.TempDir(), "journal")
	must(t, s.on("ledger", "export", "--format", "hledger", "--out", file)...)
	bs, err := s.balances()
	if err != nil {
		t.Fatal(err)
	}
	all := ask()
	n, err := checkIntervals(all, step)
	if err != nil {
		t.Error(err)
	}
	if n < least {
		t.Errorf("%d intervals are settled, at least %d have passed", n, least)
	}
	if err := trialBalance(bs); err != nil {
		t.Error(err)
	}
	told := map[string]int64{}
	for _, b := range bs {
		told[b.Account] = b.Amount
	}
	if !balanceOf(all, len(es), told) {
		t.Errorf("the accounts hold %v, which the postings of no number of entries from %d to %d make", told, len(es), len(all))
	}
	hledger(t, file, "check", "--strict")
	if got := hledgerBalances(t, file); !balanceOf(all, len(es), got) {
		t.Errorf("hledger has %v\nSluice has %v", got, told)
	}
}

// balanceOf says whether the first so many entries, or some more of them, add up to the
// accounts' balances.
func balanceOf(es []entry, least int, accounts map[string]int64) bool {
	sums := map[string]int64{}
	for i := 0; ; i++ {
		if i >= least && maps.Equal(sums, accounts) {
			return true
		}
		if i == len(es) {
			return false
		}
		for _, p := range es[i].Postings {
			sums[p.Account] += p.Amount
		}
	}
}

func hledger(t testing.TB, file string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("hledger", append([]string{"-f", file}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("hledger %v: %v\n%s", args, err, complaint.Bytes())
	}
	return out.Bytes()
}

// hledgerBalances are the accounts' balances as hledger adds them up.
func hledgerBalances(t testing.TB, file string) map[string]int64 {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(hledger(t, file, "balance", "--flat", "--no-total", "--empty", "-O", "csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, r := range rows[1:] {
		amount, _, _ := strings.Cut(r[1], " ")
		whole, part, _ := strings.Cut(amount, ".")
		var v int64
		if _, err := fmt.Sscanf(whole+part+strings.Repeat("0", 6-len(part)), "%d", &v); err != nil {
			t.Fatalf("hledger's balance %q: %v", r, err)
		}
		out[r[0]] = v
	}
	return out
}
