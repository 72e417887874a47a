// Package dialect turns data into drivers: a YAML file for each family of
// firmwares says how it is recognised, where each figure of a device.Report
// stands in its replies and in which unit, and what to send for each target.
// The code here is the same for all of them: transports (the cgminer TCP API,
// HTTP with basic, digest, bearer or body credentials), paths, units, templates,
// outcomes, the restoring of prior states. docs/writing-a-driver.md is the
// reference of the files.
//
//	set, err := dialect.Load(operatorsFolder)        // ours, and the operator's
//	driver, report, err := set.Identify(ctx, address) // what is at this address?
//	driver, err = set.New("vnish", address)          // or by its name
//
// A Driver is a device.Miner, device.Profiler and device.Reporter. Read asks
// the few requests that the file names for polling; Report asks all, several at
// once, and leaves out what did not come.
//
// What data cannot say is Go, in hooks.go: a hook is a whole driver that reads
// states and writes, while the dialect still tells the report; a Wire is a
// transport with a session or cryptography, which requests name by via:.
//
// Replies are bounded by 1 MiB and mended where firmwares are known to break
// JSON. Redirects are followed only on the same host and port. TLS certificates
// of devices are not checked, because devices sign their own. Credentials and
// tokens are in no error and no log.
package dialect
