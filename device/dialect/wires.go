package dialect

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"sluice"
	"sluice/device"
	"sluice/device/cgminer"
	"sluice/device/whatsminer"
)

// whatsminerV2 is MicroBT's older wire: reads are plain, commands encrypted. A
// command's body is its parameters, which the firmware takes as texts only.
type whatsminerV2 struct{ c *whatsminer.V2 }

func newWhatsminerV2(a device.Address) Wire { return whatsminerV2{whatsminer.NewV2(a)} }

func (w whatsminerV2) Call(ctx context.Context, q Request) ([]byte, error) {
	if !q.Write {
		b, err := w.c.Read(ctx, q.Command)
		// Of a machine that is off, older firmware knows no figures: that is an
		// answer, and `status` says the rest.
		var no *device.RefusedError
		if errors.As(err, &no) {
			return json.Marshal(map[string]string{"refused": no.Why})
		}
		if err != nil {
			return nil, err
		}
		return sectioned(b, q.Command)
	}
	params, _ := texts(q.Body).(map[string]any)
	for i, p := range pooled(q.Body, "URL", "User") {
		n := strconv.Itoa(i + 1)
		params["pool"+n], params["worker"+n], params["passwd"+n] = p.url, p.user, poolPassword
	}
	return w.c.Write(ctx, q.Command, params)
}

// sectioned gives a reply its section where newer firmware puts the figures into
// Msg: {"Msg": {…}} of summary becomes {"SUMMARY": [{…}]} too.
func sectioned(b []byte, command string) ([]byte, error) {
	var r map[string]any
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	name := strings.ToUpper(command)
	if _, is := r["Msg"].(map[string]any); !is || r[name] != nil {
		return b, nil
	}
	r[name] = []any{r["Msg"]}
	return json.Marshal(r)
}

// poolPassword stands for those of pools, which the firmware takes and never tells.
// Pools do not look at them.
const poolPassword = "x"

type pooledAt struct{ url, user string }

// pooled returns the first three of a body's pools as the firmware told them, which
// is how many it takes.
func pooled(body any, url, user string) []pooledAt {
	m, _ := body.(map[string]any)
	list, _ := m["pools"].([]any)
	var out []pooledAt
	for _, e := range list {
		f, _ := e.(map[string]any)
		u, _ := f[url].(string)
		who, _ := f[user].(string)
		if u != "" && len(out) < 3 {
			out = append(out, pooledAt{u, who})
		}
	}
	return out
}

// texts turns the figures of an object into texts; anything else stays as it is.
func texts(body any) any {
	m, ok := body.(map[string]any)
	if !ok {
		return body
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		if s, ok := text(v); ok {
			out[k] = s
		}
	}
	return out
}

// whatsminerV3 is MicroBT's newer wire: frames, with a sign on each command. The
// body is the parameter, of any type; within an object the firmware reads texts,
// whatever its manual says.
type whatsminerV3 struct{ c *whatsminer.V3 }

func newWhatsminerV3(a device.Address) Wire { return whatsminerV3{whatsminer.NewV3(a)} }

func (w whatsminerV3) Call(ctx context.Context, q Request) ([]byte, error) {
	if !q.Write {
		return w.c.Read(ctx, q.Command, q.Body)
	}
	var pools []map[string]string
	for _, p := range pooled(q.Body, "url", "account") {
		pools = append(pools, map[string]string{"pool": p.url, "worker": p.user, "passwd": poolPassword})
	}
	if pools != nil {
		return w.c.Write(ctx, q.Command, pools)
	}
	return w.c.Write(ctx, q.Command, texts(q.Body))
}

// avalon is cgminer's protocol with commands that begin at a time of the machine's
// own clock: $soon in a parameter becomes that time, a few seconds from now.
type avalon struct{ api cgminer.Client }

func newAvalon(a device.Address) Wire { return avalon{cgminer.Client{Addr: a.API(cgminer.Port)}} }

// soon is how far ahead a command is put, in seconds: one for a time that is past
// would be taken for done.
const soon = 5

func (w avalon) Call(ctx context.Context, q Request) ([]byte, error) {
	p := q.Parameter
	if strings.Contains(p, "$soon") {
		r, err := w.api.Call(ctx, cgminer.Request{Command: "version"})
		if err != nil {
			return nil, err
		}
		head, _ := r.First("STATUS")
		when, ok := head.Float("When")
		if !ok || when <= 0 || when > 1e11 {
			return nil, sluice.Errorf(sluice.Unavailable, "", "asking %s for %s: the machine does not tell its time", w.api.Addr, q.Command)
		}
		p = strings.ReplaceAll(p, "$soon", strconv.FormatInt(int64(when)+soon, 10))
	}
	r, err := w.api.Call(ctx, cgminer.Request{Command: q.Command, Parameter: p})
	if err != nil {
		return nil, err
	}
	return json.Marshal(r)
}
