package telemetry

import (
	"net/http"

	jsoniter "github.com/json-iterator/go"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/jsonutil"
)

// flushAt is how much of an answer is gathered before it is sent on.
const flushAt = 64 << 10

// respond writes a result in the envelope of the API: status, data, and what went
// wrong or deserves a word. A large answer is written as it is made.
func (a *API) respond(w http.ResponseWriter, x result, query string) {
	w.Header().Set("Content-Type", "application/json")
	s := jsoniter.NewStream(jsoniter.ConfigCompatibleWithStandardLibrary, w, flushAt)
	s.WriteObjectStart()
	s.WriteObjectField("status")
	if x.err != nil {
		w.WriteHeader(x.err.status)
		s.WriteString("error")
		field(s, "errorType").WriteString(x.err.word)
		field(s, "error").WriteString(x.err.cause.Error())
	} else {
		s.WriteString("success")
		writeData(field(s, "data"), x.data)
	}
	warnings, infos := x.warnings.AsStrings(query, 10, 10)
	if len(warnings) > 0 {
		field(s, "warnings").WriteVal(warnings)
	}
	if len(infos) > 0 {
		field(s, "infos").WriteVal(infos)
	}
	s.WriteObjectEnd()
	_ = s.Flush() // whoever asked has left
}

func field(s *jsoniter.Stream, name string) *jsoniter.Stream {
	s.WriteMore()
	s.WriteObjectField(name)
	return s
}

func writeData(s *jsoniter.Stream, data any) {
	switch d := data.(type) {
	case queried:
		s.WriteObjectStart()
		s.WriteObjectField("resultType")
		s.WriteString(string(d.kind))
		s.WriteMore()
		s.WriteObjectField("result")
		writeValue(s, d)
		s.WriteObjectEnd()
	case []labels.Labels:
		list(s, len(d), func(i int) { writeLabels(s, d[i]) })
	default:
		s.WriteVal(data)
	}
}

func writeValue(s *jsoniter.Stream, d queried) {
	switch v := d.value.(type) {
	case promql.Vector:
		list(s, len(v), func(i int) {
			s.WriteObjectStart()
			s.WriteObjectField("metric")
			writeLabels(s, v[i].Metric)
			if v[i].H == nil {
				writePoint(field(s, "value"), promql.FPoint{T: v[i].T, F: v[i].F})
			} else {
				writeHistogram(field(s, "histogram"), promql.HPoint{T: v[i].T, H: v[i].H})
			}
			s.WriteObjectEnd()
		})
	case promql.Matrix:
		list(s, len(v), func(i int) {
			s.WriteObjectStart()
			s.WriteObjectField("metric")
			writeLabels(s, v[i].Metric)
			if f := v[i].Floats; len(f) > 0 {
				field(s, "values")
				list(s, len(f), func(j int) { writePoint(s, f[j]) })
			}
			if h := v[i].Histograms; len(h) > 0 {
				field(s, "histograms")
				list(s, len(h), func(j int) { writeHistogram(s, h[j]) })
			}
			s.WriteObjectEnd()
		})
	case promql.Scalar:
		writePoint(s, promql.FPoint{T: v.T, F: v.V})
	case promql.String:
		s.WriteArrayStart()
		jsonutil.MarshalTimestamp(v.T, s)
		s.WriteMore()
		s.WriteString(v.V)
		s.WriteArrayEnd()
	default:
		s.WriteEmptyArray()
	}
}

// list writes an array and sends on what is large: the stream itself gathers
// without bound.
func list(s *jsoniter.Stream, n int, each func(i int)) {
	s.WriteArrayStart()
	for i := range n {
		if i > 0 {
			s.WriteMore()
		}
		each(i)
		if s.Buffered() >= flushAt {
			_ = s.Flush() // an error stays in the stream
		}
	}
	s.WriteArrayEnd()
}

func writePoint(s *jsoniter.Stream, p promql.FPoint) {
	s.WriteArrayStart()
	jsonutil.MarshalTimestamp(p.T, s)
	s.WriteMore()
	jsonutil.MarshalFloat(p.F, s)
	s.WriteArrayEnd()
}

func writeHistogram(s *jsoniter.Stream, p promql.HPoint) {
	s.WriteArrayStart()
	jsonutil.MarshalTimestamp(p.T, s)
	s.WriteMore()
	jsonutil.MarshalHistogram(p.H, s)
	s.WriteArrayEnd()
}

func writeLabels(s *jsoniter.Stream, l labels.Labels) {
	s.WriteObjectStart()
	first := true
	l.Range(func(x labels.Label) {
		if !first {
			s.WriteMore()
		}
		first = false
		s.WriteObjectField(x.Name)
		s.WriteString(x.Value)
	})
	s.WriteObjectEnd()
}
