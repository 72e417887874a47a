package devicetest

import (
	"bytes"
	"crypto/aes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/GehirnInc/crypt/md5_crypt"
)

// What the machine hands out: its time, and the salts of the two wires.
const wmTime, wmOldSalt, wmSalt = "1741501234", "BQ5hoXV9", "5QAHiKMb"

// keyV2 is the key of the older wire's cipher.
func (m *Whatsminer) keyV2() []byte {
	key := sha256.Sum256([]byte(wmCrypt(m.password, wmOldSalt)))
	return key[:]
}

// wmCrypt is the digest part of md5-crypt.
func wmCrypt(secret, salt string) string {
	h, err := md5_crypt.New().Generate([]byte(secret), []byte("$1$"+salt))
	if err != nil {
		panic(err)
	}
	return h[strings.LastIndexByte(h, '$')+1:]
}

// wmCipher runs AES in ECB mode over whole blocks.
func wmCipher(key, in []byte, decrypt bool) []byte {
	c, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	out := make([]byte, len(in))
	for i := 0; i+aes.BlockSize <= len(in); i += aes.BlockSize {
		if decrypt {
			c.Decrypt(out[i:], in[i:])
		} else {
			c.Encrypt(out[i:], in[i:])
		}
	}
	return out
}

func (m *Whatsminer) serveV2(c net.Conn) {
	var q map[string]any
	if json.NewDecoder(c).Decode(&q) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := q["enc"]; ok {
		_, _ = c.Write(m.sealedV2(q))
		return
	}
	command, _ := q["command"].(string)
	if s, ok := q["cmd"].(string); ok {
		command = s
	}
	_, _ = c.Write(m.readV2(command))
}

func wmReply(letter string, code int, msg any) []byte {
	b, _ := json.Marshal(map[string]any{"STATUS": letter, "When": 1741501234, "Code": code, "Msg": msg, "Description": ""})
	return b
}

// sealedV2 answers an encrypted command. What cannot be decrypted under any token
// is not JSON to the machine.
func (m *Whatsminer) sealedV2(q map[string]any) []byte {
	if m.fault.closed {
		return wmReply("E", 45, "permission denied")
	}
	data, _ := q["data"].(string)
	b, err := base64.StdEncoding.DecodeString(data)
	if err != nil || len(b)%aes.BlockSize != 0 {
		return wmReply("E", 137, "base64 decode error")
	}
	key := m.keyV2()
	var p map[string]any
	if json.Unmarshal(bytes.TrimRight(wmCipher(key, b, true), "\x00"), &p) == nil {
		sign, _ := p["token"].(string)
		if m.fault.tokens > 0 {
			m.fault.tokens--
			delete(m.tokens, sign)
		}
		if !m.tokens[sign] {
			return wmReply("E", 135, "check token error")
		}
		command, _ := p["cmd"].(string)
		letter, code, msg := "S", 131, "API command OK"
		if ok, why := m.act(command, without(p, "cmd", "token")); !ok {
			letter, code, msg = "E", 132, why
		}
		return sealReply(key, wmReply(letter, code, msg))
	}
	return wmReply("E", 23, "invalid JSON message")
}

func sealReply(key, plain []byte) []byte {
	plain = append(plain, make([]byte, (aes.BlockSize-len(plain)%aes.BlockSize)%aes.BlockSize)...)
	b, _ := json.Marshal(map[string]string{"enc": base64.StdEncoding.EncodeToString(wmCipher(key, plain, false))})
	return b
}

