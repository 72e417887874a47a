package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"sluice/site"

	"github.com/danielgtaylor/huma/v2"
)

// Page is one page of a list.
type Page[T any] struct {
	Items []T    `json:"items" nullable:"false" doc:"The page"`
	Next  string `json:"next" doc:"Hand it back as after for the next page; empty at the end"`
}

// body wraps what an operation answers with.
type body[T any] struct{ Body T }

func answer[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, problem(err)
	}
	return &body[T]{v}, nil
}

// Paging is what every list takes. Like the other parts of inputs it is exported
// because huma reads embedded fields of exported types only.
type Paging struct {
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Most items of a page"`
	After string `query:"after" maxLength:"200" doc:"The next of the page before"`
}

// number reads After where the list is ordered by a number; 0 without.
func (p Paging) number() (int64, error) {
	if p.After == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(p.After, 10, 64)
	if err != nil || n <= 0 {
		return 0, newProblem(http.StatusUnprocessableEntity, "after is not the next of a page of this list", "")
	}
	return n, nil
}

// pageOf cuts items, of which one more than the limit was fetched, to a page.
func pageOf[T any](items []T, limit int, key func(T) string) *body[Page[T]] {
	p := Page[T]{Items: items}
	if len(items) > limit {
		p.Items = items[:limit]
		p.Next = key(p.Items[limit-1])
	}
	if p.Items == nil {
		p.Items = []T{}
	}
	return &body[Page[T]]{p}
}

func (s *Server) siteRoutes() {
	huma.Register(s.api, operation("status", "GET", "/site", "site", "The site at a glance",
		"Load by use against the limit, prices, margin, machines and jobs by state, feeds, open alarms, orders and the merit order."),
		func(_ context.Context, _ *struct{}) (*body[site.Status], error) {
			return &body[site.Status]{s.o.Site.Status()}, nil
		})

	huma.Register(s.api, operation("decisions", "GET", "/decisions", "site", "What was decided, and why",
		"The newest first. Each move has its reason in money."),
		func(ctx context.Context, in *struct{ Paging }) (*body[Page[site.Decision]], error) {
			before, err := in.number()
			if err != nil {
				return nil, err
			}
			ds, err := s.o.Site.Decisions(ctx, before, in.Limit+1)
			if err != nil {
				return nil, problem(err)
			}
			return pageOf(ds, in.Limit, func(d site.Decision) string { return strconv.FormatInt(d.ID, 10) }), nil
		})

	huma.Register(s.api, operation("decision", "GET", "/decisions/{id}", "site", "One decision", "By its number."),
		func(ctx context.Context, in *struct {
			ID int64 `path:"id" minimum:"1" maximum:"9007199254740991" doc:"Number of the decision"`
		},
		) (*body[site.Decision], error) {
			return answer(s.o.Site.Decision(ctx, in.ID))
		})

	huma.Register(s.api, operation("alarms", "GET", "/alarms", "site", "What a person should know",
		"The open alarms, or with all those that are over as well; the newest first."),
		func(ctx context.Context, in *struct {
			Paging
			All bool `query:"all" doc:"Those that are over as well"`
		},
		) (*body[Page[site.Alarm]], error) {
			before, err := in.number()
			if err != nil {
				return nil, err
			}
			as, err := s.o.Site.Alarms(ctx, in.All, before, in.Limit+1)
			if err != nil {
				return nil, problem(err)
			}
			return pageOf(as, in.Limit, func(a site.Alarm) string { return strconv.FormatInt(a.ID, 10) }), nil
		})

	huma.Register(s.api, operation("history", "GET", "/history", "site", "The site over time",
		"Samples of [from, to), oldest first, thinned to about so many points. Without from: the 24 hours before to. Without to: until now."),
		func(ctx context.Context, in *struct {
			From   time.Time `query:"from" doc:"Start, site time"`
			To     time.Time `query:"to" doc:"End, site time"`
			Points int       `query:"points" minimum:"2" maximum:"5000" default:"600" doc:"About how many samples"`
		},
		) (*body[Page[site.Sample]], error) {
			if in.To.IsZero() {
				in.To = s.o.Now()
			}
			if in.From.IsZero() {
				in.From = in.To.Add(-24 * time.Hour)
			}
			if !in.From.Before(in.To) {
				return nil, newProblem(http.StatusUnprocessableEntity, "from must be before to", "")
			}
			hs, err := s.o.Site.History(ctx, in.From.UTC(), in.To.UTC(), in.Points)
			if err != nil {
				return nil, problem(err)
			}
			return pageOf(hs, len(hs), func(site.Sample) string { return "" }), nil
		})
}
