package main

import (
	"sluice/config"
	"sluice/device"
	"sluice/device/dialect"
)

// loadConfig reads a configuration, and the operator's own firmwares that its
// machines may speak.
func loadConfig(file string) (*config.Config, error) {
	c, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	set, err := dialect.Load(c.Dialects)
	if err != nil {
		return nil, err
	}
	if err := checkMaps(c); err != nil {
		return nil, err
	}
	return c, c.CheckDrivers(set.Names())
}

// minerDriver is the driver of a machine's firmware: data, with Go behind it where order
// or state matters.
func minerDriver(set *dialect.Set, name string, a device.Address) (device.Miner, error) {
	switch {
	case name == "antminer" || name == "luxos": // they answer at both ports, in two ways
	// A port beside the address is the one that the firmware answers at, whichever
	// way it speaks.
	case a.WebPort == 0:
		a.WebPort = a.APIPort
	case a.APIPort == 0:
		a.APIPort = a.WebPort
	}
	return set.New(name, a)
}
