// Package ui owns the dashboard: a page that shows a site live and lets a person
// order a curtailment. Its sources are TypeScript and Svelte; what Go sees of
// them is the built page, embedded in the binary when it was built first.
package ui

import (
	"embed"
	"io/fs"
)

// The pattern matches dist.txt too, which is always there, so that a clean
// checkout compiles before the page was ever built.
//
//go:embed all:dist*
var files embed.FS

// FS returns the built dashboard, with index.html at its root and files named by
// their digest under assets/. It returns false when the binary was built without
// it.
func FS() (fs.FS, bool) {
	dist, err := fs.Sub(files, "dist")
	if err != nil {
		return nil, false
	}
	if _, err := fs.Stat(dist, "index.html"); err != nil {
		return nil, false
	}
	return dist, true
}
