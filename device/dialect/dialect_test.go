package dialect_test

import (
	"context"
	"flag"
	"os"
	"sync"
	"testing"
	"time"

	"sluice/device"
	"sluice/device/devicetest"
	"sluice/device/dialect"
)

// loaded is read once: a Set does not change.
var loaded = sync.OnceValues(func() (*dialect.Set, error) { return dialect.Load("") })

func load(t testing.TB) *dialect.Set {
	t.Helper()
	s, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func identify(t *testing.T, a device.Address) (*dialect.Driver, device.Report) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	d, r, err := load(t).Identify(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return d, r
}

func TestBitaxe(t *testing.T) {
	b := devicetest.Recordings(t, "bitaxe/stock-v2_0_0__asic-rs")
	_, r := identify(t, devicetest.ReplayHTTP(t, map[string][]byte{"GET /api/system/info": b["system_info"]}))
	if r.Driver != "bitaxe" || r.HashrateTHs == nil || *r.HashrateTHs != 1 {
		t.Errorf("%+v", r)
	}
}

// TestMain lets more tests run at once than there are cores: most of them wait
// for a device that is slow on purpose.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
