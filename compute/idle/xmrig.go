package idle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"sluice"
)

// XMRig speaks xmrig's HTTP API, which is also that of its forks. To be controlled
// it must run with `"restricted": false` and a token.
type XMRig struct {
	api   *api
	token string
}

// NewXMRig returns the miner at the address; the token may be empty.
func NewXMRig(base, token string) (*XMRig, error) {
	a, err := newAPI("xmrig", base)
	if err != nil {
		return nil, err
	}
	return &XMRig{a, token}, nil
}

func (x *XMRig) header() http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	if x.token != "" {
		h.Set("Authorization", "Bearer "+x.token)
	}
	return h
}

// Status reads the summary. xmrig tells nothing of single GPUs there.
func (x *XMRig) Status(ctx context.Context) (Status, error) {
	b, err := x.api.call(ctx, http.MethodGet, "/2/summary", nil, x.header(), nil)
	var s errStatus
	if errors.As(err, &s) && s == http.StatusNotFound { // before version 5
		b, err = x.api.call(ctx, http.MethodGet, "/1/summary", nil, x.header(), nil)
	}
	if err != nil {
		return Status{}, err
	}
	return ParseXMRig(b)
}

// ParseXMRig reads a summary.
func ParseXMRig(b []byte) (Status, error) {
	var in struct {
		Version  string  `json:"version"`
		Algo     string  `json:"algo"`
		Paused   bool    `json:"paused"`
		Uptime   float64 `json:"uptime"`
		Hashrate *struct {
			Total []*float64 `json:"total"` // H/s over 10 s, 60 s, 15 min
		} `json:"hashrate"`
	}
	if err := decode("xmrig's summary", b, &in); err != nil {
		return Status{}, err
	}
	if in.Hashrate == nil {
		return Status{}, sluice.Errorf(sluice.Unavailable, "is it the API of this program?", "xmrig's summary has no hashrate")
	}
	mhs, err := rate(first(in.Hashrate.Total), 1)
	if err != nil {
		return Status{}, sluice.Errorf(sluice.Unavailable, "", "xmrig's summary: %v", err)
	}
	return Status{Software: "xmrig " + clean(in.Version), Algorithm: clean(in.Algo), Paused: in.Paused, MHs: mhs, Uptime: max(0, in.Uptime)}, nil
}

// rpc calls a method of its JSON-RPC.
func (x *XMRig) rpc(ctx context.Context, method string) error {
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method})
	if err != nil {
		return fmt.Errorf("xmrig, %s: %w", method, err)
	}
	b, err = x.api.call(ctx, http.MethodPost, "/json_rpc", nil, x.header(), b)
	if err != nil {
		return err
	}
	var out struct {
		Error *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := decode("xmrig's answer", b, &out); err != nil {
		return err
	}
	if out.Error != nil {
		return sluice.Errorf(sluice.Unavailable, "", "xmrig refused to %s: %s", method, clean(out.Error.Message))
	}
	return nil
}

// Pause stops hashing.
func (x *XMRig) Pause(ctx context.Context) error { return x.rpc(ctx, "pause") }

// Resume goes on, also after Leave.
func (x *XMRig) Resume(ctx context.Context) error {
	return errors.Join(x.rpc(ctx, "start"), x.rpc(ctx, "resume"))
}

// Leave stops its backends, which frees what they had of the GPUs.
func (x *XMRig) Leave(ctx context.Context) error { return x.rpc(ctx, "stop") }
