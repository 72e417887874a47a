package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"sluice/site"
)

// webhookAlarm is what a webhook gets: one POST for each alarm raised or
// cleared.
type webhookAlarm struct {
	Site  string     `json:"site"`
	Alarm site.Alarm `json:"alarm"`
}

// webhookTries is how often an alarm is sent before it is given up; the pause
// between two doubles.
const webhookTries = 6

// sendAlarms posts the site's alarms to the URL until ctx ends. A slow or broken
// receiver never holds the site: alarms wait in a queue of 256.
func sendAlarms(ctx context.Context, s *site.Site, url, name string, log *slog.Logger) {
	events, end := s.Subscribe(1024)
	defer end()
	queue := make(chan site.Alarm, 256)
	go func() {
		client := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
		for a := range queue {
			if err := postAlarm(ctx, client, url, webhookAlarm{name, a}, time.Second); err != nil && ctx.Err() == nil {
				log.Error("an alarm did not reach the webhook", "alarm", a.Name, "subject", a.Subject, "err", err)
			}
		}
	}()
	defer close(queue)
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			if a, ok := e.Data.(site.Alarm); ok {
				select {
				case queue <- a:
				default:
					log.Error("too many alarms wait for the webhook: one is not sent", "alarm", a.Name, "subject", a.Subject)
				}
			}
		}
	}
}

// postAlarm sends one alarm, again and again with growing pauses where the
// receiver fails; an answer of 4xx is final.
func postAlarm(ctx context.Context, client *http.Client, url string, a webhookAlarm, pause time.Duration) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		status, err := post(ctx, client, url, body)
		if err == nil && status < 300 {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("the webhook answered %d", status)
		}
		if try == webhookTries || (status >= 400 && status < 500) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause << (try - 1)):
		}
	}
}

func post(ctx context.Context, client *http.Client, url string, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, nil
}
