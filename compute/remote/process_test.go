package remote_test

// Bodies of the processes that tests kill; see procs_test.go.
func agentProcess(string) int { return 0 }
func guardProcess(string) int { return 0 }
func siteProcess(string) int  { return 0 }
