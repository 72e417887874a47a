package gpu

// KillProbe kills the probe and waits until that was noticed.
func KillProbe(n *NVML) {
	n.mu.Lock()
	p := n.p
	n.mu.Unlock()
	p.kill()
	<-p.done
}

var ParseResponse = parseResponse

var (
	CommandFile = commandFile
	Embedded    = embedded
)
