package idle

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"sluice"
)

// TRex speaks T-Rex's HTTP API.
type TRex struct {
	api      *api
	password string
}

// NewTRex returns the miner at the address. The password is that of its --api-key;
// it may be empty.
func NewTRex(base, password string) (*TRex, error) {
	a, err := newAPI("T-Rex", base)
	if err != nil {
		return nil, err
	}
	return &TRex{a, password}, nil
}

// session runs calls with a session where a password is set. Sessions are few: each
// is given back.
func (x *TRex) session(ctx context.Context, path string, query url.Values) ([]byte, error) {
	if query == nil {
		query = url.Values{}
	}
	if x.password != "" {
		b, err := x.api.call(ctx, http.MethodGet, "/login", url.Values{"password": {x.password}}, nil, nil)
		if err != nil {
			return nil, err
		}
		var in struct {
			SID     string `json:"sid"`
			Success int    `json:"success"`
		}
		if err := decode("T-Rex's login", b, &in); err != nil {
			return nil, err
		}
		if in.Success != 1 || in.SID == "" {
			return nil, sluice.Errorf(sluice.Unavailable, "give the password of its --api-key in token_file", "T-Rex refused the password")
		}
		query.Set("sid", in.SID)
		defer func() {
			// It ends by itself otherwise.
			_, _ = x.api.call(context.WithoutCancel(ctx), http.MethodGet, "/logout", url.Values{"sid": {in.SID}}, nil, nil)
		}()
	}
	return x.api.call(ctx, http.MethodGet, path, query, nil, nil)
}

// Status reads the summary.
func (x *TRex) Status(ctx context.Context) (Status, error) {
	b, err := x.session(ctx, "/summary", nil)
	if err != nil {
		return Status{}, err
	}
	return ParseTRex(b)
}

// ParseTRex reads a summary.
func ParseTRex(b []byte) (Status, error) {
	var in struct {
		Version   string   `json:"version"`
		Algorithm string   `json:"algorithm"`
		Paused    bool     `json:"paused"`
		Uptime    float64  `json:"uptime"`
		Hashrate  *float64 `json:"hashrate"` // H/s
		GPUs      []struct {
			ID       int     `json:"gpu_id"`
			DeviceID int     `json:"device_id"`
			Bus      *int    `json:"pci_bus"`
			Hashrate float64 `json:"hashrate"`
			Power    float64 `json:"power"`
			Paused   bool    `json:"paused"`
			Disabled bool    `json:"disabled"`
		} `json:"gpus"`
	}
	if err := decode("T-Rex's summary", b, &in); err != nil {
		return Status{}, err
	}
	if in.Hashrate == nil || len(in.GPUs) > maxCards {
		return Status{}, sluice.Errorf(sluice.Unavailable, "is it the API of this program?", "T-Rex's summary has no hashrate, or too many GPUs")
	}
	mhs, err := rate(*in.Hashrate, 1)
	if err != nil {
		return Status{}, sluice.Errorf(sluice.Unavailable, "", "T-Rex's summary: %v", err)
	}
	s := Status{Software: "T-Rex " + clean(in.Version), Algorithm: clean(in.Algorithm), MHs: mhs, Uptime: max(0, in.Uptime)}
	all := len(in.GPUs) > 0
	for _, g := range in.GPUs {
		c := Card{Index: max(g.ID, g.DeviceID), PCIBus: -1, PowerW: watts(g.Power), Paused: g.Paused || g.Disabled}
		if g.Bus != nil {
			c.PCIBus = *g.Bus
		}
		if c.MHs, err = rate(g.Hashrate, 1); err != nil {
			return Status{}, sluice.Errorf(sluice.Unavailable, "", "T-Rex's summary: %v", err)
		}
		all = all && c.Paused
		s.GPUs = append(s.GPUs, c)
	}
	s.Paused = in.Paused || all
	return s, nil
}

func (x *TRex) control(ctx context.Context, key, value string) error {
	b, err := x.session(ctx, "/control", url.Values{key: {value}})
	if err != nil {
		return err
	}
	var out struct {
		Success *int   `json:"success"`
		Error   string `json:"error"`
	}
	// Some versions answer with a page.
	if err := decode("", b, &out); err == nil && out.Success != nil && *out.Success == 0 {
		return sluice.Errorf(sluice.Unavailable, "is its API read-only?", "T-Rex refused %s=%s: %s", key, value, clean(out.Error))
	}
	return nil
}

// Pause stops hashing.
func (x *TRex) Pause(ctx context.Context) error { return x.control(ctx, "pause", "true") }

// Resume goes on.
func (x *TRex) Resume(ctx context.Context) error { return x.control(ctx, "pause", "false") }

// Leave ends the program: paused, it keeps its memory of the GPUs.
func (x *TRex) Leave(ctx context.Context) error {
	err := x.control(ctx, "command", "shutdown")
	if errors.Is(err, context.Canceled) || ctx.Err() != nil {
		return err
	}
	var s errStatus
	if errors.As(err, &s) {
		return err
	}
	return nil // it may end before it answers
}
