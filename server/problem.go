package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"sluice"

	"github.com/danielgtaylor/huma/v2"
)

// Problem is how every error leaves the server: RFC 9457 with Sluice's hint.
type Problem struct {
	huma.ErrorModel
	Hint string `json:"hint,omitempty" doc:"How to mend it"`
}

// problem makes one of an error of the packages below. The hint leaves the text
// and gets a field of its own.
func problem(err error) error {
	if err == nil {
		return nil
	}
	return asProblem(err)
}

func asProblem(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	status := http.StatusInternalServerError
	switch sluice.KindOf(err) {
	case sluice.Invalid:
		status = http.StatusUnprocessableEntity
	case sluice.NotFound:
		status = http.StatusNotFound
	case sluice.Conflict:
		status = http.StatusConflict
	case sluice.Unavailable:
		status = http.StatusServiceUnavailable
	default:
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			status = http.StatusServiceUnavailable
		}
	}
	text, hint := err.Error(), ""
	if e, ok := errors.AsType[*sluice.Error](err); ok && e.Hint != "" {
		hint = e.Hint
		text = strings.Replace(text, " ("+hint+")", "", 1)
	}
	return newProblem(status, text, hint)
}

func newProblem(status int, text, hint string) *Problem {
	return &Problem{
		ErrorModel: huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: text},
		Hint:       hint,
	}
}

// withoutBody takes out of a problem what the caller's body held, but numbers and what
// is true or false: it may be a secret, and an answer is read by more than its caller,
// in logs and by proxies.
func withoutBody(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	for _, e := range m.Errors {
		if e.Location != "body" && !strings.HasPrefix(e.Location, "body.") {
			continue
		}
		switch e.Value.(type) {
		case float64, bool:
			if !strings.HasPrefix(e.Location, "body.secrets") {
				continue
			}
		}
		e.Value = nil
	}
	return m, nil
}

// absent says that this site runs without the part that a route needs.
func absent(what string) error {
	return newProblem(http.StatusServiceUnavailable, "this site runs without "+what, "")
}

// writeProblem answers with a problem outside huma's routes.
func writeProblem(w http.ResponseWriter, status int, text, hint string) {
	sendProblem(w, newProblem(status, text, hint))
}

func sendProblem(w http.ResponseWriter, p *Problem) {
	b, _ := json.Marshal(p) // strings and an int: cannot fail
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Del("Content-Length")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(b, '\n'))
}
