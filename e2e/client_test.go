package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// client talks to the API. The types below name the fields that these tests rely
// on, as another program would.
type client struct{ base string }

// refused is an answer that is no success.
type refusedError struct {
	status int
	body   string
}

func (e *refusedError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.body) }

// alone keeps no connection: the server at the other end is killed.
var alone = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

func (c *client) raw(method, path string, in any) ([]byte, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := alone.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		return nil, &refusedError{res.StatusCode, string(b)}
	}
	return b, nil
}

func ask[T any](c *client, method, path string, in any) (T, error) {
	var out T
	b, err := c.raw(method, "/api/v1"+path, in)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return out, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return out, nil
}

// all returns a whole list, page by page.
func all[T any](c *client, path string) ([]T, error) {
	var out []T
	for after := ""; ; {
		p, err := ask[struct {
			Items []T    `json:"items"`
			Next  string `json:"next"`
		}](c, http.MethodGet, path+"?limit=1000&after="+url.QueryEscape(after), nil)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Items...)
		if after = p.Next; after == "" {
			return out, nil
		}
	}
}

type siteStatus struct {
	Now          time.Time      `json:"now"`
	Demo         bool           `json:"demo"`
	LimitKW      float64        `json:"limit_kw"`
	LoadKW       float64        `json:"load_kw"`
	MiningKW     float64        `json:"mining_kw"`
	Price        float64        `json:"price_usd_per_mwh"`
	Machines     map[string]int `json:"machines"`
	Jobs         map[string]int `json:"jobs"`
	Curtailments []curtailment  `json:"curtailments"`
}

type machine struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Class   string `json:"class"`
	Address string `json:"address"`
	State   string `json:"state"`
	Mode    string `json:"mode"`
	Want    string `json:"want"`
	Asleep  bool   `json:"asleep_by_sluice"`
	Error   string `json:"error"`
}

type jobRecord struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Tenant        string    `json:"tenant"`
	State         string    `json:"state"`
	Why           string    `json:"why"`
	Interruptible bool      `json:"interruptible"`
	Virtual       bool      `json:"virtual"`
	Units         int       `json:"units"`
	Rate          float64   `json:"usd_per_unit_hour"`
	Runs          int       `json:"runs"`
	RunID         string    `json:"run_id"`
	Preemptions   int       `json:"preemptions"`
	RunSeconds    float64   `json:"run_seconds"`
	PowerShare    float64   `json:"power_share"`
	Billed        int64     `json:"billed_micro_usd"`
	Submitted     time.Time `json:"submitted_at"`
}

type shed struct {
	AfterS   float64 `json:"after_s"`
	Machines int     `json:"machines"`
	KW       float64 `json:"kw"`
	Outcome  string  `json:"outcome"`
}

type curtailment struct {
	ID           string     `json:"id"`
	LimitKW      float64    `json:"limit_kw"`
	From         time.Time  `json:"from"`
	Until        time.Time  `json:"until"`
	By           string     `json:"by"`
	Why          string     `json:"why"`
	State        string     `json:"state"`
	LoadBeforeKW float64    `json:"load_before_kw"`
	MetAt        *time.Time `json:"met_at"`
	MetAfterS    *float64   `json:"met_after_s"`
	Shed         []shed     `json:"shed"`
	CostUSD      float64    `json:"cost_usd"`
	EndedAt      *time.Time `json:"ended_at"`
}

type decision struct {
	ID      int64             `json:"id"`
	At      time.Time         `json:"at"`
	Trigger string            `json:"trigger"`
	Inputs  map[string]string `json:"inputs"`
	Moves   []struct {
		Class  string `json:"class"`
		From   string `json:"from"`
		To     string `json:"to"`
		Units  int    `json:"units"`
		Reason string `json:"reason"`
	} `json:"moves"`
	JobMoves []struct {
		Job    string `json:"job"`
		Action string `json:"action"`
		Reason string `json:"reason"`
	} `json:"job_moves"`
}

type alarm struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	Subject  string `json:"subject"`
	Severity string `json:"severity"`
	Text     string `json:"text"`
}

type balance struct {
	Account   string `json:"account"`
	Commodity string `json:"commodity"`
	Amount    int64  `json:"amount_micro"`
}

type entry struct {
	ID       string            `json:"id"`
	At       time.Time         `json:"at"`
	Corrects string            `json:"corrects"`
	Postings []balance         `json:"postings"`
	Meta     map[string]string `json:"meta"`
}

func (c *client) site() (siteStatus, error)      { return ask[siteStatus](c, http.MethodGet, "/site", nil) }
func (c *client) machines() ([]machine, error)   { return all[machine](c, "/machines") }
func (c *client) jobs() ([]jobRecord, error)     { return all[jobRecord](c, "/jobs") }
func (c *client) orders() ([]curtailment, error) { return all[curtailment](c, "/curtailments") }
func (c *client) decisions() ([]decision, error) { return all[decision](c, "/decisions") }
func (c *client) entries() ([]entry, error)      { return all[entry](c, "/ledger/entries") }
func (c *client) job(id string) (jobRecord, error) {
	return ask[jobRecord](c, http.MethodGet, "/jobs/"+id, nil)
}

func (c *client) balances() ([]balance, error) {
	p, err := ask[struct {
		Items []balance `json:"items"`
	}](c, http.MethodGet, "/ledger/balance", nil)
	return p.Items, err
}
