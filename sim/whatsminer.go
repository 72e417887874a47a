package sim

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
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/GehirnInc/crypt/md5_crypt"
)

// The salts that all virtual Whatsminers hand out. With the same password they make
// one token, so that thousands of machines cost the work of one.
const wmSalt, wmNewSalt = "BQ5hoXV9", "5QAHiKMb"

// wmTokenTime is the time in a token of the older wire, of which the last four digits count.
const wmTokenTime = "5678"

// wmKeys are the key and the sign of the older wire.
var wmKeys = sync.OnceValues(func() (key [32]byte, sign string) {
	crypt := func(secret, salt string) string {
		h, err := md5_crypt.New().Generate([]byte(secret), []byte(md5_crypt.MagicPrefix+salt))
		if err != nil {
			panic(err) // of constants
		}
		return h[strings.LastIndexByte(h, '$')+1:]
	}
	digest := crypt(passwords[WhatsminerV2], wmSalt)
	return sha256.Sum256([]byte(digest)), crypt(digest+wmTokenTime, wmNewSalt)
})

// whatsminerV2 answers on MicroBT's older wire.
func (f *Fleet) whatsminerV2(m *machine, out []byte, req request, now time.Time) []byte {
	if req.Enc != nil {
		return f.sealedV2(m, out, req, now)
	}
	w, ths := f.measured(m, now)
	say := func(code int, msg string) []byte {
		return fmt.Appendf(out, `{"STATUS":"S","When":%d,"Code":%d,"Msg":%s,"Description":""}`, now.Unix(), code, msg)
	}
	switch req.Command {
	case "get_token":
		return say(134, fmt.Sprintf(`{"time":%q,"salt":%q,"newsalt":%q}`, wmTokenTime, wmSalt, wmNewSalt))
	case "get_version":
		return say(131, fmt.Sprintf(`{"api_ver":"2.0.5","fw_ver":"20230803.11.REL","platform":"H616","miner_type":%s}`, js(m.wmType())))
	case "status":
		return say(131, fmt.Sprintf(`{"mineroff":"%t","mineroff_reason":"","FirmwareVersion":"20230803.11.REL","power_mode":"normal","hash_percent":"0"}`, m.asleep))
	case "get_error_code":
		return say(131, `{"error_code":[]}`)
	case "get_miner_info":
		return say(131, fmt.Sprintf(`{"hostname":%s,"mac":%s,"ledstat":"auto"}`, js(m.spec.Name), js(m.mac())))
	case "summary":
		full := m.spec.Modes[m.home()]
		t := m.chipTemp(w)
		return done(fmt.Appendf(m.ok(out, now, "Summary", "SUMMARY"),
			`{"Elapsed":%d,"MHS av":%.2f,"MHS 5s":%.2f,"HS RT":%.2f,"Factory GHS":%.0f,"Power":%.0f,"Power Mode":"Normal","Power Limit":%d,`+
				`"Fan Speed In":5400,"Fan Speed Out":5280,"Chip Temp Max":%.1f,"Uptime":%d,"MAC":%s,"Firmware Version":"'20230803.11.REL'"}`,
			m.uptime(now), ths*1e6, ths*1e6, ths*1e6, float64(full.HashRate)*1000, w, full.Power+100, t, m.uptime(now), js(m.mac())))
	case "devdetails":
		return done(fmt.Appendf(m.ok(out, now, "Device Details", "DEVDETAILS"), `{"DEVDETAILS":0,"Name":"SM","ID":0,"Driver":"bitmicro","Model":%s}`, js(m.wmType())))
	case "edevs", "devs":
		out = m.ok(out, now, "3 ASC(s)", "DEVS")
		for i := range 3 {
			if i > 0 {
				out = append(out, ',')
			}
			out = fmt.Appendf(out, `{"ASC":%d,"Slot":%d,"Status":"Alive","MHS av":%.2f,"Chip Temp Max":%.1f,"Effective Chips":135}`, i, i, ths*1e6/3, m.chipTemp(w))
		}
		return done(out)
	case "pools":
		return done(fmt.Appendf(m.ok(out, now, "1 Pool(s)", "POOLS"),
			`{"POOL":1,"URL":"stratum+tcp://pool.example.com:3333","User":"account.worker1","Status":"Alive","Stratum Active":%t}`, !m.asleep))
	}
	return m.no(out, now, 14, "invalid cmd")
}

