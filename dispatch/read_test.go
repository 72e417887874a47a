package dispatch

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"sluice"
)

func TestReadInstanceNamesTheField(t *testing.T) {
	good := strings.NewReplacer("LIMIT", "30", "MORE", `, "dwell": [{"mode": "on", "units": 3, "left": 2}], "switches": [{"from": "on", "to": "off", "usd": 1}]`,
		"REST", `, "jobs": [{"name": "j", "class": "m", "units": 1, "intervals": 2, "usd_per_unit_hour": 1, "power_kw": 1, "earliest": 0}],
		"reserves": [{"name": "r", "usd_per_mw_h": 1, "max_kw": [1, null, 2, 3]}], "demand_charges": [{"usd_per_kw": 1, "from": 0, "to": 4, "already_kw": 0}]`).Replace(site)
	if _, err := ReadInstance(strings.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, field, value string }{
		{`"intervals": 4`, `"intervals": 0`, "intervals", "0"},
		{`"intervals": 4`, `"intervals": "four"`, "intervals", "string where a whole number is due"},
		{`"count": 10`, `"count": 1.5`, "classes.count", "1.5 where a whole number is due"},
		{`"earliest": 0`, `"earliest": 0, "must_run": 1`, "must_run", "true or false"},
		{`"initial": {"on": 10}`, `"initial": [10]`, "initial", "an object"},
		{`"nodes": [`, `"nodes": "site", "note": [`, "nodes", "a list"},
		{`"step_minutes": 60`, `"step_minutes": -5`, "step_minutes", "-5"},
		{`[20, 200, 20, 20]`, `[20, 200, 20]`, "price_usd_per_mwh", "3 values"},
		{`[20, 200, 20, 20]`, `[20, NaN, 20, 20]`, "price_usd_per_mwh", "NaN"},
		{`[20, 200, 20, 20]`, `[20, 1e999, 20, 20]`, "price_usd_per_mwh", "1e999"},
		{`[20, 200, 20, 20]`, `[20, null, 20, 20]`, "price_usd_per_mwh[1]", "null"},
		{`[20, 200, 20, 20]`, `"dear"`, "price_usd_per_mwh", "dear"},
		{`"limit_kw": 30`, `"limit_kw": -1`, "limit_kw", "-1"},
		{`"limit_kw": 30`, `"parent": "site"`, "nodes", "root"},
		{`"limit_kw": 30`, `"parent": "attic"`, "nodes[0].parent", "attic"},
		{`{"name": "site", "limit_kw": 30}`, `{"name": "site"}, {"name": "a", "parent": "b"}, {"name": "b", "parent": "a"}`, "nodes[1].parent", "b"},
		{`{"name": "site", "limit_kw": 30}`, `{"name": "site"}, {"name": "site", "parent": "site"}`, "nodes[1].name", "site"},
		{`"node": "site"`, `"node": "attic"`, "node", "attic"},
		{`"count": 10`, `"count": 11`, "initial", "10"},
		{`"count": 10`, `"count": -10`, "count", "-10"},
		{`"initial": {"on": 10}`, `"initial": {"up": 10}`, "initial", "up"},
		{`"initial": {"on": 10}`, `"initial": {"on": 9, "job": 1}`, "initial.job", "1"},
		{`"name": "off", "power_kw": 0`, `"name": "job", "power_kw": 0`, "modes[0].name", "job"},
		{`"power_kw": 3`, `"power_kw": -3`, "power_kw", "-3"},
		{`"units": 3, "left": 2`, `"units": 30, "left": 2`, "dwell[0].units", "30"},
		{`"to": "off", "usd": 1`, `"to": "of", "usd": 1`, "switches[0].to", "of"},
		{`"class": "m", "units": 1`, `"class": "n", "units": 1`, "class", "n"},
		{`"intervals": 2`, `"intervals": 0`, "intervals", "0"},
		{`"earliest": 0`, `"earliest": 1, "running": true`, "earliest", "1"},
		{`"earliest": 0`, `"earliest": -1`, "earliest", "-1"},
		{`[1, null, 2, 3]`, `[1, null, 2, -3]`, "max_kw[3]", "-3"},
		{`"from": 0, "to": 4`, `"from": 0, "to": 5`, "demand_charges[0]", "5"},
		{`"from": 0, "to": 4`, `"from": 3, "to": 2`, "demand_charges[0]", "[3, 2)"},
		{`"limit_kw": 30`, `"limits_kw": 30`, "nodes[0].limits_kw", "limit_kw"},
		{`"earliest": 0`, `"earlyest": 0`, "jobs[0].earlyest", "earliest"},
		{`"shed_kw": 3`, `"shedkw": 3`, "classes[0].modes[1].shedkw", "shed_kw"},
		{`"jobs":`, `"job":`, "job", "jobs"},
		{`}]}`, `}]`, "instance", "JSON"},
	} {
		bad := strings.Replace(good, c.from, c.to, 1)
		if bad == good {
			t.Fatalf("%s is not in the instance", c.from)
		}
		_, err := ReadInstance(strings.NewReader(bad))
		if c.field == "instance" {
			bad = strings.TrimSuffix(good, "}")
			_, err = ReadInstance(strings.NewReader(bad))
			c.field = ""
		}
		if err == nil {
			t.Errorf("%s is taken", c.to)
			continue
		}
		if sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), c.field) || !strings.Contains(err.Error(), c.value) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.to, err)
		}
	}
}

// What is nobody's field is passed over, even where it looks like one that is
// there; so is case.
func TestReadInstancePassesNotesOver(t *testing.T) {
	good := strings.NewReplacer("LIMIT", "30", "MORE", `, "note": {"nodes": [{"limits_kw": "}]"}]}, "nodes": 1`, "REST", `, "comment": "\"], {", "RESERVES": []`).Replace(site)
	if _, err := ReadInstance(strings.NewReader(good)); err != nil {
		t.Error(err)
	}
}

func TestInstanceSurvivesJSON(t *testing.T) {
	in := smallShape.random(1)
	a, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ReadInstance(bytes.NewReader(a))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("%s\nbecame\n%s", a, b)
	}
}

// What the reader takes can be solved, and what it refuses is refused with one
// error that says why.
func FuzzReadInstance(f *testing.F) {
	small := smallShape
	small.intervals, small.jobs = 3, 2
	b, err := json.Marshal(small.random(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(strings.NewReplacer("LIMIT", "[30, null, 5, 0]", "MORE", "", "REST", "").Replace(site)))
	f.Add([]byte(`{"intervals": 1e3}`))
	f.Add([]byte(strings.NewReplacer("LIMIT", "null", "MORE", `, "swiches": [{"a": "]}\\"}, [{}]]`, "REST", `, "x\u0041": {}`).Replace(site)))
	f.Add([]byte(`{"intervals": 1, "step_minutes": 1, "price_usd_per_mwh": [1], "nodes": [{"name": "a"}], "classes": null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := ReadInstance(bytes.NewReader(b))
		if err != nil {
			if sluice.KindOf(err) != sluice.Invalid || strings.Count(err.Error(), "\n") > 0 {
				t.Fatalf("%v", err)
			}
			return
		}
		if in.Intervals > 50 || len(in.Classes) > 5 || len(in.Jobs) > 5 {
			return
		}
		for i := range in.Classes {
			for _, m := range in.Classes[i].Modes {
				if in.Classes[i].Count > 1000 || m.MinIntervals > 100 {
					return
				}
			}
		}
		if _, err := Solve(in, soon(3)); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
	})
}