func (m *Whatsminer) readV2(command string) []byte {
	watts, ths := m.draws()
	head := `{"STATUS":[{"STATUS":"S","When":1741501234,"Code":11,"Msg":"","Description":"cgminer 4.9.2"}],`
	if m.state.off && m.fault.deaf {
		switch command {
		case "summary", "pools", "edevs", "devs", "devdetails":
			return wmReply("E", 14, "Can't access cgminer")
		}
	}
	boards := 3
	if m.state.off {
		boards = 0
	}
	switch command {
	case "get_token":
		m.issued++
		newsalt := fmt.Sprintf("n%07d", m.issued)
		m.tokens[wmCrypt(wmCrypt(m.password, wmOldSalt)+wmTime[len(wmTime)-4:], newsalt)] = true
		return wmReply("S", 134, map[string]any{"time": wmTime, "salt": wmOldSalt, "newsalt": newsalt})
	case "get_version":
		return wmReply("S", 131, map[string]any{"api_ver": "2.0.5", "fw_ver": "20230803.11.REL", "platform": "H616"})
	case "status":
		if m.fault.deaf {
			return wmReply("S", 131, map[string]any{"btmineroff": fmt.Sprint(m.state.off), "Firmware Version": "'20210322.22.REL'"})
		}
		return wmReply("S", 131, map[string]any{
			"mineroff": fmt.Sprint(m.state.off), "mineroff_reason": "", "FirmwareVersion": "20230803.11.REL",
			"power_mode": m.state.mode, "power_limit_set": fmt.Sprint(m.state.limit), "hash_percent": "0",
		})
	case "get_miner_info":
		return wmReply("S", 131, map[string]any{"hostname": "WhatsMiner", "mac": "D4:01:02:03:04:05", "ledstat": m.state.led})
	case "get_psu":
		return wmReply("S", 131, map[string]any{"name": "P222B", "model": "P222B", "fan_speed": "6000"})
	case "get_error_code":
		return wmReply("S", 131, map[string]any{"error_code": []any{}})
	case "summary":
		return fmt.Appendf([]byte(head), `"SUMMARY":[{"Elapsed":25000,"MHS av":%.2f,"MHS 5s":%.2f,"HS RT":%.2f,"Factory GHS":126000,"Power":%.0f,"Power Mode":%q,`+
			`"Power Limit":%d,"Fan Speed In":5400,"Fan Speed Out":5280,"Chip Temp Min":62,"Chip Temp Max":81,"Uptime":25500,"MAC":"D4:01:02:03:04:05","Firmware Version":"'20230803.11.REL'"}],"id":1}`,
			ths*1e6, ths*1e6, ths*1e6, watts, strings.ToUpper(m.state.mode[:1])+m.state.mode[1:], m.state.limit)
	case "devdetails":
		return fmt.Append([]byte(head), `"DEVDETAILS":[{"DEVDETAILS":0,"Name":"SM","ID":0,"Driver":"bitmicro","Model":"M50S-VH50"}],"id":1}`)
	case "edevs", "devs":
		out := append([]byte(head), `"DEVS":[`...)
		for i := range boards {
			if i > 0 {
				out = append(out, ',')
			}
			out = fmt.Appendf(out, `{"ASC":%d,"Slot":%d,"Enabled":"Y","Status":"Alive","Temperature":65,"MHS av":%.2f,"Factory GHS":42000,"Chip Temp Max":80,"Effective Chips":135,"PCB SN":"B%d"}`, i, i, ths*1e6/3, i)
		}
		return append(out, `],"id":1}`...)
	case "pools":
		out := append([]byte(head), `"POOLS":[`...)
		for i, p := range m.state.pools {
			if i > 0 {
				out = append(out, ',')
			}
			out = fmt.Appendf(out, `{"POOL":%d,"URL":%q,"User":%q,"Status":"Alive","Priority":%d,"Stratum Active":%v}`, i+1, p.URL, p.User, i, i == 0 && !m.state.off)
		}
		return append(out, `],"id":1}`...)
	}
	return wmReply("E", 14, "invalid cmd")
}

func (m *Whatsminer) serveV3(c net.Conn) {
	for {
		var head [4]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		b := make([]byte, min(binary.LittleEndian.Uint32(head[:]), 1<<16))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		reply := m.answerV3(b)
		out := binary.LittleEndian.AppendUint32(make([]byte, 4, 8+len(reply)), uint32(len(reply))) // a sign of life before it
		if _, err := c.Write(append(out, reply...)); err != nil {
			return
		}
	}
}

func (m *Whatsminer) answerV3(b []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var q struct {
		Cmd, Token, Account string
		TS                  json.Number
		Param               any
	}
	if json.Unmarshal(b, &q) != nil {
		return wmV3(-3, "", "invalid json")
	}
	if !strings.HasPrefix(q.Cmd, "set.") {
		return m.readV3(q.Cmd, fmt.Sprint(q.Param))
	}
	key := sha256.Sum256([]byte(q.Cmd + m.password + wmSalt + q.TS.String()))
	if m.fault.closed || q.Account != "super" || q.TS.String() != wmTime || q.Token != base64.StdEncoding.EncodeToString(key[:])[:8] {
		return wmV3(-4, q.Cmd, "no permission")
	}
	if q.Cmd == "set.miner.pools" {
		sealed, _ := q.Param.(string)
		b, err := base64.StdEncoding.DecodeString(sealed)
		if err != nil || len(b) == 0 || len(b)%aes.BlockSize != 0 {
			return wmV3(-1, q.Cmd, "invalid encrypted param")
		}
		b = wmCipher(key[:], b, true)
		if pad := int(b[len(b)-1]); pad > len(b) || json.Unmarshal(b[:len(b)-pad], &q.Param) != nil {
			return wmV3(-1, q.Cmd, "invalid encrypted param")
		}
	}
	command, p, ok := wmOlder(q.Cmd, q.Param)
	if !ok {
		return wmV3(-2, q.Cmd, "invalid command")
	}
	if ok, why := m.act(command, p); !ok {
		return wmV3(-1, q.Cmd, why)
	}
	return wmV3(0, q.Cmd, "ok")
}

