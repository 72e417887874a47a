package redfish

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"

	"sluice"
	"sluice/device"
)

// Host is what one management controller manages.
type Host struct {
	c *client

	mu      sync.Mutex
	chassis string // paths, once found
	system  string
}

var (
	_ device.Meter        = (*Host)(nil)
	_ device.Outlet       = (*Host)(nil)
	_ device.PowerLimiter = (*Host)(nil)
)

// New returns the driver for the controller.
func New(o Options) (*Host, error) {
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	return &Host{c: c}, nil
}

// collection is a list of resources.
type collection struct {
	Members []link `json:"Members"`
}

// resource finds the member of a collection that has the ID, or the only one.
func (h *Host) resource(ctx context.Context, list, id, kind string, fits func(path string) (bool, error)) (string, error) {
	if id != "" {
		for _, ch := range id {
			if ch == '/' || ch == '?' || ch == '#' || ch == '%' || ch < ' ' {
				return "", fmt.Errorf("%q is no ID of a %s", id, kind)
			}
		}
		return list + "/" + id, nil
	}
	var c collection
	if _, err := h.c.get(ctx, list, &c); err != nil {
		return "", err
	}
	if len(c.Members) == 0 || len(c.Members) > 200 {
		return "", fmt.Errorf("it lists %d of the kind %s", len(c.Members), kind)
	}
	if fits == nil {
		if len(c.Members) > 1 {
			return "", fmt.Errorf("it has %d systems: name one", len(c.Members))
		}
		return c.Members[0].ID, nil
	}
	for _, m := range c.Members {
		ok, err := fits(m.ID)
		if err != nil && !missing(err) {
			return "", err
		}
		if ok {
			return m.ID, nil
		}
	}
	return "", errors.New("none of its chassis measures its power")
}

// chassisPath finds the chassis, and remembers it.
func (h *Host) chassisPath(ctx context.Context) (string, error) {
	h.mu.Lock()
	p := h.chassis
	h.mu.Unlock()
	if p != "" {
		return p, nil
	}
	p, err := h.resource(ctx, "/redfish/v1/Chassis", h.c.o.Chassis, "chassis", func(path string) (bool, error) {
		w, err := h.watts(ctx, path)
		return err == nil && w.known, err
	})
	if err != nil {
		return "", err
	}
	h.mu.Lock()
	h.chassis = p
	h.mu.Unlock()
	return p, nil
}

// chassisResource is what of a chassis matters here.
type chassisResource struct {
	Environment *link `json:"EnvironmentMetrics"`
	Power       *link `json:"Power"`
}

// sensorValue is a reading within EnvironmentMetrics.
type sensorValue struct {
	Reading *float64 `json:"Reading"`
}

type environment struct {
	PowerWatts *sensorValue `json:"PowerWatts"`
	Limit      *struct {
		SetPoint    *float64 `json:"SetPoint"`
		ControlMode string   `json:"ControlMode"`
	} `json:"PowerLimitWatts"`
}

type powerControl struct {
	Consumed *float64 `json:"PowerConsumedWatts"`
	Limit    *struct {
		LimitInWatts *float64 `json:"LimitInWatts"`
	} `json:"PowerLimit"`
}

type power struct {
	Control []powerControl `json:"PowerControl"`
}

// found is what a chassis tells of its power, and where its limit stands.
type found struct {
	watts float64
	known bool

	limit   float64
	limited bool
	newer   string // path of EnvironmentMetrics, where it has a limit
	older   string // path of Power, where it has PowerControl
	etag    string // of that path
	count   int    // of older's PowerControl
}

// watts reads the power of a chassis: from EnvironmentMetrics where it has that,
// else from the first PowerControl, which stands for the whole of it.
func (h *Host) watts(ctx context.Context, chassis string) (found, error) {
	var f found
	var c chassisResource
	if _, err := h.c.get(ctx, chassis, &c); err != nil {
		return f, err
	}
	if c.Environment != nil {
		var e environment
		etag, err := h.c.get(ctx, c.Environment.ID, &e)
		if err != nil && !missing(err) {
			return f, err
		}
		if err == nil {
			if e.PowerWatts != nil {
				f.watts, f.known = sane(e.PowerWatts.Reading)
			}
			if e.Limit != nil {
				f.newer, f.etag = c.Environment.ID, etag
				if f.limit, f.limited = sane(e.Limit.SetPoint); e.Limit.ControlMode == "Disabled" {
					f.limited = false
				}
			}
		}
	}
	if (f.known && f.newer != "") || c.Power == nil {
		return f, nil
	}
	var p power
	etag, err := h.c.get(ctx, c.Power.ID, &p)
	if err != nil {
		if missing(err) || f.known {
			err = nil
		}
		return f, err
	}
	if len(p.Control) > 0 {
		first := p.Control[0]
		if !f.known {
			f.watts, f.known = sane(first.Consumed)
		}
		if f.newer == "" {
			f.older, f.etag, f.count = c.Power.ID, etag, len(p.Control)
			if first.Limit != nil {
				f.limit, f.limited = sane(first.Limit.LimitInWatts)
			}
		}
	}
	return f, nil
}

// sane takes a figure of watts that can be one.
func sane(x *float64) (float64, bool) {
	if x == nil || !(*x >= 0 && *x <= 1e7) {
		return 0, false
	}
	return *x, true
}

