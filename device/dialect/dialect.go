package dialect

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Dialect is one file: how a family of firmwares is recognised, read and
// commanded. docs/writing-a-driver.md describes the keys.
type Dialect struct {
	Name      string `yaml:"name"`     // as `driver:` takes it
	Vendor    string `yaml:"vendor"`   // of the hardware, where the device does not say
	Firmware  string `yaml:"firmware"` // as people call it
	Versions  string `yaml:"versions"` // for people: the range that it is known to fit
	Algorithm string `yaml:"algorithm"`
	Hook      string `yaml:"hook"` // the Go driver that reads states and writes, instead of commands

	Ports       ports               `yaml:"ports"`
	Auth        auth                `yaml:"auth"`
	Requests    map[string]*request `yaml:"requests"`
	Fingerprint []mark              `yaml:"fingerprint"`
	Reading     []string            `yaml:"reading"` // the requests that a Read asks; without it, all
	Report      report              `yaml:"report"`
	Refusal     []refusal           `yaml:"refusal"` // what else than an error status is a no
	Commands    map[string]*command `yaml:"commands"`

	file string
}

type ports struct {
	API []int `yaml:"api"` // the cgminer-like TCP API, or that of a wire in Go
	Web []int `yaml:"web"`
	TLS bool  `yaml:"tls"` // the web port speaks TLS, with a certificate that nobody signed
}

type auth struct {
	Kind     string   `yaml:"kind"` // none, basic, digest, bearer, token, body
	User     string   `yaml:"user"` // where the address has none
	Password string   `yaml:"password"`
	Login    *request `yaml:"login"`  // bearer: what yields the token
	Token    string   `yaml:"token"`  // bearer: its key, or path of keys, in the reply
	Header   string   `yaml:"header"` // bearer, token: Authorization
	Prefix   string   `yaml:"prefix"` // before the token
}

var authKinds = []string{"", "none", "basic", "digest", "bearer", "token", "body"}

// request is one exchange: a command of the TCP API, or an HTTP method with a
// path.
type request struct {
	Command   string `yaml:"command"`
	Parameter string `yaml:"parameter"`
	NewAPI    bool   `yaml:"new_api"`
	Get       string `yaml:"get"`
	Post      string `yaml:"post"`
	Put       string `yaml:"put"`
	Patch     string `yaml:"patch"`
	Delete    string `yaml:"delete"`
	Body      any    `yaml:"body"`
	Via       string `yaml:"via"`      // a wire in Go, by its name
	Form      string `yaml:"form"`     // json (as without it), brackets: KEY[value] in texts become objects, text: the reply is one text
	Optional  bool   `yaml:"optional"` // a device may do without
	Once      bool   `yaml:"once"`     // never changes while the device runs
	Need      cond   `yaml:"if"`       // asked only where this holds of the other replies
	// Else is asked instead where the firmware has no such path (404, 405, 501).
	Else *request `yaml:"else"`
	at   place
}

func (r *request) put(at place) { r.at = at }

// method returns the HTTP method and path, "" for a command.
func (r *request) method() (method, path string) {
	for _, m := range []struct{ name, path string }{
		{"GET", r.Get},
		{"POST", r.Post},
		{"PUT", r.Put},
		{"PATCH", r.Patch},
		{"DELETE", r.Delete},
	} {
		if m.path != "" {
			return m.name, m.path
		}
	}
	return "", ""
}

// mark is one way to recognise a dialect.
type mark struct {
	Request string `yaml:"request"`
	Where   []cond `yaml:"where"` // all of them
	Rank    int    `yaml:"rank"`  // of two dialects that fit, the higher one is taken
	at      place
}

func (m *mark) put(at place) { m.at = at }

