package server

import (
	"context"
	"net/http"
	"slices"
	"time"

	"sluice"
	"sluice/site"

	"github.com/danielgtaylor/huma/v2"
)

// maxOrder is the longest order: longer ones are a change of the site's limits.
const maxOrder = 31 * 24 * time.Hour

// maxOrders is how far back the list of orders goes.
const maxOrders = 10_000

// Order is a curtailment as the API takes it.
type Order struct {
	ID      string    `json:"id,omitempty" maxLength:"100" pattern:"^[A-Za-z0-9._:-]*$" doc:"The orderer's own ID: an order with a known one changes nothing"`
	Node    string    `json:"node,omitempty" maxLength:"200" doc:"Node whose load is limited; without: the whole site"`
	LimitKW float64   `json:"limit_kw" minimum:"0" maximum:"100000000" doc:"Most load of the node, in kW"`
	From    time.Time `json:"from,omitzero" doc:"Start, site time; without: now"`
	Until   time.Time `json:"until,omitzero" doc:"End, site time; or give for_s"`
	ForS    float64   `json:"for_s,omitempty" minimum:"0" doc:"How long from its start, in seconds of site time; or give until"`
	WithinS float64   `json:"within_s,omitempty" minimum:"0" maximum:"86400" doc:"By when the load must be gone, in seconds of site time from its start; without: as soon as may be"`
	By      string    `json:"by,omitempty" maxLength:"200" doc:"Who; without: api"`
	Why     string    `json:"why,omitempty" maxLength:"1000" doc:"Why"`
}

// order resolves what was asked for to instants.
func (o Order) order(now time.Time) (site.CurtailmentOrder, error) {
	out := site.CurtailmentOrder{
		ID: o.ID, Node: o.Node, Limit: sluice.WattsOfKW(o.LimitKW), From: o.From.UTC(), Until: o.Until.UTC(), By: who(o.By), Why: o.Why,
		Within: time.Duration(o.WithinS * float64(time.Second)),
	}
	if o.From.IsZero() {
		out.From = time.Time{} // the site takes it as now
	}
	start := out.From
	if start.Before(now) {
		start = now
	}
	bad := func(text, hint string) (site.CurtailmentOrder, error) {
		return out, newProblem(http.StatusUnprocessableEntity, text, hint)
	}
	switch {
	case (o.ForS > 0) == !o.Until.IsZero():
		return bad("give for_s or until, one of the two", "for_s is in seconds of site time")
	case o.ForS > maxOrder.Seconds() || out.Until.Sub(start) > maxOrder:
		return bad("an order lasts at most 31 days", "lower the node's limit in the configuration")
	case o.ForS > 0:
		begin := start
		if !out.From.IsZero() {
			begin = out.From
		}
		out.For = time.Duration(o.ForS * float64(time.Second)) // from when the site begins it
		out.Until = begin.Add(out.For)
	}
	if !out.Until.After(start) {
		return bad("the order would be over before it begins", "it is "+now.Format(time.RFC3339)+" at the site")
	}
	return out, nil
}

func noOrder(id string) error {
	return newProblem(http.StatusNotFound, "there is no curtailment "+clip(id), "sluice curtail list shows them")
}

func (s *Server) curtailmentRoutes() {
	huma.Register(s.api, operation("curtailments", "GET", "/curtailments", "curtailments", "Orders and how they were obeyed", "The newest first."),
		func(ctx context.Context, in *struct{ Paging }) (*body[Page[site.Curtailment]], error) {
			all, err := s.o.Site.Curtailments(ctx, maxOrders)
			if err != nil {
				return nil, problem(err)
			}
			if in.After != "" {
				i := slices.IndexFunc(all, func(c site.Curtailment) bool { return c.ID == in.After })
				if i < 0 {
					return nil, noOrder(in.After)
				}
				all = all[i+1:]
			}
			return pageOf(all, in.Limit, func(c site.Curtailment) string { return c.ID }), nil
		})

	huma.Register(s.api, operation("curtailment", "GET", "/curtailments/{id}", "curtailments", "One order", "What was ordered, when each kW was confirmed gone, what it cost."),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"100" doc:"ID of the order"`
		},
		) (*body[site.Curtailment], error) {
			all, err := s.o.Site.Curtailments(ctx, maxOrders)
			if err != nil {
				return nil, problem(err)
			}
			i := slices.IndexFunc(all, func(c site.Curtailment) bool { return c.ID == in.ID })
			if i < 0 {
				return nil, noOrder(in.ID)
			}
			return &body[site.Curtailment]{all[i]}, nil
		})

	curtail := operation("curtail", "POST", "/curtailments", "curtailments", "Order a curtailment",
		"Obeyed at once. The same id again gives the order as it stands and changes nothing.")
	curtail.DefaultStatus = http.StatusCreated
	huma.Register(s.api, curtail, func(ctx context.Context, in *struct{ Body Order }) (*body[site.Curtailment], error) {
		o, err := in.Body.order(s.o.Now())
		if err != nil {
			return nil, err
		}
		return answer(s.o.Site.Curtail(ctx, o))
	})

	huma.Register(s.api, operation("previewCurtailment", "POST", "/curtailments/preview", "curtailments", "What an order would do", "Changes nothing."),
		func(ctx context.Context, in *struct{ Body Order }) (*body[site.Preview], error) {
			o, err := in.Body.order(s.o.Now())
			if err != nil {
				return nil, err
			}
			return answer(s.o.Site.PreviewCurtailment(ctx, o))
		})

	huma.Register(s.api, operation("cancelCurtailment", "DELETE", "/curtailments/{id}", "curtailments", "Cancel an order", "What it shed comes back under the ramp."),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"100" doc:"ID of the order"`
			By string `query:"by" maxLength:"200" doc:"Who; without: api"`
		},
		) (*body[site.Curtailment], error) {
			return answer(s.o.Site.CancelCurtailment(ctx, in.ID, who(in.By)))
		})
}
