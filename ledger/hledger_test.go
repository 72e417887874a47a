package ledger

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

// run gives the journal to Debian's hledger, in the locale that is the least
// forgiving.
func run(t interface{ Fatalf(string, ...any) }, file string, args ...string) []byte {
	cmd := exec.Command("hledger", append([]string{"-f", file}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		b, _ := os.ReadFile(file)
		t.Fatalf("hledger %v: %v\n%s\n%s", args, err, complaint.Bytes(), b)
	}
	return out.Bytes()
}

func export(t interface{ Fatal(...any) }, es []Entry) []byte {
	var b bytes.Buffer
	if err := WriteHledger(&b, seqOf(es)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An independent bookkeeper accepts any journal, counts its entries and comes to
// the same balances.
func TestHledgerAgrees(t *testing.T) {
	file := filepath.Join(t.TempDir(), "books.journal")
	rapid.Check(t, func(t *rapid.T) {
		es := genJournal().Draw(t, "journal")
		if err := os.WriteFile(file, export(t, es), 0o600); err != nil {
			t.Fatal(err)
		}
		if len(es) == 0 {
			run(t, file, "check", "-s")
			return
		}
		// -s: every account and commodity is declared, every entry balances.
		run(t, file, "check", "-s", "ordereddates")
		rows, err := csv.NewReader(bytes.NewReader(run(t, file, "bal", "--flat", "-N", "-E", "--layout", "bare", "-O", "csv"))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]sluice.Money{}
		for _, r := range rows[1:] {
			if m := parse(t, r[2]); m != 0 {
				got[r[0]+" "+r[1]] = m
			}
		}
		if want := balances(t, es); !same(got, want) {
			t.Fatalf("hledger has %v\nthe trial balance is %v", got, want)
		}
		// One transaction for each entry, on its day: no text made another.
		var dates, want []string
		for line := range strings.Lines(string(run(t, file, "print"))) {
			if line[0] >= '0' && line[0] <= '9' {
				dates = append(dates, line[:strings.Index(line, ")")+1])
			}
		}
		for _, e := range es {
			want = append(want, e.At.Format("2006-01-02")+" ("+e.ID+")")
		}
		if fmt.Sprint(dates) != fmt.Sprint(want) {
			t.Fatalf("hledger has the entries\n%v\nthe journal\n%v", dates, want)
		}
	})
}

func parse(t *rapid.T, s string) sluice.Money {
	neg := strings.HasPrefix(s, "-")
	whole, frac, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	frac += strings.Repeat("0", max(0, 6-len(frac)))
	var m int64
	if _, err := fmt.Sscanf(whole+frac, "%d", &m); err != nil || len(frac) != 6 {
		t.Fatalf("amount %q: %v", s, err)
	}
	if neg {
		m = -m
	}
	return sluice.Money(m)
}

func TestHledgerOfOddNames(t *testing.T) {
	in := example()
	in.Jobs = nil
	for i, name := range nasty {
		in.Jobs = append(in.Jobs, JobUse{
			JobID: fmt.Sprint(i), Tenant: name, Name: name, Class: "h100",
			UnitMilliseconds: 3_600_000, RatePerUnitHour: sluice.Money(i + 1),
		})
	}
	file := filepath.Join(t.TempDir(), "odd.journal")
	if err := os.WriteFile(file, export(t, settle(t, in)), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, file, "check", "-s", "ordereddates")
	for i, name := range nasty {
		out := strings.TrimSpace(string(run(t, file, "bal", "--flat", "-N", "-E", "--layout", "bare", "-O", "csv",
			"acct:^"+strings.ReplaceAll(strings.ReplaceAll(AccountTenant(name), ".", `\.`), "+", `\+`)+"$")))
		if want := Decimal(sluice.Money(i + 1)); !strings.Contains(out, want) {
			t.Errorf("tenant %q: hledger has\n%s\nwant %s", name, out, want)
		}
	}
	for account := range strings.Lines(string(run(t, file, "accounts"))) {
		if a := strings.TrimSpace(account); checkAccount(a) != nil || a == "assets:cash" || a == "equity:x" {
			t.Errorf("a name has made the account %q", a)
		}
	}
}

func TestWriteHledgerErrors(t *testing.T) {
	bad := good()
	bad.Postings[0].Amount++
	var b bytes.Buffer
	if err := WriteHledger(&b, seqOf([]Entry{good(), bad})); sluice.KindOf(err) != sluice.Invalid || strings.Contains(b.String(), "; end of journal") {
		t.Errorf("an entry out of balance: %v\n%s", err, b.String())
	}
	boom := errors.New("boom")
	if err := WriteHledger(&b, func(yield func(Entry, error) bool) { yield(Entry{}, boom) }); !errors.Is(err, boom) {
		t.Errorf("the error of the sequence: %v", err)
	}
	if err := WriteHledger(fullDisk{boom}, seqOf([]Entry{good()})); !errors.Is(err, boom) {
		t.Errorf("the error of the writer: %v", err)
	}
}

type fullDisk struct{ err error }

func (d fullDisk) Write([]byte) (int, error) { return 0, d.err }

func TestDecimal(t *testing.T) {
	for m, want := range map[sluice.Money]string{
		0: "0.000000", 1: "0.000001", -1: "-0.000001", 1_500_000: "1.500000",
		math.MinInt64: "-9223372036854.775808", math.MaxInt64: "9223372036854.775807",
	} {
		if got := Decimal(m); got != want {
			t.Errorf("%d: %s, want %s", m, got, want)
		}
	}
}

// The example of docs/books.md is what the code does.
func ExampleSettle() {
	from := time.Date(2023, 8, 17, 0, 0, 0, 0, time.UTC)
	in := Interval{
		From: from, To: from.Add(5 * time.Minute),
		MeterWh: 1_000_000, MiningWh: 780_000, AIWh: 195_000,
		EnergyPrice: sluice.EnergyPriceOf(42.5), PriceOrigin: "ERCOT West real time", PricePublished: from.Add(-5 * time.Minute),
		TeraHashes: 150_000_000, Hashprice: sluice.HashpriceFromUSD(60), HashpriceOrigin: "network formula",
		HashpriceEstimated: true, PoolFeePPM: 20_000,
		Reserves: []ReserveUse{{Name: "rrs", ReadyWh: 500_000, Price: sluice.EnergyPriceOf(12), PriceOrigin: "ERCOT day ahead", PricePublished: from.Add(-6 * time.Hour)}},
		Jobs: []JobUse{
			{JobID: "12", Tenant: "acme", Name: "resnet", Class: "h100", UnitMilliseconds: 8 * 300_000, MilliWh: 466_667, RatePerUnitHour: 2_100_000},
			{JobID: "7", Tenant: "beta", Name: "digits", Class: "h100", UnitMilliseconds: 90_000, MilliWh: 17_500, RatePerUnitHour: 1_050_000, Credit: 10_000},
		},
	}
	journal, err := Settle("west", in)
	if err != nil {
		fmt.Println(err)
		return
	}
	restated := in
	restated.EnergyPrice = sluice.EnergyPriceOf(40)
	corrections, err := Correct("west", in, restated, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range append(journal, corrections...) {
		fmt.Println(e.Text)
		for _, p := range e.Postings {
			fmt.Printf("  %-30s %12s\n", p.Account, Decimal(p.Amount))
		}
	}
	// Output:
	// Energy of mining
	//   expenses:mining:energy            34.000000
	//   liabilities:energy               -34.000000
	// Energy of AI
	//   expenses:ai:energy                 8.500000
	//   liabilities:energy                -8.500000
	// Hashrate sold
	//   assets:receivable:pool           102.083334
	//   expenses:mining:pool-fee           2.083333
	//   revenue:mining:hashrate         -104.166667
	// Load kept ready
	//   assets:receivable:grid             6.000000
	//   revenue:mining:reserve:rrs        -6.000000
	// Machine time sold
	//   assets:receivable:tenant:acme      1.400000
	//   revenue:ai:acme                   -1.400000
	//   assets:receivable:tenant:beta      0.016250
	//   revenue:ai:beta                   -0.026250
	//   revenue:ai:beta:credits            0.010000
	// Correction: Energy of mining
	//   expenses:mining:energy            -2.000000
	//   liabilities:energy                 2.000000
	// Correction: Energy of AI
	//   expenses:ai:energy                -0.500000
	//   liabilities:energy                 0.500000
}

// What docs/books.md shows is what the code writes.
func TestDocsShowTheExport(t *testing.T) {
	doc, err := os.ReadFile("../docs/books.md")
	if err != nil {
		t.Fatal(err)
	}
	if out := export(t, settle(t, example())); !bytes.Contains(doc, out) {
		t.Errorf("docs/books.md does not contain\n%s", out)
	}
}
