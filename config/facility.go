package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Device is something of the facility that is asked for values or switched: a
// PDU, a server's management controller, a UPS, a meter, an MQTT broker. Meters,
// sensors, machines and feeds refer to it by its name.
type Device struct {
	Name        string  `yaml:"name"`
	Driver      string  `yaml:"driver"`  // modbus, snmp, redfish, mqtt, nut
	Address     string  `yaml:"address"` // host or host:port
	User        string  `yaml:"user"`
	Password    Secret  `yaml:"password"`
	TLS         string  `yaml:"tls"`         // verify, insecure, off; empty: verify where it is the driver's rule, or one of the two below is given
	CAFile      string  `yaml:"ca_file"`     // absolute after Load
	Fingerprint string  `yaml:"fingerprint"` // SHA-256 of its certificate
	Map         string  `yaml:"map"`         // modbus, snmp: a name, or a file's path, absolute after Load
	Unit        int     `yaml:"unit"`        // modbus
	Scale       float64 `yaml:"scale"`       // modbus
	Community   Secret  `yaml:"community"`   // snmp version 2c
	Auth        string  `yaml:"auth"`        // snmp version 3
	Privacy     string  `yaml:"privacy"`
	PrivacyKey  Secret  `yaml:"privacy_key"`
	Module      int     `yaml:"module"`  // snmp: -1: the map's own
	Session     string  `yaml:"session"` // redfish: yes or no
	Chassis     string  `yaml:"chassis"`
	System      string  `yaml:"system"`
	UPS         string  `yaml:"ups"` // nut
}

// Sensor is something that tells values by which nothing is controlled.
type Sensor struct {
	Name     string  `yaml:"name"`
	Node     string  `yaml:"node"`
	Device   string  `yaml:"device"`
	Topic    string  `yaml:"topic"` // mqtt
	Path     string  `yaml:"path"`
	Quantity string  `yaml:"quantity"`
	In       string  `yaml:"in"`
	Scale    float64 `yaml:"scale"`
}

// Publish says where the site's readings are told.
type Publish struct {
	Device string   `yaml:"device"` // of driver mqtt; empty: nowhere
	Prefix string   `yaml:"prefix"` // of the topics
	Every  Duration `yaml:"every"`
}

// facilityDriver says which fields mean something to a driver of devices, beyond
// name, driver, address, and what it can be used for.
type facilityDriver struct {
	takes, needs                   []string
	meters, sensors, outlets, talk bool
}

var facilityDrivers = map[string]facilityDriver{
	"modbus":  {takes: []string{"map", "unit", "scale"}, needs: []string{"map"}, meters: true, sensors: true},
	"snmp":    {takes: []string{"map", "module", "community", "user", "password", "auth", "privacy", "privacy_key"}, needs: []string{"map"}, meters: true, outlets: true},
	"redfish": {takes: []string{"user", "password", "tls", "ca_file", "fingerprint", "session", "chassis", "system"}, meters: true, outlets: true},
	"mqtt":    {takes: []string{"user", "password", "tls", "ca_file", "fingerprint"}, meters: true, sensors: true, talk: true},
	"nut":     {takes: []string{"ups", "user", "password", "tls", "ca_file", "fingerprint"}, needs: []string{"ups"}, meters: true, sensors: true},
}

// facilityTyped are the fields that only some drivers take.
var facilityTyped = []string{
	"user", "password", "tls", "ca_file", "fingerprint", "map", "unit", "scale", "community", "auth", "privacy", "privacy_key", "module", "session", "chassis", "system", "ups",
}

// quantities of sensors, as package device has them.
var sensorQuantities = []string{
	"power", "apparent_power", "reactive_power", "energy", "voltage", "current", "frequency", "pf", "temperature", "humidity", "charge", "runtime", "load",
}

// FindDevice returns the device of the name.
func (c *Config) FindDevice(name string) (Device, bool) {
	i := slices.IndexFunc(c.Devices, func(x Device) bool { return x.Name == name })
	if i < 0 || name == "" {
		return Device{}, false
	}
	return c.Devices[i], true
}

// OutletOf takes a reference to an outlet apart: the device's name, and the
// number after a slash, 0 without one.
func OutletOf(ref string) (device string, n int, err error) {
	device, num, numbered := strings.Cut(ref, "/")
	if numbered {
		if n, err = strconv.Atoi(num); err != nil || n < 1 || n > 10_000 {
			return "", 0, &wrong{msg: fmt.Sprintf("%q is not DEVICE/NUMBER", ref)}
		}
	}
	return device, n, nil
}

