package sluice

import (
	"errors"
	"fmt"
)

// Kind says whose fault an error is, so that the top can choose the exit status
// or the HTTP status without reading the text.
type Kind int

// Kinds of errors.
const (
	Internal    Kind = iota // a defect or the environment: exit 1, HTTP 500
	Invalid                 // what was asked for makes no sense: exit 2, HTTP 400/422
	NotFound                // no such thing: exit 2, HTTP 404
	Conflict                // not in this state: exit 2, HTTP 409
	Unavailable             // a device, feed or server did not answer: exit 1, HTTP 503
)

// Error is an error for a person: what was being done is in the chain around
// it, Msg says what is wrong, Hint how to mend it.
type Error struct {
	Kind  Kind
	Msg   string
	Hint  string
	Cause error
}

func (e *Error) Error() string {
	s := e.Msg
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an error of the kind. An error among the arguments is printed with
// %v and is no longer found by errors.Is; set Cause where it must be.
func Errorf(k Kind, hint, format string, args ...any) error {
	return &Error{Kind: k, Hint: hint, Msg: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first *Error in the chain, Internal without one.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
