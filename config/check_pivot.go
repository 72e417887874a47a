package config

import (
	"fmt"
	"slices"
	"strings"
)

// gpuOnly and hostingOnly are the fields of a conversion that mean nothing to the
// other kind.
var (
	gpuOnly = []string{
		"gpu", "gpus_per_host", "host_power", "idle_share", "host_usd", "reserved_share", "reserved_usd_per_gpu_hour",
		"spot_usd_per_gpu_hour", "spot_utilisation", "life_years", "residual_share", "renew",
	}
	hostingOnly = []string{"usd_per_kw_month"}
)

// checkPivot finds what is wrong between the fields of pivot, and notes which of
// them the file gives.
func (d *decoder) checkPivot(c *Config, classes []string) {
	p := &c.Pivot
	for path, at := range d.at {
		if name, ok := strings.CutPrefix(path, "pivot."); ok {
			if p.Given == nil {
				p.Given = map[string]string{}
			}
			p.Given[name] = fmt.Sprintf("%s:%d", d.file, max(1, at.Line))
		}
	}
	if d.has("pivot.contract.block_usd_per_mwh") != d.has("pivot.contract.block") {
		d.bad("pivot.contract", "", "pivot.contract: a block needs both block, its power, and block_usd_per_mwh, its price")
	}
	if d.has("pivot.connection.curtail_hours") && d.has("pivot.connection.curtail_above_usd_per_mwh") {
		d.bad("pivot.connection.curtail_above_usd_per_mwh", "", "pivot.connection: give either curtail_hours or curtail_above_usd_per_mwh")
	}
	seen := map[string]bool{}
	for i, f := range p.Fleet {
		at := fmt.Sprintf("pivot.fleet[%d].class", i)
		d.ref(at, "class", f.Class, classes)
		if seen[f.Class] {
			d.bad(at, "", "%s: the class %s stands here a second time", at, f.Class)
		}
		seen[f.Class] = true
	}
	d.names("pivot.conversions", len(p.Conversions), func(i int) string { return p.Conversions[i].Name })
	for i, v := range p.Conversions {
		at := fmt.Sprintf("pivot.conversions[%d]", i)
		alien := hostingOnly
		if v.Kind == "hosting" {
			alien = gpuOnly
		}
		for _, f := range alien {
			if d.has(at+"."+f) && slices.Contains([]string{"gpu", "hosting"}, v.Kind) {
				d.bad(at+"."+f, "", "%s.%s means nothing to a conversion of the kind %s", at, f, v.Kind)
			}
		}
		if d.has(at+".lead_months") && d.has(at+".standstill_months") && v.Standstill > v.Lead {
			d.bad(at+".standstill_months", "", "%s.standstill_months: %g is longer than the lead time of %g months", at, v.Standstill, v.Lead)
		}
	}
}
