package server

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"

	"sluice"
)

// metrics writes the site's figures in Prometheus' text exposition format 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/). They are all
// gauges read from one Status, so that they agree with each other and cost
// nothing between scrapes.
func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	now := s.o.Now()
	st := s.o.Site.Status()
	var e exposition

	e.family("sluice_info", "The running site; always 1.")
	e.sample(1, "name", st.Name, "mode", st.Mode, "demo", strconv.FormatBool(st.Demo), "version", s.o.Version)
	e.gauge("sluice_site_time_seconds", "Site time, Unix seconds.", float64(st.Now.UnixMilli())/1e3)
	e.gauge("sluice_limit_watts", "Limit in force at the grid connection.", st.LimitKW*1e3)
	e.gauge("sluice_connection_watts", "Limit of the grid connection without curtailment.", st.ConnectionKW*1e3)
	e.gauge("sluice_load_watts", "Load at the grid connection.", st.LoadKW*1e3)
	e.family("sluice_division_load_watts", "Load by use.")
	e.sample(st.MiningKW*1e3, "division", string(sluice.Mining))
	e.sample(st.AIKW*1e3, "division", string(sluice.AI))
	e.sample(st.OtherKW*1e3, "division", "other")
	e.family("sluice_node_load_watts", "Load of a node of the power tree.")
	for _, n := range st.Nodes {
		e.sample(n.LoadKW*1e3, "node", n.Name)
	}
	e.family("sluice_node_limit_watts", "Limit of a node of the power tree; 0 for none.")
	for _, n := range st.Nodes {
		e.sample(n.LimitKW*1e3, "node", n.Name)
	}
	e.gauge("sluice_price_usd_per_mwh", "Price of energy now.", st.PriceUSDPerMWh)
	e.gauge("sluice_hashprice_usd_per_ph_day", "What a PH/s earns in a day.", st.HashpriceUSDPerPHDay)
	e.gauge("sluice_hashrate_hashes_per_second", "Hashing speed of the site.", st.HashratePHs*1e15)
	e.gauge("sluice_margin_usd_per_hour", "Revenue less energy, at this moment's rate.", st.MarginUSDPerHour)
	e.family("sluice_division_margin_usd_per_hour", "Revenue less energy of a division, at this moment's rate.")
	e.sample(st.MiningMarginUSDHour, "division", string(sluice.Mining))
	e.sample(st.AIMarginUSDHour, "division", string(sluice.AI))
	e.counts("sluice_machines", "Machines by state.", "state", st.Machines)
	e.counts("sluice_jobs", "AI jobs by state.", "state", st.Jobs)
	e.gauge("sluice_gpus", "GPUs of the site.", float64(st.GPUs))
	e.gauge("sluice_gpus_busy", "GPUs that jobs hold.", float64(st.GPUsBusy))

	alarms := map[string]int{string(sluice.Info): 0, string(sluice.Warning): 0, string(sluice.Critical): 0}
	for _, a := range st.Alarms {
		alarms[string(a.Severity)]++
	}
	e.counts("sluice_alarms", "Open alarms by severity.", "severity", alarms)
	orders := map[string]int{"pending": 0, "active": 0}
	for _, c := range st.Curtailments {
		orders[c.State]++
	}
	e.counts("sluice_curtailments", "Curtailment orders in force or coming, by state.", "state", orders)
	e.family("sluice_feed_age_seconds", "Age of a feed's value, site time.")
	for _, f := range st.Feeds {
		if !f.AsOf.IsZero() {
			e.sample(now.Sub(f.AsOf).Seconds(), "feed", f.Name)
		}
	}
	e.family("sluice_feed_stale", "1 where a feed is older than it may be, or a fallback.")
	for _, f := range st.Feeds {
		e.sample(truth(f.Stale), "feed", f.Name)
	}
	if p := st.Plan; p != nil {
		e.gauge("sluice_plan_solve_seconds", "Wall time that the newest plan took to solve.", p.SolveMS/1e3)
		e.gauge("sluice_step_seconds", "Wall time of the newest turn of the loop that planned.", p.StepMS/1e3)
		e.gauge("sluice_plan_age_seconds", "Age of the newest plan, site time.", now.Sub(p.At).Seconds())
		e.gauge("sluice_plan_objective_usd", "What the newest plan earns over its horizon.", p.ObjectiveUSD)
		e.gauge("sluice_plan_bound_usd", "What no plan can exceed.", p.BoundUSD)
		e.gauge("sluice_plan_feasible", "1 when the newest plan keeps every limit.", truth(p.Feasible))
		e.gauge("sluice_plan_decision", "Number of the newest plan's decision.", float64(p.Decision))
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(e.b.Bytes())
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// exposition gathers families of gauges.
type exposition struct {
	b    bytes.Buffer
	name string
}

func (e *exposition) family(name, help string) {
	e.name = name
	fmt.Fprintf(&e.b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

// labelValue escapes what the format escapes in a label's value.
var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// sample writes one value of the family begun last; labels are pairs.
func (e *exposition) sample(v float64, labels ...string) {
	e.b.WriteString(e.name)
	sep := byte('{')
	for p := range slices.Chunk(labels, 2) {
		e.b.WriteByte(sep)
		e.b.WriteString(p[0] + `="` + labelValue.Replace(strings.ToValidUTF8(p[1], "�")) + `"`)
		sep = ','
	}
	if len(labels) > 0 {
		e.b.WriteByte('}')
	}
	e.b.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

func (e *exposition) gauge(name, help string, v float64) {
	e.family(name, help)
	e.sample(v)
}

func (e *exposition) counts(name, help, label string, by map[string]int) {
	e.family(name, help)
	keys := make([]string, 0, len(by))
	for k := range by {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		e.sample(float64(by[k]), label, k)
	}
}
