package fabric

import (
	"regexp"
	"strings"

	"sluice"
)

// Subjects are sluice.h.HOST.KIND…, where a dot of the host's name is written ~.
const (
	subjectRoot = "sluice.h."
	// StreamName is the JetStream stream of what hosts report, DurableName its
	// one reader.
	StreamName  = "SLUICE_EVENTS"
	DurableName = "site"
)

var hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// CheckHost refuses a name that cannot be a host's.
func CheckHost(host string) error {
	if !hostName.MatchString(host) {
		return sluice.Errorf(sluice.Invalid, "letters, digits, dots, dashes and underscores, up to 64", "%q is no name of a host", host)
	}
	return nil
}

func element(host string) string { return strings.ReplaceAll(host, ".", "~") }

func upSubject(host, op string) string   { return subjectRoot + element(host) + ".up." + op }
func downSubject(host, op string) string { return subjectRoot + element(host) + ".down." + op }
func eventSubject(host string) string    { return subjectRoot + element(host) + ".ev" }
func inboxPrefix(host string) string     { return "_INBOX_sluice." + element(host) }

// hostOf returns the host that a subject belongs to, "" where it is none.
func hostOf(subject string) string {
	rest, ok := strings.CutPrefix(subject, subjectRoot)
	if !ok {
		return ""
	}
	e, _, ok := strings.Cut(rest, ".")
	if !ok {
		return ""
	}
	host := strings.ReplaceAll(e, "~", ".")
	if !hostName.MatchString(host) {
		return ""
	}
	return host
}

// ownReply says whether answers to that subject reach nobody but the host.
func ownReply(host, reply string) bool {
	return strings.HasPrefix(reply, inboxPrefix(host)+".")
}

// Rights are the subjects that the agent of a host may use, in the words of a
// NATS server's configuration.
type Rights struct {
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
}

// RightsOf returns what the agent of a host may do. It may answer, besides, what
// it was asked.
func RightsOf(host string) Rights {
	return Rights{
		Publish:   []string{upSubject(host, ">"), eventSubject(host)},
		Subscribe: []string{downSubject(host, ">"), inboxPrefix(host) + ".>"},
	}
}

var hostNameOrRun = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
