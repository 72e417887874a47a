package main

import (
	"sluice/config"
	"sluice/device"
	"sluice/device/antminer"
	"sluice/device/dialect"
	"sluice/device/luxos"
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

// minerDriver names the concrete drivers. LuxOS and stock Antminers, which keep
// sessions and whole configurations, have drivers of their own; the rest is data.
func minerDriver(set *dialect.Set, name string, a device.Address) (device.Miner, error) {
	switch name {
	case "antminer":
		return antminer.New(a), nil
	case "luxos":
		return luxos.New(a), nil
	}
	// A port beside the address is the one that the firmware answers at, whichever
	// way it speaks.
	switch {
	case a.WebPort == 0:
		a.WebPort = a.APIPort
	case a.APIPort == 0:
		a.APIPort = a.WebPort
	}
	return set.New(name, a)
}