// nextOutlet is the outlet of the i-th machine of a range that begins at ref.
func nextOutlet(ref string, i int) string {
	device, n, err := OutletOf(ref)
	if err != nil || n == 0 {
		return ref
	}
	return fmt.Sprintf("%s/%d", device, n+i)
}

// checkFacility finds what does not fit together among devices and what refers to
// them.
func (d *decoder) checkFacility(c *Config, nodes []string) {
	d.names("devices", len(c.Devices), func(i int) string { return c.Devices[i].Name })
	d.names("sensors", len(c.Sensors), func(i int) string { return c.Sensors[i].Name })
	for i, x := range c.Devices {
		d.checkDevice(fmt.Sprintf("devices[%d]", i), x)
	}
	for i, m := range c.Meters {
		d.checkMeter(c, fmt.Sprintf("meters[%d]", i), m)
	}
	for i, s := range c.Sensors {
		p := fmt.Sprintf("sensors[%d]", i)
		d.ref(p+".node", "node", s.Node, nodes)
		if x, ok := d.device(c, p+".device", s.Device, "tells nothing to a sensor", func(f facilityDriver) bool { return f.sensors }); ok {
			d.checkTopic(p, x, s.Topic, s.Quantity, "topic", "path", "quantity", "in", "scale")
		}
	}
	d.checkOutlets(c)
	for i, f := range c.Feeds {
		if f.Type == "mqtt" && f.Device != "" {
			d.device(c, fmt.Sprintf("feeds[%d].device", i), f.Device, "is no MQTT broker", func(f facilityDriver) bool { return f.talk })
			d.ref(fmt.Sprintf("feeds[%d].node", i), "node", f.Node, nodes)
		}
	}
	if c.Publish.Device != "" {
		d.device(c, "publish.device", c.Publish.Device, "is no MQTT broker", func(f facilityDriver) bool { return f.talk })
	}
	if strings.ContainsAny(c.Publish.Prefix, "#+\x00") {
		d.bad("publish.prefix", "", "publish.prefix: a topic has no # and no + in it")
	}
}

// device finds what a reference leads to, and that it can be used so.
func (d *decoder) device(c *Config, path, name, cannot string, can func(facilityDriver) bool) (Device, bool) {
	var names []string
	for _, x := range c.Devices {
		names = append(names, x.Name)
	}
	d.ref(path, "device", name, names)
	x, ok := c.FindDevice(name)
	if !ok {
		return x, false
	}
	if f, known := facilityDrivers[x.Driver]; known && !can(f) {
		d.bad(path, "", "%s: the device %s, of driver %s, %s", path, name, x.Driver, cannot)
		return x, false
	}
	return x, true
}

func (d *decoder) checkDevice(p string, x Device) {
	f, ok := facilityDrivers[x.Driver]
	if !ok {
		return // reported as not one of the drivers
	}
	for _, key := range facilityTyped {
		if d.has(p+"."+key) && !slices.Contains(f.takes, key) {
			d.bad(p+"."+key, "", "%s.%s means nothing to a device of driver %s, which takes %s", p, key, x.Driver, strings.Join(f.takes, ", "))
		}
	}
	for _, key := range f.needs {
		if !d.has(p+"."+key) && !d.broken[p+"."+key] {
			d.bad(p+"."+key, "", "the field %q in %s is missing; a device of driver %s needs it", key, p, x.Driver)
		}
	}
	if strings.Contains(x.Address, ":") && net.ParseIP(x.Address) == nil {
		if _, port, err := net.SplitHostPort(x.Address); err != nil || !validPort(port) {
			d.bad(p+".address", "", "%s.address: %q is not host or host:port", p, x.Address)
		}
	}
	for key, s := range map[string]Secret{"password": x.Password, "community": x.Community, "privacy_key": x.PrivacyKey} {
		if s.clear() && s != "public" {
			d.warn(p+"."+key, "the %s of the device %s stands in this file; write env:NAME or file:PATH instead", key, x.Name)
		}
	}
	if x.Driver == "snmp" && (x.User == "") == (x.Community == "") {
		d.bad(p+".driver", "", "a device of driver snmp takes community (version 2c), or user and password (version 3)")
	}
	known := 0
	for _, set := range []bool{x.CAFile != "", x.Fingerprint != "", x.TLS == "insecure" || x.TLS == "off"} {
		if set {
			known++
		}
	}
	if known > 1 {
		d.bad(p+".tls", "", "%s: a certificate is known by one thing: ca_file, fingerprint, or not at all", p)
	}
	switch {
	case x.TLS == "insecure":
		d.warn(p+".tls", "the certificate of the device %s is not looked at: whoever stands in between is not noticed", x.Name)
	case x.User != "" && !x.Encrypted() && (x.Driver == "mqtt" || x.Driver == "nut" || x.Driver == "redfish"):
		d.warn(p+".user", "the password of the device %s goes over the network as it is; set tls", x.Name)
	}
}

