package fabric

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// clusterHashCost is low: 256 random bits need no slow hash, and a thousand agents
// that return at once would wait for one.
const clusterHashCost = 4

// ClusterUser is what the configuration of an existing NATS server must have among
// its users for the host to join: who it is and what it may say, in one line. The
// secret stands there as a hash.
func (t JoinToken) ClusterUser() (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(t.Secret), clusterHashCost)
	if err != nil {
		return "", fmt.Errorf("make the cluster's user: %w", err)
	}
	type rights struct {
		Rights
		Answers map[string]any `json:"allow_responses"`
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // a server's configuration knows no \u003e
	err = e.Encode(struct {
		User        string `json:"user"`
		Password    string `json:"password"`
		Permissions rights `json:"permissions"`
	}{t.Host, string(hash), rights{RightsOf(t.Host), map[string]any{"max": 1, "expires": "5m"}}})
	return strings.TrimSpace(b.String()), err
}
