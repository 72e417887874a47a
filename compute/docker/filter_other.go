//go:build !linux

package docker

import (
	"os"

	"sluice"
)

func install(*os.File, []rule) error {
	return sluice.Errorf(sluice.Unavailable, "set the tenant's egress to none or open", "only Linux filters the network of a container")
}
