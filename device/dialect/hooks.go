package dialect

import (
	"sluice/device"
	"sluice/device/antminer"
	"sluice/device/luxos"
)

// hooks are the drivers in Go that a dialect hands reading of states and
// writing to, where order or state matters more than data can say.
var hooks = map[string]func(device.Address) device.Miner{
	"luxos":    func(a device.Address) device.Miner { return luxos.New(a) },
	"antminer": func(a device.Address) device.Miner { return antminer.New(a) },
}

// wires are the transports in Go that a request names by via:.
var wires = map[string]func(device.Address) Wire{
	"whatsminer-v2": newWhatsminerV2,
	"whatsminer-v3": newWhatsminerV3,
	"avalon":        newAvalon,
}
