package jobfile

import (
	_ "embed"
	"fmt"
	"strings"
)

// srun and scontrol are what a script finds of these commands, for lack of a
// Slurm: see docs/jobs.md for what they do and what they refuse.
var (
	//go:embed srun.sh
	srun string
	//go:embed scontrol.sh
	scontrol string
)

// run makes the text that a shell runs of the script: it puts the script into a
// file, so that its first line chooses its interpreter, lays srun and scontrol
// beside it, and lets its output go to its files and to the job's log.
func (s *script) run() string {
	var b strings.Builder
	b.WriteString("# an sbatch script, and what it finds around it\n" +
		"b=\"$PWD/.sluice/batch-${SLURM_NODEID:-0}\"\n" +
		"mkdir -p \"$b/bin\" && rm -f \"$b/out\" \"$b/err\" || exit\n")
	for _, f := range [][2]string{{"bin/srun", srun}, {"bin/scontrol", scontrol}, {"script", s.text}} {
		end := "END"
		for n := 0; strings.Contains("\n"+f[1]+"\n", "\n"+end+"\n"); n++ {
			end = fmt.Sprintf("END-%d", n)
		}
		fmt.Fprintf(&b, "cat >\"$b/%s\" <<'%s' || exit\n%s\n%s\n", f[0], end, strings.TrimSuffix(f[1], "\n"), end)
	}
	b.WriteString("chmod 700 \"$b/script\" \"$b/bin/srun\" \"$b/bin/scontrol\" || exit\n" +
		"PATH=\"$b/bin:$PATH\" && export PATH\n")
	stdin, out, err := "/dev/null", "", "2>&1"
	if s.input != "" {
		word, _ := pattern(s.input) // it was read before
		stdin = word
	}
	if s.p.task.Output != "/dev/null" {
		out = "\"$b/out\""
		tee(&b, "out", s.p.task.Output, "")
	}
	if s.errOut != "" && s.errOut != "/dev/null" && s.errOut != s.p.task.Output {
		err = "2>\"$b/err\""
		tee(&b, "err", s.errOut, " >&2")
	}
	if out != "" {
		out = " >" + out
	}
	if s.errOut == "/dev/null" {
		err = "" // to the log, as what goes to no file does
	}
	fmt.Fprintf(&b, "exec \"$b/script\" <%s%s %s\n", stdin, out, err)
	return b.String()
}

// tee copies what comes through a pipe to a file. It goes on when the job is told
// to stop, to its last line, and ends with the last who writes.
func tee(b *strings.Builder, pipe, file, to string) {
	word, _ := pattern(file) // it was read before
	fmt.Fprintf(b, "mkdir -p \"$(dirname %[2]s)\" && mkfifo \"$b/%[1]s\" || exit\n"+
		"( trap '' HUP INT QUIT ALRM TERM USR1 USR2; exec tee -a %[2]s <\"$b/%[1]s\"%[3]s ) &\n", pipe, word, to)
}
