package server

import (
	"strings"
	"testing"

	"sluice/site"
)

// Many miners are ordered by a selector: never by an empty one, never without
// the token of a preview.
func TestFleetOrders(t *testing.T) {
	r := newRig(t, nil)
	const order = `{"selector":"class=s19","action":"sleep","why":"heat"`
	p := decode[site.FleetPreview](t, r.want(200, "POST", "/api/v1/fleet/preview", order+"}"))
	if p.Machines != 50 || p.Token != "t1" || p.USDPerHour != -3 {
		t.Errorf("the preview is %+v", p)
	}
	res := decode[site.FleetResult](t, r.want(200, "POST", "/api/v1/fleet/orders", order+`,"token":"t1","by":"ann"}`))
	if res.Commanded != 50 || len(r.site.fleet) != 1 || r.site.fleet[0].By != "ann" || r.site.fleet[0].Why != "heat" {
		t.Errorf("done was %+v; ordered %+v", res, r.site.fleet)
	}
	for status, bodies := range map[int][]string{
		409: {order + `,"token":"old"}`, order + "}"},
		422: {
			`{"selector":"","action":"sleep"}`, `{"action":"sleep"}`, `{"selector":"all","action":"explode"}`, `{"selector":"all"}`,
			`{"selector":"all","action":"sleep","force":true}`, `{"selector":"` + strings.Repeat("a", 2001) + `","action":"sleep"}`,
		},
	} {
		for _, b := range bodies {
			if p := decode[Problem](t, r.want(status, "POST", "/api/v1/fleet/orders", b)); p.Status != status || p.Detail == "" {
				t.Errorf("%.60s: %+v", b, p)
			}
		}
	}
	if p := decode[Problem](t, r.want(422, "POST", "/api/v1/fleet/preview", `{"selector":"colour=red","action":"sleep"}`)); !strings.Contains(p.Detail, "colour") || p.Hint == "" {
		t.Errorf("a key that is none: %+v", p)
	}
	if len(r.site.fleet) != 1 {
		t.Errorf("ordered was %+v", r.site.fleet)
	}
}

func TestFleetFigures(t *testing.T) {
	r := newRig(t, nil)
	if p := decode[site.Promise](t, r.want(200, "GET", "/api/v1/fleet/promise", "")); p.WithinS != 10 || p.ShedKW != 9000 {
		t.Errorf("the promise is %+v", p)
	}
	if p := decode[site.Promise](t, r.want(200, "GET", "/api/v1/fleet/promise?within_s=2.5&selector=node%3Da", "")); p.WithinS != 2.5 || p.Selector != "node=a" {
		t.Errorf("the promise is %+v", p)
	}
	for _, q := range []string{"within_s=0", "within_s=-1", "within_s=x", "selector=colour%3Dred", "within=10"} {
		r.want(422, "GET", "/api/v1/fleet/promise?"+q, "")
	}
	if v := decode[site.Responses](t, r.want(200, "GET", "/api/v1/fleet/response", "")); len(v.Firmwares) != 1 || *v.Firmwares[0].P50S != 2.5 {
		t.Errorf("responses %+v", v)
	}
	if v := decode[Page[site.Curve]](t, r.want(200, "GET", "/api/v1/fleet/curves", "")); len(v.Items) != 1 || v.Items[0].Modes[0].PowerW != 3250 {
		t.Errorf("curves %+v", v)
	}
}
