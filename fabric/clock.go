package fabric

import "time"

var began = time.Now()
