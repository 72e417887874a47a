package config

import "net/url"

// checkTelemetry finds what does not fit together in the history of readings.
func (d *decoder) checkTelemetry(t Telemetry) {
	const path = "telemetry.remote_write"
	w := t.RemoteWrite
	switch {
	case w.URL == "":
		for _, f := range []string{".token", ".user", ".password"} {
			if d.has(path + f) {
				d.bad(path+f, "", "%s%s: there is no url to send it to", path, f)
			}
		}
		return
	case !t.On():
		d.warn(path, "nothing is sent by remote write while telemetry.enabled is no")
	case w.Token != "" && (w.User != "" || w.Password != ""):
		d.bad(path, "", "%s: give a token, or a user and a password", path)
	case (w.User == "") != (w.Password == ""):
		d.bad(path, "", "%s: a user and a password go together", path)
	case w.Backlog > t.Retention:
		d.bad(path+".backlog", "", "%s.backlog: %s is longer than readings are kept", path, w.Backlog)
	}
	for f, x := range map[string]Secret{".token": w.Token, ".password": w.Password} {
		if x.clear() {
			d.warn(path+f, "the secret stands in the file for everybody to read; env:NAME or file:PATH keeps it out")
		}
	}
	u, err := url.Parse(w.URL)
	if err != nil || d.broken[path+".url"] {
		return
	}
	if u.User != nil {
		d.bad(path+".url", "", "%s.url: give the user and the password by themselves", path)
	}
	if u.Scheme == "http" && (w.Token != "" || w.Password != "") {
		d.warn(path+".url", "what lets Sluice in goes to %s over http, for everybody on the way to read", u.Host)
	}
}
