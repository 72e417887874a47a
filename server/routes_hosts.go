package server

import (
	"context"
	"net/http"
	"time"

	"sluice"

	"github.com/danielgtaylor/huma/v2"
)

// Hosts are the other machines that run the site's jobs, as the server needs them.
type Hosts interface {
	// List returns them by name.
	List(ctx context.Context) ([]JoinedHost, error)
	// Token makes a token with which a host joins, for the first time within the
	// duration (0: at any time). It is never told again.
	Token(ctx context.Context, host string, within time.Duration, by string) (HostToken, error)
	// Revoke makes all tokens of a host void, cuts its connection, and returns how
	// many tokens those were.
	Revoke(ctx context.Context, host, by string) (int, error)
	// Lost takes the word for it that a host is gone: its runs end at once for the
	// site, and go on elsewhere. It returns how many those were.
	Lost(ctx context.Context, host, by string) (int, error)
}

// JoinedHost is a machine that an agent runs for the site.
type JoinedHost struct {
	Name        string     `json:"name" doc:"Name of the host"`
	State       string     `json:"state" doc:"ready, silent, refused, fault: it answers and takes no jobs, or waiting: no agent has joined yet"`
	Since       *time.Time `json:"since,omitempty" doc:"Since when, wall time"`
	HeardAt     *time.Time `json:"heard_at,omitempty" doc:"Last heartbeat, wall time"`
	Why         string     `json:"why,omitempty" doc:"Why it is in this state"`
	Runs        int        `json:"runs" doc:"Runs that it holds"`
	Pending     int        `json:"pending_events" doc:"Reports that wait on it for the site"`
	Tokens      int        `json:"tokens" doc:"Tokens of it that hold"`
	Address     string     `json:"address,omitempty" doc:"Where it says that it is"`
	Version     string     `json:"version,omitempty" doc:"Version of its agent"`
	CPUs        int        `json:"cpus,omitempty" doc:"CPUs that it says it has"`
	MemoryBytes int64      `json:"memory_bytes,omitempty" doc:"Memory that it says it has"`
	DiskBytes   int64      `json:"disk_bytes,omitempty" doc:"Disk space that was free when it joined"`
	GPUs        int        `json:"gpus,omitempty" doc:"GPUs that it says it has"`
	Executors   []string   `json:"executors,omitempty" doc:"Ways in which it runs jobs"`
	GPUList     []HostGPU  `json:"gpu_list,omitempty" doc:"Each of its GPUs, in the order of its slots"`
	// What it measured last.
	ReadAt          *time.Time `json:"read_at,omitempty" doc:"When it measured what follows, its own wall time"`
	CPUBusy         *float64   `json:"cpu_busy,omitempty" doc:"Share of its CPU time that is spent at work"`
	CPUPowerW       *float64   `json:"cpu_power_w,omitempty" doc:"Power of its processors by their own counters, W"`
	MemoryUsedBytes *float64   `json:"memory_used_bytes,omitempty" doc:"Memory that is not available"`
	DiskFreeBytes   *float64   `json:"disk_free_bytes,omitempty" doc:"Free bytes where it keeps the folders of jobs"`
}

// HostGPU is a GPU of a joined host. What it did not tell is absent.
type HostGPU struct {
	Index           int      `json:"index" doc:"The driver's index"`
	UUID            string   `json:"uuid,omitempty" doc:"The driver's name of it"`
	Model           string   `json:"model" doc:"As job files ask for it"`
	MemoryBytes     int64    `json:"memory_bytes,omitempty" doc:"Its memory"`
	FullLimitW      int      `json:"full_limit_w,omitempty" doc:"Its full power limit, W"`
	PowerW          *float64 `json:"power_w,omitempty" doc:"Its power, W"`
	LimitW          *float64 `json:"limit_w,omitempty" doc:"The power limit in force, W"`
	Busy            *float64 `json:"busy,omitempty" doc:"Share of the time in which a kernel runs"`
	TempC           *float64 `json:"temp_c,omitempty" doc:"Its temperature"`
	MemoryUsedBytes *float64 `json:"memory_used_bytes,omitempty" doc:"Memory in use"`
}

