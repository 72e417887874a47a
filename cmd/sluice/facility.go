package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"sluice"
	"sluice/broker"
	"sluice/config"
	"sluice/device"
	"sluice/device/modbus"
	"sluice/device/mqtt"
	"sluice/device/nut"
	"sluice/device/redfish"
	"sluice/device/snmp"
	"sluice/site"
)

// facility holds the drivers of the devices of a configuration, by their names.
type facility struct {
	c       *config.Config
	meters  map[string]device.Meter // all of a device
	sensors map[string]device.Sensor
	outlets map[string]device.Outlet // devices that are one outlet themselves
	limits  map[string]device.PowerLimiter
	pdus    map[string]*snmp.PDU
	brokers map[string]*broker.Conn
}

// newFacility makes the drivers. Only brokers are connected to, in the background;
// close ends that.
func newFacility(c *config.Config) (*facility, error) {
	f := &facility{
		c: c, meters: map[string]device.Meter{}, sensors: map[string]device.Sensor{}, outlets: map[string]device.Outlet{},
		limits: map[string]device.PowerLimiter{}, pdus: map[string]*snmp.PDU{}, brokers: map[string]*broker.Conn{},
	}
	for _, d := range c.Devices {
		if err := f.add(d); err != nil {
			f.close()
			return nil, fmt.Errorf("device %s: %w", d.Name, err)
		}
	}
	return f, nil
}

func (f *facility) close() {
	for _, b := range f.brokers {
		b.Close()
	}
}

// add names the concrete drivers of devices.
func (f *facility) add(d config.Device) error {
	password, err := d.Password.Reveal()
	if err != nil {
		return err
	}
	a, err := facilityAddress(d)
	if err != nil {
		return err
	}
	a.User, a.Password = d.User, password
	known := device.TLS{CAFile: d.CAFile, Fingerprint: d.Fingerprint, Insecure: d.TLS == "insecure"}
	var secure *device.TLS
	if d.Encrypted() {
		secure = &known
	}
	switch d.Driver {
	case "modbus":
		m, err := modbus.LoadMap(d.Map)
		if err != nil {
			return err
		}
		meter := modbus.NewMapped(a, uint8(d.Unit), m, d.Scale)
		f.meters[d.Name], f.sensors[d.Name] = meter, meter
	case "snmp":
		return f.addPDU(d, a)
	case "redfish":
		h, err := redfish.New(redfish.Options{Address: a, TLS: known, Plain: !d.Encrypted(), Session: d.Session == "yes", Chassis: d.Chassis, System: d.System})
		if err != nil {
			return err
		}
		f.meters[d.Name], f.outlets[d.Name] = device.Slow(h, 5*time.Second, 30*time.Second, redfish.DefaultTimeout, time.Now), h
		f.limits[d.Name] = h
	case "mqtt":
		o := broker.Options{Address: a, TLS: secure}
		if d.Name == f.c.Publish.Device {
			o.Online = f.c.Publish.Prefix + "/online"
		}
		b, err := broker.Dial(o)
		if err != nil {
			return err
		}
		f.brokers[d.Name] = b
	case "nut":
		u, err := nut.New(nut.Options{Address: a, UPS: d.UPS, TLS: secure})
		if err != nil {
			return err
		}
		f.meters[d.Name], f.sensors[d.Name] = u, u
	default:
		return sluice.Errorf(sluice.Invalid, "", "no device is of driver %q", d.Driver)
	}
	return nil
}

func (f *facility) addPDU(d config.Device, a device.Address) error {
	m, err := snmp.LoadMap(d.Map)
	if err != nil {
		return err
	}
	community, cerr := d.Community.Reveal()
	key, kerr := d.PrivacyKey.Reveal()
	if err := errors.Join(cerr, kerr); err != nil {
		return err
	}
	p, err := snmp.New(snmp.Options{Address: a, Map: m, Module: d.Module, Community: community, Auth: d.Auth, Privacy: d.Privacy, PrivacyKey: key})
	if err != nil {
		return err
	}
	f.pdus[d.Name], f.meters[d.Name] = p, p
	return nil
}

