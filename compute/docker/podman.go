package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"sluice"
)

// Podman makes a container's user namespace, network and log as we want them only
// through its own API, which its socket has beside Docker's.
const podmanCreate = "http://podman/v4.0.0/libpod/containers/create"

type podmanSpec struct {
	Name       string                   `json:"name"`
	Image      string                   `json:"image"`
	Entrypoint []string                 `json:"entrypoint"`
	Command    []string                 `json:"command"`
	Env        map[string]string        `json:"env"`
	Labels     map[string]string        `json:"labels"`
	WorkDir    string                   `json:"work_dir"`
	User       string                   `json:"user"`
	ReadOnly   bool                     `json:"read_only_filesystem"`
	NoNewPriv  bool                     `json:"no_new_privileges"`
	CapDrop    []string                 `json:"cap_drop"`
	Mounts     []podmanMount            `json:"mounts"`
	Devices    []podmanDevice           `json:"devices,omitempty"`
	UserNS     *podmanNS                `json:"userns,omitempty"`
	IDMappings *podmanMappings          `json:"idmappings,omitempty"`
	NetNS      podmanNS                 `json:"netns"`
	CNI        []string                 `json:"cni_networks,omitempty"`
	Networks   map[string]podmanAddress `json:"networks,omitempty"`
	CgroupNS   podmanNS                 `json:"cgroupns"`
	IpcNS      podmanNS                 `json:"ipcns"`
	PidNS      podmanNS                 `json:"pidns"`
	ShmSize    int64                    `json:"shm_size"`
	Resources  podmanResources          `json:"resource_limits"`
	Rlimits    []podmanRlimit           `json:"r_limits"`
	Log        podmanLog                `json:"log_configuration"`
	Systemd    string                   `json:"systemd"`
	ImageVols  string                   `json:"image_volume_mode"`
	Health     podmanHealth             `json:"healthconfig"`
	HTTPProxy  bool                     `json:"httpproxy"`
}

type podmanNS struct {
	Mode  string `json:"nsmode"`
	Value string `json:"value,omitempty"`
}

type podmanHealth struct {
	Test []string `json:"Test"`
}

type podmanAddress struct {
	IPs []netip.Addr `json:"static_ips"`
}

type podmanMount struct {
	Type        string   `json:"type"`
	Source      string   `json:"source,omitempty"`
	Destination string   `json:"destination"`
	Options     []string `json:"options"`
}

type podmanDevice struct {
	Path string `json:"path"`
}

type podmanMappings struct {
	UIDMap []podmanMap `json:"UIDMap"`
	GIDMap []podmanMap `json:"GIDMap"`
}

type podmanMap struct {
	Container int `json:"container_id"`
	Host      int `json:"host_id"`
	Size      int `json:"size"`
}

type podmanResources struct {
	Memory *podmanMemory `json:"memory,omitempty"`
	CPU    *podmanCPU    `json:"cpu,omitempty"`
	Pids   podmanPids    `json:"pids"`
}

type podmanMemory struct {
	Limit int64 `json:"limit"`
	Swap  int64 `json:"swap"`
}

type podmanCPU struct {
	Quota  int64  `json:"quota"`
	Period uint64 `json:"period"`
}

type podmanPids struct {
	Limit int64 `json:"limit"`
}

type podmanRlimit struct {
	Type string `json:"type"`
	Hard uint64 `json:"hard"`
	Soft uint64 `json:"soft"`
}

type podmanLog struct {
	Driver string `json:"driver"`
	Path   string `json:"path"`
	Size   int64  `json:"size"`
}

// podmanSpec writes the plan in Podman's words.
func (p plan) podmanSpec() podmanSpec {
	s := podmanSpec{
		Name: p.name, Image: p.image, Entrypoint: p.argv, Command: []string{}, Labels: p.labels, WorkDir: p.workDir,
		User: "0:0", ReadOnly: true, NoNewPriv: true, CapDrop: []string{"ALL"}, Systemd: "false", ImageVols: "ignore",
		Health: podmanHealth{noCheck},
		Env:    map[string]string{}, CgroupNS: podmanNS{Mode: "private"}, IpcNS: podmanNS{Mode: "private"}, PidNS: podmanNS{Mode: "private"},
		ShmSize: p.shm, Log: podmanLog{Driver: "k8s-file", Path: p.logPath, Size: p.logMax},
		Rlimits: []podmanRlimit{{"nofile", p.files, p.files}, {"nproc", p.files, p.files}, {"core", 0, 0}},
	}
	for _, kv := range p.env {
		k, v, _ := strings.Cut(kv, "=")
		s.Env[k] = v
	}
	for _, b := range p.binds {
		mode := "rw"
		if b.ReadOnly {
			mode = "ro"
		}
		s.Mounts = append(s.Mounts, podmanMount{"bind", b.Source, b.Target, []string{"rbind", mode, "nosuid", "nodev", "rprivate"}})
	}
	for _, d := range slices.Sorted(keys(p.tmpfs)) {
		mode := "1777"
		if d == "/run" {
			mode = "0755"
		}
		s.Mounts = append(s.Mounts, podmanMount{"tmpfs", "", d, []string{fmt.Sprintf("size=%d", p.tmpfs[d]), "mode=" + mode, "nosuid", "nodev", "notmpcopyup"}})
	}
	for _, d := range p.devices {
		s.Devices = append(s.Devices, podmanDevice{d})
	}
	if p.base > 0 {
		m := []podmanMap{{0, p.base, uidCount}}
		s.UserNS, s.IDMappings = &podmanNS{Mode: "private"}, &podmanMappings{m, m}
	}
	switch holder, shared := strings.CutPrefix(p.network, "container:"); {
	case shared:
		s.NetNS = podmanNS{Mode: "container", Value: holder}
	case p.network == "none" || p.network == slirp:
		s.NetNS = podmanNS{Mode: p.network}
	case p.address.IsValid():
		s.NetNS, s.Networks = podmanNS{Mode: "bridge"}, map[string]podmanAddress{p.network: {[]netip.Addr{p.address}}}
	default:
		s.NetNS, s.CNI = podmanNS{Mode: "bridge"}, []string{p.network}
	}
	s.Resources.Pids.Limit = p.pids
	if p.memory > 0 {
		s.Resources.Memory = &podmanMemory{p.memory, p.memory}
	}
	if p.cpus > 0 {
		s.Resources.CPU = &podmanCPU{max(1000, int64(p.cpus*100_000)), 100_000}
	}
	return s
}

func (e *engine) createPodman(ctx context.Context, p plan) error {
	b, err := json.Marshal(p.podmanSpec())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, podmanCreate, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := e.http.Do(req)
	if err != nil {
		return e.failed(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return e.failed(err)
	}
	if res.StatusCode == http.StatusCreated {
		return nil
	}
	var said struct{ Message string }
	if json.Unmarshal(answer, &said) != nil || said.Message == "" {
		said.Message = res.Status
	}
	kind := sluice.Internal
	if res.StatusCode < 500 {
		kind = sluice.Invalid
	}
	return sluice.Errorf(kind, "", "the engine does not make the container: %s", said.Message)
}