// HostTokenOrder is a token to make.
type HostTokenOrder struct {
	WithinSeconds float64 `json:"within_seconds,omitempty" minimum:"0" maximum:"31536000" doc:"How soon the host must join for the first time; without: a day"`
	By            string  `json:"by,omitempty" maxLength:"200" doc:"Who; without: api"`
}

// HostToken is a token with which a host joins.
type HostToken struct {
	Host  string     `json:"host" doc:"The host that joins with it"`
	Token string     `json:"token" doc:"The token. It is shown this once and stored nowhere"`
	URL   string     `json:"url" doc:"Where the host joins"`
	Until *time.Time `json:"until,omitempty" doc:"By when it must join for the first time, wall time"`
	NATS  string     `json:"nats,omitempty" doc:"With an existing cluster: the user to add to its configuration"`
}

// HostDone is what was done with a host.
type HostDone struct {
	Host   string `json:"host" doc:"The host"`
	Tokens int    `json:"tokens" doc:"Tokens that are void now"`
	Runs   int    `json:"runs" doc:"Runs that count as lost now"`
}

// HostLostOrder is the word that a host is gone.
type HostLostOrder struct {
	By  string `json:"by,omitempty" maxLength:"200" doc:"Who; without: api"`
	Yes bool   `json:"yes" doc:"That the host is off, or its runs were ended by hand: what still ran there would run twice"`
}

// HostName is the host that a path names.
type HostName struct {
	Name string `path:"name" maxLength:"64" doc:"Name of the host"`
}

func (s *Server) hostRoutes() {
	hosts := func() (Hosts, error) {
		if s.o.Hosts == nil {
			return nil, absent("hosts")
		}
		return s.o.Hosts, nil
	}
	huma.Register(s.api, operation("hosts", "GET", "/hosts", "hosts", "Other machines that run jobs", "All of them, sorted by name."),
		func(ctx context.Context, _ *struct{}) (*body[[]JoinedHost], error) {
			h, err := hosts()
			if err != nil {
				return nil, err
			}
			return answer(h.List(ctx))
		})

	token := operation("host-token", "POST", "/hosts/{name}/token", "hosts", "Make a token with which a host joins",
		"It is told once. Only its hash is stored.")
	token.DefaultStatus = http.StatusCreated
	huma.Register(s.api, token, func(ctx context.Context, in *struct {
		HostName
		Body HostTokenOrder
	},
	) (*body[HostToken], error) {
		h, err := hosts()
		if err != nil {
			return nil, err
		}
		within := time.Duration(in.Body.WithinSeconds * float64(time.Second))
		if within == 0 {
			within = 24 * time.Hour
		}
		return answer(h.Token(ctx, in.Name, within, who(in.Body.By)))
	})

	huma.Register(s.api, operation("host-revoke", "DELETE", "/hosts/{name}/token", "hosts", "Revoke a host's tokens",
		"Its connection is cut. What runs there goes on until its lease is over."),
		func(ctx context.Context, in *struct {
			HostName
			By string `query:"by" maxLength:"200" doc:"Who; without: api"`
		},
		) (*body[HostDone], error) {
			h, err := hosts()
			if err != nil {
				return nil, err
			}
			n, err := h.Revoke(ctx, in.Name, who(in.By))
			return answer(HostDone{Host: in.Name, Tokens: n}, err)
		})

	huma.Register(s.api, operation("host-lost", "POST", "/hosts/{name}/lost", "hosts", "Take a host for gone",
		"Its runs count as lost at once and go on elsewhere. Only who knows that nothing of them runs there any more may say so."),
		func(ctx context.Context, in *struct {
			HostName
			Body HostLostOrder
		},
		) (*body[HostDone], error) {
			h, err := hosts()
			if err != nil {
				return nil, err
			}
			if !in.Body.Yes {
				return nil, problem(sluice.Errorf(sluice.Invalid, "say yes when it is off, or its runs were ended by hand", "what still ran on the host would run twice"))
			}
			n, err := h.Lost(ctx, in.Name, who(in.Body.By))
			return answer(HostDone{Host: in.Name, Runs: n}, err)
		})
}
