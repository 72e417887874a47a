package server

import "net/http"

// queryPrefix is where the query API is mounted: the URL of Grafana's Prometheus
// data source ends in it.
const queryPrefix = "/prometheus"

// query passes requests on to the query API. Its handler bounds what a query may
// cost; who may ask is decided as for the rest of the API.
func (s *Server) query() http.Handler {
	if s.o.Query == nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			writeProblem(w, http.StatusServiceUnavailable, "this site keeps no telemetry", "set telemetry.enabled: yes in sluice.yaml")
		})
	}
	return http.StripPrefix(queryPrefix, s.o.Query)
}
