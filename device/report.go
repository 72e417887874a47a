package device

import (
	"context"
	"net"
	"strconv"

	"sluice"
)

// Report is all that a device tells of itself, in one form for all vendors. What
// is not known is absent (nil, empty), never zero. Its JSON is what `sluice device
// scan` and `probe` print, and is stable.
type Report struct {
	Address         string `json:"address"`
	Vendor          string `json:"vendor,omitempty"` // of the hardware: Antminer, Whatsminer, …
	Model           string `json:"model,omitempty"`  // as the vendor writes it, without the vendor: S21 Pro
	Firmware        string `json:"firmware,omitempty"`
	FirmwareVersion string `json:"firmware_version,omitempty"`
	Algorithm       string `json:"algorithm,omitempty"` // sha256d, scrypt, x11, randomx, …
	MAC             string `json:"mac,omitempty"`       // 02:34:98:9e:9f:e1

	HashrateTHs *float64  `json:"hashrate_ths,omitempty"` // over the shortest span that the device tells
	ExpectedTHs *float64  `json:"expected_ths,omitempty"` // that the device says it should reach as it is set
	PowerW      *float64  `json:"power_w,omitempty"`      // at the plug
	PowerSource string    `json:"power_source,omitempty"` // PowerPSU, PowerEstimate, PowerNameplate
	PowerLimitW *float64  `json:"power_limit_w,omitempty"`
	Mode        string    `json:"mode,omitempty"` // sleep, or the profile's name, or mine
	Profiles    []Profile `json:"profiles,omitempty"`

	ChipTempC   *float64  `json:"chip_temp_c,omitempty"` // the hottest chip
	BoardTempsC []float64 `json:"board_temps_c,omitempty"`
	FansRPM     []float64 `json:"fans_rpm,omitempty"`
	Boards      []Board   `json:"boards,omitempty"`
	Pools       []Pool    `json:"pools,omitempty"`
	UptimeS     *float64  `json:"uptime_s,omitempty"`
	Errors      []string  `json:"errors,omitempty"` // each as "code: text" where there is a code

	Capabilities Capabilities `json:"capabilities"`

	// Driver is the dialect that read it: the name that `driver:` takes in the
	// configuration.
	Driver string `json:"driver,omitempty"`
}

// Profile is an operating point that the firmware offers.
type Profile struct {
	Name        string   `json:"name"`
	PowerW      *float64 `json:"power_w,omitempty"`
	HashrateTHs *float64 `json:"hashrate_ths,omitempty"`
}

// Board is one hashboard.
type Board struct {
	Index       int      `json:"index"`
	Active      *bool    `json:"active,omitempty"`
	HashrateTHs *float64 `json:"hashrate_ths,omitempty"`
	ExpectedTHs *float64 `json:"expected_ths,omitempty"`
	PowerW      *float64 `json:"power_w,omitempty"`
	Chips       *int     `json:"chips,omitempty"`
	ChipTempC   *float64 `json:"chip_temp_c,omitempty"`  // its hottest chip
	BoardTempC  *float64 `json:"board_temp_c,omitempty"` // its hottest sensor on the board
	Serial      string   `json:"serial,omitempty"`
}

// Pool is one pool of the device's list.
type Pool struct {
	URL    string `json:"url"`
	User   string `json:"user,omitempty"`
	Active *bool  `json:"active,omitempty"`
	Fee    bool   `json:"fee"` // the firmware maker's own, not the owner's
}

// Capabilities says what a driver can ask of this very device.
type Capabilities struct {
	Sleep      bool `json:"sleep"`       // and wake
	Profiles   bool `json:"profiles"`    // set one by its name
	PowerLimit bool `json:"power_limit"` // set watts
	Throttle   bool `json:"throttle"`    // set a percentage without a restart
	Pools      bool `json:"pools"`
	Reboot     bool `json:"reboot"`
	Locate     bool `json:"locate"`

	// Lanes says how soon power has moved after each kind of command by the
	// dialect's own figures, in seconds, and whether hashing restarts; by the
	// names sleep, wake, profile, power, throttle and hurry.
	Lanes map[string]Lane `json:"lanes,omitempty"`
}

// Lane is one way to change a device's power.
type Lane struct {
	Seconds  float64 `json:"seconds"`  // until power has moved
	Restarts bool    `json:"restarts"` // hashing starts anew
}

// Where a Report's power comes from.
const (
	PowerPSU       = "psu"             // measured by the power supply
	PowerEstimate  = "device-estimate" // computed by the firmware
	PowerNameplate = "nameplate"       // of the model, not of this device
)

// The lanes of Capabilities.
const (
	LaneSleep    = "sleep"
	LaneWake     = "wake"
	LaneProfile  = "profile"
	LanePower    = "power"
	LaneThrottle = "throttle"
	LaneHurry    = "hurry" // to sleep, sooner than the owner has it set: see Hurrier
)

// Reporter is a device that can tell all of itself. A part that the device does
// not give, or gives in a form that cannot be read, is absent; an error means
// that nothing could be told.
type Reporter interface {
	Report(ctx context.Context) (Report, error)
}

// Target is what a mode asks of a machine.
type Target struct {
	Lane    string       // LaneSleep, LaneWake (as it was before), LaneProfile, LanePower, LaneThrottle
	Profile string       // LaneProfile: the firmware's name of it
	Power   sluice.Watts // LanePower
	Percent int          // LaneThrottle: of full power, 1 to 100
}

// ParseTarget reads a mode as Miner.Set takes it: "sleep"; "mine"; "2800W" is a
// power limit; "70%" a throttle; anything else the name of a profile.
func ParseTarget(mode string) Target {
	switch mode {
	case sluice.ModeSleep:
		return Target{Lane: LaneSleep}
	case sluice.ModeMine:
		return Target{Lane: LaneWake}
	}
	if n := len(mode) - 1; n > 0 {
		x, err := strconv.Atoi(mode[:n])
		switch {
		case err != nil:
		case mode[n] == 'W' && x > 0 && x <= 1_000_000:
			return Target{Lane: LanePower, Power: sluice.Watts(x)}
		case mode[n] == '%' && x > 0 && x <= 100:
			return Target{Lane: LaneThrottle, Percent: x}
		}
	}
	return Target{Lane: LaneProfile, Profile: mode}
}

// MAC returns a hardware address in one form, or "" where s is none.
func MAC(s string) string {
	m, err := net.ParseMAC(s)
	if err != nil || len(m) != 6 {
		return ""
	}
	return m.String()
}