// wmType is the model as the firmware spells it.
func (m *machine) wmType() string { return strings.TrimPrefix(m.spec.Model, "Whatsminer ") }

// sealedV2 obeys an encrypted command, and answers as secretly.
func (f *Fleet) sealedV2(m *machine, out []byte, req request, now time.Time) []byte {
	no := func(code int, msg string) []byte {
		return fmt.Appendf(out, `{"STATUS":"E","When":%d,"Code":%d,"Msg":%q,"Description":""}`, now.Unix(), code, msg)
	}
	key, sign := wmKeys()
	b, err := base64.StdEncoding.DecodeString(req.Data)
	if err != nil || len(b)%aes.BlockSize != 0 {
		return no(137, "base64 decode error")
	}
	c, err := aes.NewCipher(key[:])
	if err != nil {
		return no(132, err.Error())
	}
	for i := 0; i < len(b); i += aes.BlockSize {
		c.Decrypt(b[i:], b[i:])
	}
	var q map[string]any
	if json.Unmarshal(bytes.TrimRight(b, "\x00"), &q) != nil {
		return no(23, "invalid JSON message")
	}
	if q["token"] != sign {
		return no(135, "check token error")
	}
	command, _ := q["cmd"].(string)
	percent, _ := q["percent"].(string)
	reply := fmt.Appendf(nil, `{"STATUS":"S","When":%d,"Code":131,"Msg":"API command OK","Description":""}`, now.Unix())
	if err := f.whatsminer(m, command, percent); err != nil {
		reply = fmt.Appendf(nil, `{"STATUS":"E","When":%d,"Code":132,"Msg":%s,"Description":""}`, now.Unix(), js(err.Error()))
	}
	for len(reply)%aes.BlockSize != 0 {
		reply = append(reply, 0)
	}
	for i := 0; i < len(reply); i += aes.BlockSize {
		c.Encrypt(reply[i:], reply[i:])
	}
	return fmt.Appendf(out, `{"enc":%q}`, base64.StdEncoding.EncodeToString(reply))
}

// home is the index of the mode that the machine mines in by itself.
func (m *machine) home() int { return modeIndex(m.spec.Modes, m.spec.Default) }

// whatsminer obeys a command in the words of the older wire. Its throttles are modes
// whose names are percentages.
func (f *Fleet) whatsminer(m *machine, command, percent string) error {
	switch m.fault {
	case Refuses:
		return fmt.Errorf("busy")
	case Ignores:
		return nil
	}
	switch command {
	case "power_off":
		return f.set(m, true, m.profile)
	case "power_on":
		return f.set(m, false, uint8(m.home())) // a throttle does not outlast a restart
	case "set_power_pct":
		if m.asleep {
			return fmt.Errorf("the machine is off")
		}
		i := modeIndex(m.spec.Modes, percent+"%")
		if percent == "100" {
			i = m.home()
		}
		if i < 0 {
			return fmt.Errorf("no virtual operating point is at %q per cent", percent)
		}
		return f.set(m, false, uint8(i))
	case "set_normal_power":
		return f.set(m, m.asleep, uint8(m.home()))
	}
	return fmt.Errorf("invalid cmd")
}

