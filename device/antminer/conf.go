package antminer

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"

	"sluice"
	"sluice/device"
	"sluice/device/cgminer"
)

// The configuration's keys of the mode. Firmwares report one or both of them
// and obey either the first or the second, so both are written.
const (
	keyMiner = "miner-mode"
	keyWork  = "bitmain-work-mode"
)

// Modes of the firmware: 0 normal, 1 sleep, 2 high, 3 low.
const (
	workNormal = "0"
	workSleep  = "1"
)

// conf is the machine's configuration. Values stay raw, so that what Sluice
// does not understand goes back as it came.
type conf map[string]json.RawMessage

func parseConf(b []byte) (conf, error) {
	b = bytes.Trim(b, "\x00 \t\r\n")
	var c conf
	if err := json.Unmarshal(b, &c); err != nil || c == nil {
		// A quirk of the wire is mended; what stays broken is never posted back.
		if _, perr := cgminer.Parse(b); perr != nil {
			return nil, perr
		}
		if err := json.Unmarshal(cgminer.Mend(b), &c); err != nil || c == nil {
			return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "the configuration is not a JSON object", Cause: err}
		}
	}
	return c, nil
}

func (v *visit) conf(ctx context.Context) (conf, error) {
	b, err := v.do(ctx, http.MethodGet, "/cgi-bin/get_miner_conf.cgi", nil)
	if err != nil {
		return nil, err
	}
	c, err := parseConf(b)
	if err != nil {
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "reading the configuration of " + v.addr, Cause: err}
	}
	return c, nil
}

// mode returns the firmware's mode as a digit, or "" where it is not known.
// Where both keys stand and differ, miner-mode is what newer firmware obeys.
func (c conf) mode() string {
	for _, key := range []string{keyMiner, keyWork} {
		if m := digit(c[key]); m != "" {
			return m
		}
	}
	return ""
}

// digit reads 1 and "1".
func digit(raw json.RawMessage) string {
	s := strings.Trim(string(raw), `" `)
	if len(s) == 1 && s[0] >= '0' && s[0] <= '9' {
		return s
	}
	return ""
}

func (c conf) canSleep() bool {
	_, a := c[keyMiner]
	_, b := c[keyWork]
	return a || b
}

// hasPool reports whether any pool has a URL.
func (c conf) hasPool() bool {
	var pools []struct {
		URL string `json:"url"`
	}
	_ = json.Unmarshal(c["pools"], &pools)
	for _, p := range pools {
		if p.URL != "" {
			return true
		}
	}
	return false
}

// with returns a copy that asks for the mode. The CGI takes the chips' speed
// under another name than it reports it, and falls back to 100 % without it.
func (c conf) with(mode string) conf {
	out := maps.Clone(c)
	out[keyMiner], out[keyWork] = json.RawMessage(mode), json.RawMessage(mode)
	if level, ok := c["bitmain-freq-level"]; ok && c["freq-level"] == nil {
		out["freq-level"] = level
	}
	return out
}

// restored returns the current configuration with what was lost of the prior
// one put back: pools that are gone (poolsLost) and keys that are missing. What
// somebody else changed in the meantime stays theirs.
func (c conf) restored(prior conf) (out conf, poolsLost bool) {
	out = maps.Clone(prior)
	maps.Copy(out, c)
	if poolsLost = !c.hasPool() && prior.hasPool(); poolsLost {
		out["pools"] = prior["pools"]
	}
	return out, poolsLost
}

func (v *visit) post(ctx context.Context, c conf) error {
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	b, err := v.do(ctx, http.MethodPost, "/cgi-bin/set_miner_conf.cgi", body)
	if err != nil {
		return err
	}
	var r struct{ Stats, Code, Msg string }
	if err := json.Unmarshal(bytes.Trim(b, "\x00 \t\r\n"), &r); err != nil {
		return &sluice.Error{Kind: sluice.Unavailable, Msg: "setting the configuration of " + v.addr + ": the reply is not understood", Cause: err}
	}
	if strings.EqualFold(r.Stats, "success") {
		return nil
	}
	why := strings.TrimSpace(r.Msg + " " + r.Code)
	if why == "" {
		why = "no reason given"
	}
	return &sluice.Error{Kind: sluice.Conflict, Msg: "setting the configuration of " + v.addr, Cause: &device.RefusedError{Why: why}}
}
