package dialect

import (
	"cmp"
	"slices"
	"strings"

	"sluice"
	"sluice/device"
)

// maxErrors bounds the errors of a report: firmwares keep a log of thousands.
const maxErrors = 32

// report puts together what the replies tell. It does not panic on any replies.
func (d *Dialect) report(root map[string]any) device.Report {
	e, m := env{root: root}, &d.Report
	r := device.Report{
		Vendor:          cmp.Or(m.Vendor.text(e), d.Vendor),
		Model:           m.Model.text(e),
		Firmware:        cmp.Or(m.Firmware.text(e), d.Firmware),
		FirmwareVersion: m.Version.text(e),
		Driver:          d.Name,
	}
	r.Model = model(r.Model, r.Vendor)
	r.Algorithm = algorithmOf(m.Algorithm.text(e), strings.TrimSpace(r.Vendor+" "+r.Model), d.Algorithm)
	for _, s := range m.MAC.texts(e) {
		if r.MAC = device.MAC(s); r.MAC != "" {
			break
		}
	}
	r.ExpectedTHs = m.Expected.number(e, hashrate, 0)
	hint := 0.0
	if r.ExpectedTHs != nil {
		hint = *r.ExpectedTHs
	}
	r.HashrateTHs = m.Hashrate.number(e, hashrate, hint)
	r.PowerW = m.Power.number(e, power, 0)
	r.PowerLimitW = m.PowerLimit.number(e, power, 0)
	if r.PowerW != nil {
		r.PowerSource = cmp.Or(m.PowerSource.text(e), device.PowerEstimate)
	}
	// 0 is what a mining program says that has not begun.
	if r.UptimeS = m.Uptime.number(e, seconds, 0); r.UptimeS != nil && *r.UptimeS <= 0 {
		r.UptimeS = nil
	}
	r.FansRPM = m.Fans.numbers(e, rpm, 0)
	r.Profiles = m.profiles(e)
	r.Boards = m.boards(e, hint)
	r.Pools = m.pools(e)
	r.Errors = m.errors(e)
	r.ChipTempC, r.BoardTempsC = m.temps(e, r.Boards)
	r.Mode = d.mode(e)
	r.Capabilities = d.capabilities(e)
	return r
}

// model leaves the vendor out, as the report has it beside.
func model(s, vendor string) string {
	if vendor != "" && len(s) > len(vendor) && strings.EqualFold(s[:len(vendor)], vendor) {
		if rest := strings.TrimLeft(s[len(vendor):], " -_"); rest != "" {
			return rest
		}
	}
	return s
}

// mode is what the replies tell of the state: a throttle goes before a profile,
// because it lowers it.
func (d *Dialect) mode(e env) string {
	if anyHolds(d.Report.Sleeping, e) {
		return sluice.ModeSleep
	}
	if p := d.throttle(e); p > 0 {
		return percentMode(p)
	}
	return cmp.Or(d.Report.Profile.text(e), sluice.ModeMine)
}

// runs reports whether a device that does not sleep is known to run: a reply that would say that it sleeps is there.
func (d *Dialect) runs(e env) bool {
	return len(d.Report.Sleeping) == 0 || slices.ContainsFunc(d.Report.Sleeping, func(c cond) bool {
		return slices.ContainsFunc(c.paths(), func(p path) bool { return e.root[p.request()] != nil })
	})
}

// throttle returns the per cent that the device says it is held at, 0 without.
func (d *Dialect) throttle(e env) int {
	if p := d.Report.Throttle.number(e, percent, 0); p != nil && *p >= 1 && *p < 100 {
		return int(*p + 0.5)
	}
	return 0
}

func (m *report) temps(e env, bs []device.Board) (chip *float64, board []float64) {
	if xs := m.ChipTemp.numbers(e, temp, 0); len(xs) > 0 {
		x := slices.Max(xs)
		chip = &x
	}
	board = m.BoardTemps.numbers(e, temp, 0)
	given, told := len(board) > 0, chip != nil
	for _, b := range bs {
		if !told && b.ChipTempC != nil && (chip == nil || *b.ChipTempC > *chip) {
			x := *b.ChipTempC
			chip = &x
		}
		if !given && b.BoardTempC != nil {
			board = append(board, *b.BoardTempC)
		}
	}
	return chip, board
}