// Encrypted says whether the connection to the device is to be encrypted.
func (x Device) Encrypted() bool {
	switch x.TLS {
	case "off":
		return false
	case "":
		return x.Driver == "redfish" || x.CAFile != "" || x.Fingerprint != ""
	}
	return true
}

func (d *decoder) checkMeter(c *Config, p string, m Meter) {
	if m.Device == "" {
		if !d.has(p+".address") && !d.broken[p+".address"] {
			d.bad(p+".address", "", "the field \"address\" in %s is missing; a meter has an address, or a device", p)
		}
		for _, key := range []string{"outlet", "topic", "path", "in"} {
			if d.has(p + "." + key) {
				d.bad(p+"."+key, "", "%s.%s means nothing without a device", p, key)
			}
		}
		if m.Map != "" && d.has(p+".register") {
			d.bad(p+".register", "", "%s.register: the map says where the power stands", p)
		}
		return
	}
	for _, key := range []string{"address", "unit", "register", "map", "driver"} {
		if d.has(p + "." + key) {
			d.bad(p+"."+key, "", "%s.%s is the device's: leave it out here", p, key)
		}
	}
	x, ok := d.device(c, p+".device", m.Device, "measures no power", func(f facilityDriver) bool { return f.meters })
	if !ok {
		return
	}
	d.checkTopic(p, x, m.Topic, "power", "topic", "path", "in")
	if m.Scale != 1 && x.Driver != "mqtt" && d.has(p+".scale") {
		d.bad(p+".scale", "", "%s.scale means nothing to a device of driver %s here", p, x.Driver)
	}
	if m.Outlet != 0 && x.Driver != "snmp" {
		d.bad(p+".outlet", "", "%s.outlet: only a device of driver snmp has numbered outlets", p)
	}
}

// checkTopic holds the fields of a topic to a broker, and the other way round.
func (d *decoder) checkTopic(p string, x Device, topic, quantity string, keys ...string) {
	if x.Driver == "mqtt" {
		switch {
		case topic == "" && !d.broken[p+".topic"]:
			d.bad(p+".topic", "", "the field \"topic\" in %s is missing; a value of an MQTT broker has one", p)
		case strings.ContainsAny(topic, "#+\x00"):
			d.bad(p+".topic", "", "%s.topic: one topic, not a pattern with # or +", p)
		}
		if quantity == "" {
			d.bad(p+".quantity", "", "the field \"quantity\" in %s is missing: it says what the topic measures", p)
		}
		return
	}
	for _, key := range keys {
		if d.has(p + "." + key) {
			d.bad(p+"."+key, "", "%s.%s means nothing to a device of driver %s", p, key, x.Driver)
		}
	}
}

// checkOutlets finds outlets that are not there, or that two machines share.
func (d *decoder) checkOutlets(c *Config) {
	taken := map[string]string{}
	for i, m := range c.Machines {
		if m.Outlet == "" {
			continue
		}
		p := fmt.Sprintf("machines[%d].outlet", i)
		name, n, err := OutletOf(m.Outlet)
		if err != nil {
			d.bad(p, "", "%s: %s", p, asWrong(err).msg)
			continue
		}
		x, ok := d.device(c, p, name, "has no outlets", func(f facilityDriver) bool { return f.outlets })
		if !ok {
			continue
		}
		if (x.Driver == "snmp") != (n > 0) {
			d.bad(p, "", "%s: write DEVICE/NUMBER for an outlet of a PDU, DEVICE alone for a host's own switch", p)
			continue
		}
		ms, err := m.expand()
		if err != nil {
			continue // reported
		}
		for _, y := range ms {
			if other, twice := taken[y.Outlet]; twice {
				d.bad(p, "", "%s: the machines %s and %s have the same outlet %s", p, other, y.Name, y.Outlet)
				break
			}
			taken[y.Outlet] = y.Name
		}
	}
}
