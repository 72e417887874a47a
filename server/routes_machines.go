package server

import (
	"context"

	"sluice/site"

	"github.com/danielgtaylor/huma/v2"
)

// MachineName is the machine that a path names.
type MachineName struct {
	Name string `path:"name" maxLength:"200" doc:"Name of the machine"`
}

// PinOrder is a person's hand on a machine, as the API takes it.
type PinOrder struct {
	Mode string `json:"mode" minLength:"1" maxLength:"100" doc:"A mode of the machine's class, or locked for maintenance"`
	By   string `json:"by,omitempty" maxLength:"200" doc:"Who; without: api"`
	Why  string `json:"why" minLength:"1" maxLength:"1000" doc:"Why, for whoever finds the machine so"`
}

func (s *Server) machineRoutes() {
	huma.Register(s.api, operation("machines", "GET", "/machines", "machines", "Miners and hosts", "Those that match, sorted by name."),
		func(_ context.Context, in *struct {
			Paging
			State string `query:"state" doc:"mining, sleeping, stopping, waking, idle, busy, silent, fault or locked"`
			Class string `query:"class" doc:"Its class"`
			Node  string `query:"node" doc:"Its node"`
			Kind  string `query:"kind" enum:"miner,host" doc:"What it is"`
		},
		) (*body[Page[site.Machine]], error) {
			is := func(want, have string) bool { return want == "" || want == have }
			var ms []site.Machine
			for _, m := range s.o.Site.Machines() {
				if m.Name > in.After && is(in.State, m.State) && is(in.Class, m.Class) && is(in.Node, m.Node) && is(in.Kind, string(m.Kind)) {
					if ms = append(ms, m); len(ms) > in.Limit {
						break
					}
				}
			}
			return pageOf(ms, in.Limit, func(m site.Machine) string { return m.Name }), nil
		})

	huma.Register(s.api, operation("machine", "GET", "/machines/{name}", "machines", "One machine", "By its name."),
		func(_ context.Context, in *MachineName) (*body[site.Machine], error) {
			return answer(s.o.Site.Machine(in.Name))
		})

	huma.Register(s.api, operation("pin", "PUT", "/machines/{name}/pin", "machines", "Pin a machine to a mode, or lock it",
		"Nothing else touches the machine until it is released."),
		func(ctx context.Context, in *struct {
			MachineName
			Body PinOrder
		},
		) (*body[site.Machine], error) {
			p := site.Pin{Machine: in.Name, Mode: in.Body.Mode, By: who(in.Body.By), Why: in.Body.Why, At: s.o.Now()}
			if err := s.o.Site.Pin(ctx, p); err != nil {
				return nil, problem(err)
			}
			return answer(s.o.Site.Machine(in.Name))
		})

	release := operation("release", "DELETE", "/machines/{name}/pin", "machines", "Release a machine", "It is dispatched again from the next plan on.")
	huma.Register(s.api, release, func(ctx context.Context, in *struct {
		MachineName
		By string `query:"by" maxLength:"200" doc:"Who; without: api"`
	},
	) (*body[site.Machine], error) {
		if err := s.o.Site.Release(ctx, in.Name, who(in.By)); err != nil {
			return nil, problem(err)
		}
		return answer(s.o.Site.Machine(in.Name))
	})
}

// who names the one who acts: a record without a name helps nobody.
func who(by string) string {
	if by == "" {
		return "api"
	}
	return by
}