// serveV3 answers on MicroBT's newer wire: messages with their length before them.
func (f *Fleet) serveV3(m *machine, c net.Conn, d *desk) {
	for {
		var head [4]byte
		if _, err := io.ReadFull(d.r, head[:]); err != nil {
			return
		}
		n := binary.LittleEndian.Uint32(head[:])
		if n > 1<<16 {
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(d.r, b); err != nil {
			return
		}
		m.mu.Lock()
		d.out = f.whatsminerV3(m, append(d.out[:0], 0, 0, 0, 0), b, f.now())
		fault := m.fault
		m.mu.Unlock()
		binary.LittleEndian.PutUint32(d.out, uint32(len(d.out)-4))
		if !f.spoil(fault, d) {
			return
		}
		if _, err := c.Write(d.out); err != nil || fault == Truncated {
			return
		}
	}
}

// whatsminerV3 appends the reply to one message. The caller holds m.mu.
func (f *Fleet) whatsminerV3(m *machine, out, message []byte, now time.Time) []byte {
	var q struct {
		Cmd, Token, Account string
		TS                  json.Number
		Param               any
	}
	say := func(code int, msg string) []byte {
		return fmt.Appendf(out, `{"code":%d,"when":%d,"msg":%s,"desc":%s}`, code, now.Unix(), msg, js(q.Cmd))
	}
	if json.Unmarshal(message, &q) != nil {
		return say(-3, `"invalid json"`)
	}
	w, ths := f.measured(m, now)
	switch q.Cmd {
	case "get.device.info":
		if q.Param == "salt" {
			return say(0, fmt.Sprintf(`{"salt":%q}`, wmSalt))
		}
		return say(0, fmt.Sprintf(`{"network":{"mac":%s,"hostname":%s},"miner":{"working":"%t","type":%s,"cointype":"BTC/BCH/BSV","power-limit-set":"%d"},`+
			`"system":{"api":"3.0.2","platform":"H616","fwversion":"20250915.16.Rel2","apiswitch":"1"},"power":{"type":"P221C","pin":%.0f},"salt":%q,"error-code":[]}`,
			js(m.mac()), js(m.spec.Name), !m.asleep, js(m.wmType()), m.spec.Modes[m.home()].Power+100, w, wmSalt))
	case "get.miner.setting":
		percent, _ := strconv.Atoi(strings.TrimSuffix(m.spec.Modes[m.profile].Name, "%"))
		return say(0, fmt.Sprintf(`{"power-limit":%d,"power-mode":"normal","power-percent":%d,"fast-boot":"disable"}`, m.spec.Modes[m.home()].Power+100, percent))
	case "get.miner.status":
		return say(0, m.statusV3(q.Param, w, ths, now))
	}
	// The token of a command is made of the time that goes with it, which must be about now.
	sum := sha256.Sum256([]byte(q.Cmd + m.password() + wmSalt + q.TS.String()))
	ts, _ := q.TS.Int64()
	if q.Account != m.user() || q.Token != base64.StdEncoding.EncodeToString(sum[:])[:8] || max(ts-now.Unix(), now.Unix()-ts) > tokenLife {
		return say(-4, `"no permission"`)
	}
	command, percent := "", ""
	switch q.Cmd {
	case "set.miner.service":
		command = map[any]string{"start": "power_on", "stop": "power_off"}[q.Param]
	case "set.miner.power_percent":
		p, _ := q.Param.(map[string]any)
		command, percent = "set_power_pct", fmt.Sprint(p["percent"])
	case "set.miner.power_mode":
		command = fmt.Sprintf("set_%v_power", q.Param)
	}
	if command == "" {
		return say(-2, `"invalid command"`)
	}
	if err := f.whatsminer(m, command, percent); err != nil {
		return say(-1, string(js(err.Error())))
	}
	return say(0, `"ok"`)
}

// tokenLife is how far the time of a command may lie from the machine's, in seconds.
// The clock of a virtual site may run a thousand times as fast as a call takes.
const tokenLife = 3600

func (m *machine) statusV3(param any, w, ths float64, now time.Time) string {
	var parts []string
	asked, _ := param.(string)
	for part := range strings.SplitSeq(asked, "+") {
		switch part {
		case "summary":
			full := m.spec.Modes[m.home()]
			t := m.chipTemp(w)
			parts = append(parts, fmt.Sprintf(`"summary":{"elapsed":%d,"bootup-time":%d,"factory-hash":%.1f,"hash-average":%.2f,"hash-1min":%.2f,"hash-realtime":%.2f,"power-5min":%.0f,"power-realtime":%.0f,`+
				`"board-temperature":[%.1f,%.1f,%.1f],"chip-temp-max":%.1f,"power-limit":%d,"up-freq-finish":1,"fan-speed-in":4980,"fan-speed-out":5070}`,
				m.uptime(now), m.uptime(now)+40, float64(full.HashRate), ths, ths, ths, w, w, t-12, t-11, t-10, t, full.Power+100))
		case "pools":
			parts = append(parts, fmt.Sprintf(`"pools":[{"id":1,"url":"stratum+tcp://pool.example.com:3333","account":"account.worker1","status":"alive","stratum-active":%t}]`, !m.asleep))
		case "edevs":
			var devs []string
			for i := range 3 {
				devs = append(devs, fmt.Sprintf(`{"id":%d,"slot":%d,"hash-average":%.2f,"effective-chips":135,"chip-temp-max":%.1f}`, i, i, ths/3, m.chipTemp(w)))
			}
			parts = append(parts, `"edevs":[`+strings.Join(devs, ",")+`]`)
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}