func wmV3(code int, command string, msg any) []byte {
	b, _ := json.Marshal(map[string]any{"code": code, "when": json.Number(wmTime), "msg": msg, "desc": command})
	return b
}

// wmOlder says a command in the words of the older wire. Parameters have the types
// that the firmware insists on.
func wmOlder(command string, param any) (string, map[string]any, bool) {
	switch command {
	case "set.miner.service":
		was, ok := map[any]string{"start": "power_on", "stop": "power_off", "restart": "restart_btminer"}[param]
		return was, nil, ok
	case "set.miner.power_mode":
		mode, ok := param.(string)
		return "set_" + mode + "_power", nil, ok
	case "set.miner.power_limit":
		w, ok := param.(float64)
		return "adjust_power_limit", map[string]any{"power_limit": fmt.Sprint(w)}, ok
	case "set.miner.power_percent":
		p, _ := param.(map[string]any)
		percent, ok := p["percent"].(string) // the manual says a number, the firmware reads a string
		if p["mode"] != "fast" && p["mode"] != "normal" {
			ok = false
		}
		return "set_power_pct", map[string]any{"percent": percent}, ok
	case "set.miner.pools":
		list, ok := param.([]any)
		p := map[string]any{}
		for i, e := range list {
			f, _ := e.(map[string]any)
			p[fmt.Sprint("pool", i+1)], p[fmt.Sprint("worker", i+1)], p[fmt.Sprint("passwd", i+1)] = f["pool"], f["worker"], f["passwd"]
		}
		return "update_pools", p, ok
	case "set.system.reboot":
		return "reboot", nil, true
	case "set.system.led":
		return "set_led", map[string]any{"param": param}, param != nil
	}
	return "", nil, false
}

func (m *Whatsminer) readV3(command, param string) []byte {
	watts, ths := m.draws()
	switch command {
	case "get.device.info":
		all := map[string]any{
			"network": map[string]any{"ip": "10.0.0.9", "mac": "CA:01:14:00:04:EB", "hostname": "WhatsMiner"},
			"miner": map[string]any{
				"working": fmt.Sprint(!m.state.off), "type": "M50S_VH50", "cointype": "BTC/BCH/BSV", "board-num": "3",
				"pcbsn0": "B0", "pcbsn1": "B1", "pcbsn2": "B2", "power-limit-set": fmt.Sprint(m.state.limit),
			},
			"system":     map[string]any{"api": "3.0.2", "platform": "H616", "fwversion": "20250915.16.Rel2", "apiswitch": "1", "ledstatus": m.state.led},
			"power":      map[string]any{"type": "P221C", "model": "P22-12-3300-C", "pin": watts, "fanspeed": 6112},
			"salt":       wmSalt,
			"error-code": []any{},
		}
		if one, ok := all[param]; ok {
			all = map[string]any{param: one}
		}
		return wmV3(0, command, all)
	case "get.miner.setting":
		return wmV3(0, command, map[string]any{
			"power-limit": m.state.limit, "power-mode": m.state.mode, "power-percent": m.state.percent % 100, "power": 0, "fast-boot": "disable",
		})
	case "get.miner.status":
		msg := map[string]any{}
		for part := range strings.SplitSeq(param, "+") {
			switch part {
			case "summary":
				msg[part] = map[string]any{
					"elapsed": 1074, "bootup-time": 1175, "factory-hash": 126.1, "hash-average": ths, "hash-1min": ths, "hash-realtime": ths,
					"power-5min": watts, "power-realtime": watts, "board-temperature": []float64{69.6, 70.1, 72.3}, "chip-temp-max": 100.3,
					"power-limit": m.state.limit, "up-freq-finish": 1, "fan-speed-in": 4980, "fan-speed-out": 5070,
				}
			case "pools":
				pools := []any{}
				for i, p := range m.state.pools {
					pools = append(pools, map[string]any{
						"id": i + 1, "url": p.URL, "account": p.User, "status": "alive", "stratum-active": i == 0 && !m.state.off,
					})
				}
				msg[part] = pools
			case "edevs":
				var devs []any
				for i := range 3 {
					devs = append(devs, map[string]any{
						"id": i, "slot": i, "hash-average": ths / 3, "factory-hash": 42.03, "freq": 785, "effective-chips": 135, "chip-temp-max": 97.4,
					})
				}
				msg[part] = devs
			}
		}
		return wmV3(0, command, msg)
	}
	return wmV3(-2, command, "invalid command")
}
