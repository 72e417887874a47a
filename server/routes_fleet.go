package server

import (
	"context"
	"net/http"
	"slices"
	"time"

	"sluice/site"

	"github.com/danielgtaylor/huma/v2"
)

// FleetOrder is a person's hand on many miners, as the API takes it.
type FleetOrder struct {
	Selector string `json:"selector" minLength:"1" maxLength:"2000" doc:"Which miners: terms key=value or key!=value, with spaces or commas between them; all for every one"`
	Action   string `json:"action" enum:"sleep,wake,set,lock,release" doc:"What to do with them"`
	Mode     string `json:"mode,omitempty" maxLength:"100" doc:"set: the mode"`
	By       string `json:"by,omitempty" maxLength:"200" doc:"Who; without: api"`
	Why      string `json:"why,omitempty" maxLength:"1000" doc:"Why, for whoever finds them so; a preview needs none"`
	Token    string `json:"token,omitempty" maxLength:"100" doc:"Of the preview that was looked at; a preview takes none"`
}

func (o FleetOrder) order() site.FleetOrder {
	return site.FleetOrder{Selector: o.Selector, Action: o.Action, Mode: o.Mode, By: who(o.By), Why: o.Why, Token: o.Token}
}

func (s *Server) fleetRoutes() {
	huma.Register(s.api, operation("responses", "GET", "/fleet/response", "fleet", "How soon power moves",
		"By firmware, lane and direction, from the first command of an act to the proof. Of a single machine: GET /machines/{name}."),
		func(context.Context, *struct{}) (*body[site.Responses], error) {
			return answer(s.o.Site.Responses(), nil)
		})

	huma.Register(s.api, operation("curves", "GET", "/fleet/curves", "fleet", "What classes draw and hash in their modes",
		"As plans use it: measured where enough steady readings are known, else configured."),
		func(context.Context, *struct{}) (*body[Page[site.Curve]], error) {
			return &body[Page[site.Curve]]{Page[site.Curve]{Items: s.o.Site.Curves()}}, nil
		})

	promise := operation("promise", "GET", "/fleet/promise", "fleet", "How much can be shed within a time",
		"With 95 % confidence, from learned response times; and how promises made to earlier orders were kept.")
	promise.Errors = append(promise.Errors, http.StatusUnprocessableEntity)
	huma.Register(s.api, promise, func(ctx context.Context, in *struct {
		WithinS  float64 `query:"within_s" minimum:"0.1" maximum:"86400" default:"10" doc:"Seconds of site time from the order"`
		Selector string  `query:"selector" maxLength:"2000" doc:"Which miners; without: all"`
	},
	) (*body[site.Promise], error) {
		return answer(s.o.Site.Promise(ctx, time.Duration(in.WithinS*float64(time.Second)), in.Selector))
	})

	fails := func(op huma.Operation) huma.Operation {
		op.Errors = append(slices.Clone(op.Errors), http.StatusNotFound)
		return op
	}
	huma.Register(s.api, fails(operation("previewFleet", "POST", "/fleet/preview", "fleet", "What an order to many miners would do",
		"Changes nothing. Its token is what the order itself needs.")),
		func(ctx context.Context, in *struct{ Body FleetOrder }) (*body[site.FleetPreview], error) {
			return answer(s.o.Site.PreviewFleet(ctx, in.Body.order()))
		})

	huma.Register(s.api, fails(operation("orderFleet", "POST", "/fleet/orders", "fleet", "Order many miners",
		"Acts on those that the preview has counted and no others. A conflict where they, or their power, have changed too much since.")),
		func(ctx context.Context, in *struct{ Body FleetOrder }) (*body[site.FleetResult], error) {
			return answer(s.o.Site.ActFleet(ctx, in.Body.order()))
		})
}
