package sim

import "sluice"

// Dialects that virtual miners speak.
const (
	Antminer     = "antminer" // Bitmain's stock firmware
	LuxOS        = "luxos"
	WhatsminerV2 = "whatsminer-v2"
	WhatsminerV3 = "whatsminer-v3"
	VNish        = "vnish"
	Braiins      = "braiins" // Braiins OS with its REST interface
	Avalon       = "avalon"
)

// dialects are all of them.
var dialects = []string{Antminer, LuxOS, WhatsminerV2, WhatsminerV3, VNish, Braiins, Avalon}

// Credentials of the virtual miners: as their firmwares are delivered.
var users = map[string]string{Antminer: "root", LuxOS: "root", WhatsminerV3: "super", Braiins: "root"}

var passwords = map[string]string{
	Antminer: "root", LuxOS: "root", WhatsminerV2: "admin", WhatsminerV3: "super", VNish: "admin", Braiins: "root",
}

func (m *machine) user() string { return users[m.spec.Dialect] }

func (m *machine) password() string { return passwords[m.spec.Dialect] }

// SleepPower is what a sleeping machine draws: its control board and fans. It
// is LuxOS's figure (hashrateindex.com, firmware features), taken for the other
// firmwares too, of which no figure is known.
const SleepPower sluice.Watts = 25

// Model is a kind of virtual miner with its operating points.
type Model struct {
	Name    string
	Dialect string
	Modes   []sluice.Mode // sleep, then by rising power
	Default string        // the mode it mines in by itself
	Source  string        // of the figures
}

// Models returns the models with real figures of power and hashrate. All
// recordings named asic-rs are of github.com/256foundation/asic-rs at fdcd101,
// those named proto-fleet of github.com/block/proto-fleet at 2dc174b.
func Models() []Model {
	return []Model{
		{
			Name: "Antminer S19K Pro", Dialect: LuxOS, Default: "default",
			Modes: modes("215MHz", 879, 44.4, "290MHz", 1188, 59.8, "390MHz", 1657, 80.5,
				"465MHz", 2052, 96.0, "540MHz", 2485, 111.5, "default", 2794, 121.8),
			Source: "profiles that a machine with LuxOS 2025.4.8 reports (asic-rs, luxminer profiles.json)",
		},
		{
			Name: "Antminer S19 XP", Dialect: LuxOS, Default: "482MHz",
			Modes: modes("272MHz", 1700, 80.0, "337MHz", 2200, 100.0, "407MHz", 2700, 120.0,
				"482MHz", 3350, 142.0),
			Source: "presets that a machine reports (asic-rs, epic capabilities.json)",
		},
		{
			Name: "Antminer S21 Pro", Dialect: LuxOS, Default: "3520W",
			Modes: modes("2550W", 2550, 170, "2800W", 2800, 188, "3160W", 3160, 212,
				"3520W", 3520, 236),
			Source: "presets that a machine reports (proto-fleet, antminer-vnish autotune presets)",
		},
		{
			Name: "Antminer S19j Pro", Dialect: Antminer, Default: sluice.ModeMine,
			Modes:  modes(sluice.ModeMine, 3068, 104),
			Source: "nameplate 104T (nhamilton1/asics-tools)",
		},
		{
			Name: "Antminer S19 Pro", Dialect: Antminer, Default: sluice.ModeMine,
			Modes:  modes(sluice.ModeMine, 3250, 110),
			Source: "nameplate 110T (nhamilton1/asics-tools)",
		},
		{
			Name: "Antminer S21", Dialect: Antminer, Default: sluice.ModeMine,
			Modes:  modes(sluice.ModeMine, 3500, 200),
			Source: "nameplate 200T (public third-party catalogue)",
		},
	}
}

// FieldModels are Models and those of the other dialects: the mixture that a site has.
// A mode whose name is a percentage is a throttle: that share of the default's power
// and hashrate.
func FieldModels() []Model {
	return append(Models(),
		Model{
			Name: "Whatsminer M50S", Dialect: WhatsminerV2, Default: "normal",
			Modes:  modes("70%", 2293, 89.6, "normal", 3276, 128),
			Source: "nameplate 128T (public catalogue)",
		},
		Model{
			Name: "Whatsminer M60S", Dialect: WhatsminerV3, Default: "normal",
			Modes:  modes("70%", 2409, 130.2, "normal", 3441, 186),
			Source: "nameplate 186T (public catalogue)",
		},
		Model{
			Name: "Antminer S21 Pro", Dialect: VNish, Default: "3520",
			Modes:  modes("2550", 2550, 170, "2800", 2800, 188, "3160", 3160, 212, "3520", 3520, 236),
			Source: "presets that a machine reports (proto-fleet, antminer-vnish autotune presets)",
		},
		Model{
			Name: "Antminer S19 XP", Dialect: Braiins, Default: sluice.ModeMine,
			Modes:  modes("2431W", 2472, 120.95, sluice.ModeMine, 3137, 142.4),
			Source: "measured at its targets of 2431 and 3031 W (asic-rs, braiins miner_stats.json of v25_11 and v25_07)",
		},
		Model{
			Name: "Avalon A1566", Dialect: Avalon, Default: sluice.ModeMine,
			Modes:  modes(sluice.ModeMine, 3420, 185),
			Source: "nameplate 185T (public catalogue)",
		},
	)
}

// modes reads triples of name, watts and TH/s, and puts sleep before them.
func modes(triples ...any) []sluice.Mode {
	out := []sluice.Mode{{Name: sluice.ModeSleep, Power: SleepPower}}
	for i := 0; i+2 < len(triples); i += 3 {
		out = append(out, sluice.Mode{
			Name:     triples[i].(string),
			Power:    sluice.Watts(triples[i+1].(int)),
			HashRate: sluice.HashRate(float(triples[i+2])),
		})
	}
	return out
}

func float(v any) float64 {
	if i, ok := v.(int); ok {
		return float64(i)
	}
	return v.(float64)
}
