package pivot

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// InputTable lists every number of a plan with its unit, default and the default's
// source, in Markdown; docs/pivot.md holds it, and a test holds the two together.
func InputTable() string {
	var b strings.Builder
	b.WriteString("| input | unit | default | source of the default |\n| --- | --- | ---: | --- |\n")
	rows(&b, "", termQuantities)
	rows(&b, "fleet[].", fleetQuantities)
	rows(&b, "conversions[] of the kind gpu: ", gpuQuantities)
	rows(&b, "conversions[] of the kind hosting: ", hostingQuantities)
	gpu, hosting := commonQuantities(gpuDefaults), commonQuantities(hostingDefaults)
	for i, q := range gpu {
		if h := hosting[i]; h.source != q.source {
			row(&b, "conversions[] of the kind gpu: ", q)
			row(&b, "conversions[] of the kind hosting: ", h)
		} else {
			row(&b, "conversions[]: ", q)
		}
	}
	return b.String()
}

func rows[T any](b *strings.Builder, prefix string, qs []quantity[T]) {
	for _, q := range qs {
		row(b, prefix, q)
	}
}

func row[T any](b *strings.Builder, prefix string, q quantity[T]) {
	def, source := strconv.FormatFloat(q.def, 'f', -1, 64), q.source
	if math.IsNaN(q.def) {
		def = "–"
		switch q.name {
		case "hashprice_usd_per_ph_day":
			source = "the latest of the history"
		case "hashprice_half_life_weeks":
			source = "fitted to the history"
		default:
			source = "none"
		}
	}
	fmt.Fprintf(b, "| %s`%s` | %s | %s | %s |\n", prefix, q.name, q.unit, def, source)
}
