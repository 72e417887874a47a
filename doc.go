// Package sluice holds the nouns, units and errors that every other package
// speaks: sites, nodes, machines, setpoints, readings, outcomes, power, energy,
// money. It imports the standard library only.
//
// A sluice lets water through to the wheel that needs it; Sluice does this with
// megawatts. See ARCHITECTURE.md for how the packages fit together.
package sluice