// facilityAddress takes host or host:port apart.
func facilityAddress(d config.Device) (device.Address, error) {
	if !strings.Contains(d.Address, ":") || net.ParseIP(d.Address) != nil {
		return device.Address{Host: d.Address}, nil // the driver's own port
	}
	a, err := splitAddress(d.Address)
	if err == nil && d.Driver == "redfish" {
		a.APIPort, a.WebPort = 0, a.APIPort
	}
	return a, err
}

// meter makes the driver of one entry of meters.
func (f *facility) meter(m config.Meter) (device.Meter, error) {
	if m.Device == "" {
		a, err := splitAddress(m.Address)
		if err != nil {
			return nil, err
		}
		if m.Map == "" && m.Scale == 1 {
			return modbus.New(a, uint8(m.Unit), uint16(m.Register)), nil
		}
		if m.Map == "" {
			return nil, sluice.Errorf(sluice.Invalid, "give the meter's map, such as eastron-sdm630", "the meter of the node %s has a scale and no map", m.Node)
		}
		regs, err := modbus.LoadMap(m.Map)
		if err != nil {
			return nil, err
		}
		return modbus.NewMapped(a, uint8(m.Unit), regs, m.Scale), nil
	}
	if p := f.pdus[m.Device]; p != nil && m.Outlet > 0 {
		return p.Outlet(m.Outlet), nil
	}
	if b := f.brokers[m.Device]; b != nil {
		return mqtt.New(b, mqtt.Options{Topic: m.Topic, Path: m.Path, Unit: m.In, Scale: m.Scale})
	}
	x := f.meters[m.Device]
	if x == nil {
		return nil, sluice.Errorf(sluice.Invalid, "", "the device %s of the meter of %s measures no power", m.Device, m.Node)
	}
	return x, nil
}

// sensorSpecs makes the sensors.
func (f *facility) sensorSpecs() ([]site.SensorSpec, error) {
	var out []site.SensorSpec
	for _, s := range f.c.Sensors {
		x := f.sensors[s.Device]
		if b := f.brokers[s.Device]; b != nil {
			v, err := mqtt.New(b, mqtt.Options{Topic: s.Topic, Path: s.Path, Quantity: device.Quantity(s.Quantity), Unit: s.In, Scale: s.Scale})
			if err != nil {
				return nil, fmt.Errorf("sensor %s: %w", s.Name, err)
			}
			x = v
		}
		if x == nil {
			return nil, sluice.Errorf(sluice.Invalid, "", "the device %s of the sensor %s tells nothing", s.Device, s.Name)
		}
		out = append(out, site.SensorSpec{Name: s.Name, Node: s.Node, Device: x})
	}
	return out, nil
}

// outlet makes the driver of what a machine is plugged into; nil where ref is
// empty.
func (f *facility) outlet(ref string) (device.Outlet, error) {
	if ref == "" {
		return nil, nil
	}
	name, n, err := config.OutletOf(ref)
	if err != nil {
		return nil, err
	}
	if p := f.pdus[name]; p != nil && n > 0 {
		return p.Outlet(n), nil
	}
	if o := f.outlets[name]; o != nil {
		return o, nil
	}
	return nil, sluice.Errorf(sluice.Invalid, "", "there is no outlet %s", ref)
}

// checkMaps reads the maps that a configuration names, for their mistakes.
func checkMaps(c *config.Config) error {
	var errs []error
	for _, m := range c.Meters {
		if m.Map != "" {
			_, err := modbus.LoadMap(m.Map)
			errs = append(errs, err)
		}
	}
	for _, d := range c.Devices {
		var err error
		switch d.Driver {
		case "modbus":
			_, err = modbus.LoadMap(d.Map)
		case "snmp":
			_, err = snmp.LoadMap(d.Map)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