func (m *report) profiles(e env) []device.Profile {
	var out []device.Profile
	seen := map[string]bool{}
	for _, l := range m.Profiles {
		for _, in := range l.Each.each(e) {
			if !l.If.holds(in) {
				continue
			}
			p := device.Profile{Name: l.Name.text(in), PowerW: l.Power.number(in, power, 0), HashrateTHs: l.Hashrate.number(in, hashrate, 0)}
			if p.Name == "" || seen[p.Name] || p.Name == sluice.ModeSleep || p.Name == sluice.ModeMine {
				continue
			}
			seen[p.Name] = true
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b device.Profile) int { return cmp.Compare(or(a.PowerW), or(b.PowerW)) })
	return out
}

func or(x *float64) float64 {
	if x == nil {
		return 0
	}
	return *x
}

func (m *report) boards(e env, expected float64) []device.Board {
	byIndex := map[int]*device.Board{}
	for _, l := range m.Boards {
		all := l.Each.each(e)
		for _, in := range all {
			if !l.If.holds(in) {
				continue
			}
			i := -1
			if x := l.Index.number(in, count, 0); x != nil {
				i = int(*x)
			} else if l.Index == nil {
				if x, ok := number(in.number(), count, ""); ok && sane(x, count) {
					i = int(x)
				}
			}
			if i < 0 || (byIndex[i] == nil && len(byIndex) >= 64) {
				continue
			}
			b := byIndex[i]
			if b == nil {
				b = &device.Board{Index: i}
				byIndex[i] = b
			}
			l.fill(b, in, expected/float64(len(all)))
		}
	}
	out := make([]device.Board, 0, len(byIndex))
	for _, b := range byIndex {
		out = append(out, *b)
	}
	slices.SortFunc(out, func(a, b device.Board) int { return a.Index - b.Index })
	if len(out) == 0 {
		return nil
	}
	return out
}

func (l *boards) fill(b *device.Board, in env, hint float64) {
	keep := func(to **float64, vs values, q quantity) {
		if x := vs.number(in, q, hint); x != nil {
			*to = x
		}
	}
	keep(&b.ExpectedTHs, l.Expected, hashrate)
	if b.ExpectedTHs != nil {
		hint = *b.ExpectedTHs
	}
	keep(&b.HashrateTHs, l.Hashrate, hashrate)
	keep(&b.PowerW, l.Power, power)
	top := func(to **float64, vs values) {
		if xs := vs.numbers(in, temp, 0); len(xs) > 0 {
			x := slices.Max(xs)
			*to = &x
		}
	}
	top(&b.ChipTempC, l.ChipTemp)
	top(&b.BoardTempC, l.BoardTemp)
	if x := l.Chips.number(in, count, 0); x != nil {
		n := int(*x)
		b.Chips = &n
	}
	if f := l.Active.flag(in); f != nil {
		b.Active = f
	}
	b.Serial = cmp.Or(l.Serial.text(in), b.Serial)
}

func (m *report) pools(e env) []device.Pool {
	var out []device.Pool
	for _, l := range m.Pools {
		for _, in := range l.Each.each(e) {
			url := l.URL.text(in)
			if url == "" || !l.If.holds(in) || len(out) >= 64 {
				continue
			}
			out = append(out, device.Pool{URL: url, User: l.User.text(in), Active: told(l.Active, in), Fee: anyHolds(l.Fee, in)})
		}
	}
	return out
}

// errors are the latest, each once.
func (m *report) errors(e env) []string {
	var out []string
	for _, l := range m.Errors {
		for _, in := range l.Each.each(e) {
			if !l.If.holds(in) {
				continue
			}
			s, code := printable(l.Text.text(in)), printable(l.Code.text(in))
			switch {
			case code != "" && s != "":
				s = code + ": " + s
			case s == "":
				s = code
			}
			if s == "" {
				continue
			}
			if i := slices.Index(out, s); i >= 0 {
				out = slices.Delete(out, i, i+1)
			}
			if out = append(out, s); len(out) > maxErrors {
				out = out[1:]
			}
		}
	}
	return out
}

func (d *Dialect) capabilities(e env) device.Capabilities {
	can := func(name string) bool {
		c := d.Commands[name]
		return c != nil && c.If.holds(e)
	}
	out := device.Capabilities{
		Sleep: can("sleep") && can("wake"), Profiles: can("profile"), PowerLimit: can("power"),
		Throttle: can("throttle"), Pools: can("pools"), Reboot: can("reboot"), Locate: can("locate"),
	}
	for _, name := range []string{device.LaneSleep, device.LaneWake, device.LaneProfile, device.LanePower, device.LaneThrottle, device.LaneHurry} {
		if can(name) {
			if out.Lanes == nil {
				out.Lanes = map[string]device.Lane{}
			}
			out.Lanes[name] = device.Lane{Seconds: d.Commands[name].Seconds, Restarts: d.Commands[name].Restarts}
		}
	}
	return out
}
