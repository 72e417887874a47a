package device

import (
	"net"
	"strconv"
)

func (a Address) hostPort() string {
	switch {
	case a.APIPort != 0:
		return net.JoinHostPort(a.Host, strconv.Itoa(a.APIPort))
	case a.WebPort != 0:
		return net.JoinHostPort(a.Host, strconv.Itoa(a.WebPort))
	}
	return a.Host
}

// API returns host:port of the TCP API, port being def where none is set.
func (a Address) API(def int) string { return join(a.Host, a.APIPort, def) }

// Web returns host:port of the HTTP interface, port being def where none is set.
func (a Address) Web(def int) string { return join(a.Host, a.WebPort, def) }

func join(host string, port, def int) string {
	if port == 0 {
		port = def
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}