// report says where each part of a device.Report is found.
type report struct {
	Vendor      values     `yaml:"vendor"`
	Model       values     `yaml:"model"`
	Firmware    values     `yaml:"firmware"`
	Version     values     `yaml:"firmware_version"`
	Algorithm   values     `yaml:"algorithm"`
	MAC         values     `yaml:"mac"`
	Hashrate    values     `yaml:"hashrate"`
	Recent      values     `yaml:"recent_hashrate"` // for polling, where it is over a shorter span than the report's
	Expected    values     `yaml:"expected"`
	Power       values     `yaml:"power"`
	PowerSource values     `yaml:"power_source"`
	PowerLimit  values     `yaml:"power_limit"`
	ChosenPower values     `yaml:"chosen_power"` // the owner's limit, where the firmware may go below it by itself
	Throttle    values     `yaml:"throttle"`     // per cent of full power
	Sleeping    []cond     `yaml:"sleeping"`     // any of them
	Profile     values     `yaml:"profile"`
	Chosen      values     `yaml:"chosen_profile"` // the owner's, where the firmware may run another for a while
	Profiles    []profiles `yaml:"profiles"`
	ChipTemp    values     `yaml:"chip_temp"`
	BoardTemps  values     `yaml:"board_temps"`
	Fans        values     `yaml:"fans"`
	Boards      []boards   `yaml:"boards"`
	Pools       []pools    `yaml:"pools"`
	Uptime      values     `yaml:"uptime"`
	Errors      []errs     `yaml:"errors"`
}

type profiles struct {
	Each     path   `yaml:"each"`
	If       cond   `yaml:"if"`
	Name     values `yaml:"name"`
	Power    values `yaml:"power"`
	Hashrate values `yaml:"hashrate"`
}

// boards of several lists are put together by their index.
type boards struct {
	Each      path   `yaml:"each"`
	If        cond   `yaml:"if"`
	Index     values `yaml:"index"` // else the number at the end of the key
	Active    values `yaml:"active"`
	Hashrate  values `yaml:"hashrate"`
	Expected  values `yaml:"expected"`
	Power     values `yaml:"power"`
	Chips     values `yaml:"chips"`
	ChipTemp  values `yaml:"chip_temp"`
	BoardTemp values `yaml:"board_temp"`
	Serial    values `yaml:"serial"`
}

type pools struct {
	Each   path   `yaml:"each"`
	If     cond   `yaml:"if"`
	URL    values `yaml:"url"`
	User   values `yaml:"user"`
	Active []cond `yaml:"active"` // any of them
	Fee    []cond `yaml:"fee"`    // any of them: the firmware maker's own pool
}

type errs struct {
	Each path   `yaml:"each"`
	If   cond   `yaml:"if"`
	Code values `yaml:"code"`
	Text values `yaml:"text"`
}

// refusal is a reply with a good status that says no.
type refusal struct {
	If  cond   `yaml:"if"`
	Why values `yaml:"why"`
}

// command is what one target takes.
type command struct {
	If       cond    `yaml:"if"`       // this very device can do it
	Seconds  float64 `yaml:"seconds"`  // until power has moved
	Restarts bool    `yaml:"restarts"` // hashing starts anew
	Min      float64 `yaml:"min"`      // power, throttle: the least that is taken
	Max      float64 `yaml:"max"`
	Keep     path    `yaml:"keep"` // pools, hurry: what is kept before a change, and given back as {pools}, {kept…}
	Lost     []cond  `yaml:"lost"` // pools: they are gone (any of these)
	Steps    []step  `yaml:"steps"`
	at       place
}

func (c *command) put(at place) { c.at = at }

// step is one request of a command, sent where its condition holds. The reply
// of the step before is found under reply.
type step struct{ request }

var commandNames = []string{"sleep", "wake", "profile", "power", "throttle", "hurry", "ease", "pools", "reboot", "locate"}

// ambient are the names at the head of a path that are no request: the reply to
// the step before, and what a command is about.
var ambient = []string{"reply", "profile", "watts", "percent", "on", "kept"}

