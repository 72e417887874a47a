package pivot

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func flows(t *rapid.T) Flow {
	n := rapid.IntRange(2, 120).Draw(t, "months")
	f := make(Flow, n)
	for i := range f {
		f[i] = rapid.Float64Range(-1e6, 1e6).Draw(t, "cash")
	}
	return f
}

// At the internal rate of return the present value is nothing, and on either side
// of it it has another sign.
func TestIRRIsARoot(t *testing.T) {
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		f := flows(t)
		if rapid.Bool().Draw(t, "investment") { // one change of sign
			sum := 1.0
			for i := range f {
				f[i] = math.Abs(f[i])
				sum += f[i]
			}
			f[0] = -sum * rapid.Float64Range(0.3, 1.2).Draw(t, "capital")
		}
		r, ok := f.IRR()
		if !ok {
			return
		}
		found++
		scale := 0.0
		for i, x := range f {
			scale += math.Abs(x) * math.Pow(1+r, -float64(i)/12)
		}
		if v := f.NPV(r); math.Abs(v) > 1e-9*scale {
			t.Fatalf("the present value at %v is %v, of %v", r, v, scale)
		}
		if a, b := f.NPV(r-1e-4), f.NPV(r+1e-4); (a < 0) == (b < 0) && math.Abs(a) > 1e-9*scale && math.Abs(b) > 1e-9*scale {
			t.Fatalf("the present value does not change its sign at %v: %v, %v", r, a, b)
		}
	})
	if found < 20 {
		t.Errorf("a rate was found %d times: too few to prove anything", found)
	}
}

// Of an investment, money that comes later or is less earns less.
func TestIRROrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(12, 120).Draw(t, "months")
		f, g := make(Flow, n), make(Flow, n)
		f[0] = -rapid.Float64Range(1, 1e6).Draw(t, "capital")
		for i := 1; i < n; i++ {
			f[i] = rapid.Float64Range(0, 1e5).Draw(t, "cash")
		}
		f[n-1]++
		copy(g, f)
		k := rapid.IntRange(1, n-1).Draw(t, "month")
		g[k] += 1000
		a, okA := f.IRR()
		b, okB := g.IRR()
		if okA && okB && b < a-1e-12 {
			t.Fatalf("with more cash the rate falls from %v to %v", a, b)
		}
		if p, ok := f.Payback(); ok {
			if q, ok := g.Payback(); !ok || q > p {
				t.Fatalf("with more cash the payback goes from %v to %v (%v)", p, q, ok)
			}
		}
	})
}

func yearly(xs ...float64) Flow {
	f := make(Flow, 12*(len(xs)-1)+1)
	for i, x := range xs {
		f[12*i] = x
	}
	return f
}

func TestIRRCases(t *testing.T) {
	for name, c := range map[string]struct {
		flow Flow
		want float64
		ok   bool
	}{
		"doubles in a year":        {yearly(-100, 200), 1, true},
		"a tenth a year":           {yearly(-100, 10, 10, 110), 0.1, true},
		"half of it is lost":       {yearly(-100, 50), -0.5, true},
		"two rates, 10 and 20 %":   {yearly(-100, 230, -132), 0, false},
		"nothing is laid out":      {yearly(0, 10, 10), 0, false},
		"nothing comes back":       {yearly(-10, -10), 0, false},
		"nothing at all":           {yearly(0, 0), 0, false},
		"more than 1000 %":         {yearly(-1, 100), 0, false},
		"money first, costs later": {yearly(100, -110), 0.1, true},
	} {
		got, ok := c.flow.IRR()
		if ok != c.ok || math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v (%v), want %v (%v)", name, got, ok, c.want, c.ok)
		}
	}
}

// The payback is the last time at which the cash so far comes back to nothing.
func TestPaybackIsTheCrossing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := flows(t)
		years, ok := f.Payback()
		sum, low := 0.0, math.Inf(1)
		at := int(math.Round(12 * years))
		for i, x := range f {
			sum += x
			low = min(low, sum)
			if ok && i >= at && sum < 0 {
				t.Fatalf("after %v years there are %v in month %d", years, sum, i)
			}
			if ok && i == at-1 && sum >= 0 {
				t.Fatalf("the cash came back before %v years", years)
			}
		}
		if ok == (low >= 0 || sum < 0) {
			t.Fatalf("payback %v with a low of %v and an end of %v", ok, low, sum)
		}
	})
}

func TestNPVFallsWithTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := flows(t)
		for i := 1; i < len(f); i++ {
			f[i] = math.Abs(f[i])
		}
		a := rapid.Float64Range(-0.4, 2).Draw(t, "rate")
		b := a + rapid.Float64Range(0, 1).Draw(t, "more")
		if f.NPV(b) > f.NPV(a)+1e-6 {
			t.Fatalf("%v at %v, %v at %v", f.NPV(a), a, f.NPV(b), b)
		}
	})
	if got, want := yearly(-100, 112).NPV(0.12), 0.0; math.Abs(got-want) > 1e-9 {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestQuantiles(t *testing.T) {
	if q := quantiles([]float64{5, 1, 3, 2, 4}); math.Abs(q.P5-1.2) > 1e-12 || q.P50 != 3 || math.Abs(q.P95-4.8) > 1e-12 {
		t.Errorf("%+v", q)
	}
	rapid.Check(t, func(t *rapid.T) {
		xs := rapid.SliceOfN(rapid.Float64Range(-1e9, 1e9), 1, 50).Draw(t, "xs")
		q := quantiles(xs)
		if q.P5 > q.P50 || q.P50 > q.P95 {
			t.Fatalf("%+v of %v", q, xs)
		}
	})
}