// Read returns what the chassis draws, with SourceDevice: its own power supplies
// measure it.
func (h *Host) Read(ctx context.Context) (sluice.Reading, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	p, err := h.chassisPath(ctx)
	if err != nil {
		return sluice.Reading{}, h.fail("reading the power", err)
	}
	f, err := h.watts(ctx, p)
	if err == nil && !f.known {
		err = errors.New("the chassis does not tell its power now")
	}
	if err != nil {
		return sluice.Reading{}, h.fail("reading the power", err)
	}
	return sluice.Reading{Power: sluice.Watts(math.Round(f.watts)), HasPower: true, PowerSource: sluice.SourceDevice}, nil
}

// PowerLimit returns the limit in force.
func (h *Host) PowerLimit(ctx context.Context) (limit sluice.Watts, set bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	f, err := h.limits(ctx)
	if err != nil {
		return 0, false, h.fail("reading the power limit", err)
	}
	return sluice.Watts(math.Round(f.limit)), f.limited, nil
}

func (h *Host) limits(ctx context.Context) (found, error) {
	p, err := h.chassisPath(ctx)
	if err != nil {
		return found{}, err
	}
	return h.watts(ctx, p)
}

// SetPowerLimit sets the limit of the chassis, or lifts it with 0.
func (h *Host) SetPowerLimit(ctx context.Context, limit sluice.Watts) (sluice.Outcome, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	const doing = "setting the power limit"
	if limit < 0 || limit > 10_000_000 {
		return sluice.Refused, h.fail(doing, &device.RefusedError{Why: fmt.Sprintf("%d W is no limit", limit)})
	}
	f, err := h.limits(ctx)
	if err != nil {
		return sluice.Unknown, h.fail(doing, err)
	}
	if f.limited == (limit > 0) && (limit == 0 || sluice.Watts(math.Round(f.limit)) == limit) && (f.newer != "" || f.older != "") {
		return sluice.Accepted, nil
	}
	ref := f.newer
	var body any
	switch {
	case f.newer != "" && limit > 0:
		body = map[string]any{"PowerLimitWatts": map[string]any{"SetPoint": int64(limit), "ControlMode": "Automatic"}}
	case f.newer != "":
		body = map[string]any{"PowerLimitWatts": map[string]any{"ControlMode": "Disabled"}}
	case f.older != "":
		// A list is patched item by item: an empty object leaves one as it is.
		var w any
		if limit > 0 {
			w = int64(limit)
		}
		items := make([]any, f.count)
		for i := range items {
			items[i] = struct{}{}
		}
		items[0] = map[string]any{"PowerLimit": map[string]any{"LimitInWatts": w}}
		ref, body = f.older, map[string]any{"PowerControl": items}
	default:
		return sluice.Refused, h.fail(doing, &device.RefusedError{Why: "the chassis has no power limit"})
	}
	if _, err := h.c.do(ctx, http.MethodPatch, ref, body, f.etag, nil); err != nil {
		o, err := outcome(err)
		return o, h.fail(doing, err)
	}
	return sluice.Accepted, nil
}

// systemResource is what of a computer system matters here.
type systemResource struct {
	PowerState string
	Actions    struct {
		Reset struct {
			Target  string   `json:"target"`
			Allowed []string `json:"ResetType@Redfish.AllowableValues"`
		} `json:"#ComputerSystem.Reset"`
	}
}

// readSystem reads the system, and remembers where it is.
func (h *Host) readSystem(ctx context.Context) (systemResource, error) {
	var s systemResource
	h.mu.Lock()
	p := h.system
	h.mu.Unlock()
	if p == "" {
		var err error
		if p, err = h.resource(ctx, "/redfish/v1/Systems", h.c.o.System, "system", nil); err != nil {
			return s, err
		}
	}
	if _, err := h.c.get(ctx, p, &s); err != nil {
		return s, err
	}
	h.mu.Lock()
	h.system = p
	h.mu.Unlock()
	return s, nil
}

// State tells whether the system is powered.
func (h *Host) State(ctx context.Context) (on, known bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	s, err := h.readSystem(ctx)
	if err != nil {
		return false, false, h.fail("reading the power state", err)
	}
	return s.PowerState == "On", s.PowerState == "On" || s.PowerState == "Off", nil
}

// Switch presses the system's power button: what runs on it is asked to end where
// the system can (GracefulShutdown), else it is cut off.
func (h *Host) Switch(ctx context.Context, on bool) (sluice.Outcome, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	const doing = "switching the system"
	s, err := h.readSystem(ctx)
	if err != nil {
		return sluice.Unknown, h.fail(doing, err)
	}
	if want := map[bool]string{true: "On", false: "Off"}[on]; s.PowerState == want {
		return sluice.Accepted, nil
	}
	wants := []string{"GracefulShutdown", "ForceOff"}
	if on {
		wants = []string{"On", "ForceOn"}
	}
	target := s.Actions.Reset.Target
	if target == "" {
		return sluice.Refused, h.fail(doing, &device.RefusedError{Why: "the system has no reset"})
	}
	how := wants[0]
	if allowed := s.Actions.Reset.Allowed; len(allowed) > 0 {
		i := slices.IndexFunc(wants, func(w string) bool { return slices.Contains(allowed, w) })
		if i < 0 {
			return sluice.Refused, h.fail(doing, &device.RefusedError{Why: fmt.Sprintf("the system can do %.200q, none of %q", allowed, wants)})
		}
		how = wants[i]
	}
	if _, err := h.c.do(ctx, http.MethodPost, target, map[string]string{"ResetType": how}, "", nil); err != nil {
		o, err := outcome(err)
		return o, h.fail(doing, err)
	}
	return sluice.Accepted, nil
}

func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}

func (h *Host) fail(doing string, err error) error {
	return &sluice.Error{Kind: sluice.Unavailable, Msg: doing + " of the host at " + h.c.base, Cause: err}
}