// needs returns the requests that the paths name.
func needs(ps ...path) []string {
	var out []string
	for _, p := range ps {
		if r := p.request(); r != "" && !slices.Contains(ambient, r) && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

func (vs values) needs() []string {
	var ps []path
	for _, v := range vs {
		ps = append(ps, v.Path, v.UnitAt, v.Over)
		ps = append(ps, v.If.paths()...)
	}
	return needs(ps...)
}

// check notes what is wrong with the whole, after each part could be read.
func (d *Dialect) check(dec *decoder, n ast.Node) {
	at := spot(n)
	if d.Name == "" {
		dec.badAt(at, "name: is what the configuration's driver: takes", "the dialect has no name")
	}
	if d.Hook != "" && hooks[d.Hook] == nil {
		dec.badAt(at, "", "there is no hook %q", d.Hook)
	}
	if !slices.Contains(authKinds, d.Auth.Kind) {
		dec.badAt(at, "one of none, basic, digest, bearer, token, body", "there is no auth kind %q", d.Auth.Kind)
	}
	if d.Auth.Kind == "bearer" && d.Auth.Login == nil {
		dec.badAt(at, "give auth.login", "bearer authentication needs a request that yields the token")
	}
	if d.Auth.Login != nil {
		d.Auth.Login.check(dec)
	}
	for name, r := range d.Requests {
		if slices.Contains(ambient, name) {
			dec.badAt(r.at, "", "a request cannot be named %s: within a command that is something else", name)
		}
		r.check(dec)
	}
	if len(d.Requests) == 0 {
		dec.badAt(at, "requests: {summary: {get: /summary}}", "the dialect asks nothing")
	}
	for _, m := range d.Fingerprint {
		if d.Requests[m.Request] == nil {
			dec.badAt(m.at, "name one of requests:", "the fingerprint is of a request %q that is not there", m.Request)
		}
		if len(m.Where) == 0 {
			dec.badAt(m.at, "give where:", "a fingerprint without a condition fits every device")
		}
	}
	for _, r := range d.Reading {
		if d.Requests[r] == nil {
			dec.badAt(at, "name one of requests:", "reading names a request %q that is not there", r)
		}
	}
	for name, c := range d.Commands {
		if !slices.Contains(commandNames, name) {
			dec.badAt(c.at, "one of "+strings.Join(commandNames, ", "), "there is no command %q", name)
		}
		if len(c.Steps) == 0 && d.Hook == "" {
			dec.badAt(c.at, "give steps:", "the command %s does nothing", name)
		}
		for i := range c.Steps {
			c.Steps[i].check(dec)
		}
	}
	if (d.Commands["sleep"] == nil) != (d.Commands["wake"] == nil) {
		dec.badAt(at, "give both", "a machine that can be put to sleep must be woken, and the reverse")
	}
	if (d.Commands["hurry"] == nil) != (d.Commands["ease"] == nil) {
		dec.badAt(at, "give both, and keep: in hurry", "a setting that is changed for a sleep that hurries must be put back, and the reverse")
	}
	for _, p := range dec.paths {
		if r := p.request(); r != "" && !slices.Contains(ambient, r) && d.Requests[r] == nil {
			dec.badAt(p.at, "a path begins with the name of a request, or with a dot within a list", "there is no request %q", r)
		}
	}
}

func (r *request) check(dec *decoder) {
	ways := 0
	for _, s := range []string{r.Command, r.Get, r.Post, r.Put, r.Patch, r.Delete} {
		if s != "" {
			ways++
		}
	}
	if ways != 1 {
		dec.badAt(r.at, "give one of command, get, post, put, patch, delete", "a request is one exchange, this has %d", ways)
	}
	if _, p := r.method(); p != "" && p[0] != '/' {
		dec.badAt(r.at, "write /"+p, "the path %q does not begin with a slash", p)
	}
	if r.Else != nil {
		r.Else.check(dec)
	}
	if r.Via != "" && wires[r.Via] == nil {
		dec.badAt(r.at, "", "there is no wire %q", r.Via)
	}
	if !slices.Contains([]string{"", "json", "brackets", "text"}, r.Form) {
		dec.badAt(r.at, "one of json, brackets, text", "there is no form %q", r.Form)
	}
}
