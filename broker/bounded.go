package broker

import (
	"fmt"
	"net"
)

// maxPacket bounds what is read of one message: the library would take up to
// 256 MB at the broker's word.
const maxPacket = 1 << 20

// bounded reads along with the frames that come in, and ends the connection at
// one that is too long. It also hears the broker's answer to the connection.
type bounded struct {
	net.Conn
	refused func(code byte)

	f frames
}

// frames follows the frames of MQTT through pieces of any size.
type frames struct {
	kind  byte // of the frame: the first byte's upper half
	state int  // 0: at a frame's first byte; 1: within its length; 2: within its body
	shift uint
	left  int // of the body
	done  int // bytes of the body that have passed
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	code, ferr := b.f.follow(p[:n])
	if code > 0 && b.refused != nil {
		b.refused(code)
	}
	if ferr != nil {
		_ = b.Conn.Close()
		return 0, ferr
	}
	return n, err
}

// follow takes in what has come. code is not 0 where the broker refuses the
// connection.
func (f *frames) follow(p []byte) (code byte, err error) {
	const connack = 2
	for i := 0; i < len(p); {
		switch f.state {
		case 0:
			*f = frames{kind: p[i] >> 4, state: 1}
			i++
		case 1:
			f.left |= int(p[i]&0x7f) << f.shift
			f.shift += 7
			switch {
			case f.left > maxPacket || (f.shift > 21 && p[i] >= 0x80):
				return code, fmt.Errorf("the broker sends a message of more than %d MiB", maxPacket>>20)
			case p[i] < 0x80 && f.left == 0:
				f.state = 0
			case p[i] < 0x80:
				f.state = 2
			}
			i++
		default:
			n := min(f.left, len(p)-i)
			if at := 1 - f.done; f.kind == connack && at >= 0 && at < n && p[i+at] != 0 {
				code = p[i+at] // the second byte of the body
			}
			f.left -= n
			f.done += n
			i += n
			if f.left == 0 {
				f.state = 0
			}
		}
	}
	return code, nil
}
