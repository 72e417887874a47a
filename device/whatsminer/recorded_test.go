package whatsminer_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"sluice/device/devicetest"
	"sluice/device/whatsminer"
)

// TestRecordedReplies: what an M60S answers to commands, which is plain JSON with a
// code that the manual does not have, is a yes.
func TestRecordedReplies(t *testing.T) {
	const folder = "whatsminer/stock-v2-M60SVK40__proto-fleet/"
	token := devicetest.Recordings(t, folder+"rpc")["get_token"]
	for command, reply := range devicetest.Recordings(t, folder+"privileged") {
		a := devicetest.Serve(t, func(asked, _ string) []byte {
			if asked == "get_token" {
				return token
			}
			return reply // the command itself is encrypted
		})
		got, err := whatsminer.NewV2(a).Write(within(t, 5*time.Second), command, nil)
		if err != nil {
			t.Errorf("%s: %v", command, err)
			continue
		}
		var g, w any
		if json.Unmarshal(got, &g) != nil || json.Unmarshal(reply, &w) != nil {
			t.Fatalf("%s: %q", command, got)
		}
		x, _ := json.Marshal(g)
		y, _ := json.Marshal(w)
		if !bytes.Equal(x, y) {
			t.Errorf("%s: %s\n\twant %s", command, x, y)
		}
	}
}
