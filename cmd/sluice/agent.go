package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/compute"
	"sluice/compute/agent"
	"sluice/compute/docker"
	"sluice/compute/process"
	"sluice/config"
	"sluice/fabric"
)

// agentFlags are the options of `sluice agent`.
type agentFlags struct {
	join, token, tokenFile string
	data, name, ca, from   string
	ways                   executorFlags
	verbose                bool
}

// executorFlags say how an agent's machine runs jobs; its guard gets them too.
type executorFlags struct {
	names           []string
	docker, sandbox string // sockets
	image           string
	gpus            string // auto or none
	config          string // file
}

// engineFlags are those that a file says instead.
var engineFlags = []string{"docker-socket", "sandbox-socket", "image"}

func (f *executorFlags) add(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.names, "executor", []string{"process"}, "how jobs run here: process, for tenants marked trusted; docker")
	c.Flags().StringVar(&f.docker, "docker-socket", "/run/podman/podman.sock", "docker: `PATH` of the socket of Docker's or Podman's engine")
	c.Flags().StringVar(&f.sandbox, "sandbox-socket", "", "docker: `PATH` of the engine for sandboxed jobs, where it is another")
	c.Flags().StringVar(&f.image, "image", "", "docker: `IMAGE` of jobs that name none")
	c.Flags().StringVar(&f.gpus, "gpus", gpusAuto, "auto: jobs get the NVIDIA GPUs that the driver shows; none: no GPU is touched")
	c.Flags().StringVar(&f.config, "config", "", "YAML `FILE` with containers: and idle_mining:, as a site's own host has them (docs/hosts.md), instead of the three for docker")
	for _, other := range engineFlags {
		c.MarkFlagsMutuallyExclusive("config", other)
	}
}

// args are the flags again, for the guard.
func (f executorFlags) args() []string {
	names := "--executor=" + strings.Join(f.names, ",")
	if f.config != "" {
		return []string{names, "--config=" + f.config}
	}
	return []string{names, "--docker-socket=" + f.docker, "--sandbox-socket=" + f.sandbox, "--image=" + f.image}
}

// own is what this machine says itself.
func (f executorFlags) own() (*config.Agent, error) {
	if f.config != "" {
		return config.LoadAgent(f.config)
	}
	a := config.DefaultAgent()
	a.Containers.Socket, a.Containers.SandboxSocket, a.Containers.Image = f.docker, f.sandbox, f.image
	return a, nil
}

// tokenVariable may hold the join token instead of a file.
const tokenVariable = "SLUICE_TOKEN"

func agentCmd() *cobra.Command {
	var f agentFlags
	c := &cobra.Command{
		Use:   "agent",
		Short: "Run a site's jobs on this machine until Ctrl-C",
		Long: `Run a site's jobs on this machine until Ctrl-C. The machine joins the site with a
token that sluice host token NAME has made there. Jobs go on when the agent ends or
is killed, and the next agent over the same data folder finds them again. While the
site cannot be reached they go on until their lease is over (docs/hosts.md).`,
		Example: "  sluice agent --join tls://site.example:8421 --token-file /etc/sluice/token",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runAgent(c.Context(), f, c)
		},
	}
	c.Flags().StringVar(&f.join, "join", "", "`URL` of the site's fabric, tls://host:port")
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "`FILE` of mode 0600 with the join token (or the token in $"+tokenVariable+")")
	c.Flags().StringVar(&f.token, "token", "", "the join `TOKEN` itself: whoever may list this machine's processes can read it")
	c.Flags().StringVar(&f.data, "data", "", "data folder `DIR` (default: ~/.local/share/sluice/site-agent-NAME)")
	c.Flags().StringVar(&f.name, "name", "", "`NAME` that the token must be of; a check, nothing more")
	f.ways.add(c)
	c.Flags().StringVar(&f.ca, "ca", "", "`FILE` with the authorities of an existing cluster (default: the system's)")
	c.Flags().StringVar(&f.from, "from", "", "`ADDRESS` of this machine to connect from, where it has several")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log more")
	return c
}

// readJoinToken takes the token from the one place that was given.
func (f agentFlags) readJoinToken() (fabric.JoinToken, error) {
	env := os.Getenv(tokenVariable)
	given := 0
	for _, s := range []string{f.token, f.tokenFile, env} {
		if s != "" {
			given++
		}
	}
	const hint = "sluice host token NAME on the site makes one; write it into a file of mode 0600 and give --token-file"
	switch {
	case given == 0:
		return fabric.JoinToken{}, sluice.Errorf(sluice.Invalid, hint, "the agent needs a join token")
	case given > 1:
		return fabric.JoinToken{}, sluice.Errorf(sluice.Invalid, "", "give the join token once: --token-file, --token or $%s", tokenVariable)
	case f.tokenFile != "":
		return fabric.ReadToken(f.tokenFile)
	case env != "":
		return fabric.ParseToken(env)
	}
	return fabric.ParseToken(f.token)
}

func runAgent(ctx context.Context, f agentFlags, c *cobra.Command) error {
	if f.join == "" {
		return sluice.Errorf(sluice.Invalid, "sluice host token NAME on the site prints the whole command", "give --join URL")
	}
	tok, err := f.readJoinToken()
	if err != nil {
		return err
	}
	if f.name != "" && f.name != tok.Host {
		return sluice.Errorf(sluice.Invalid, "", "the token is that of the host %s, not of %s", tok.Host, f.name)
	}
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	if f.token != "" {
		log.Warn("the token stands in this process's arguments for others on this machine to read; --token-file keeps it out")
	}
	dir, err := agentDir(f.data, tok.Host)
	if err != nil {
		return err
	}
	gpus, err := findAgentGPUs(ctx, f.ways.gpus, log)
	if err != nil {
		return err
	}
	defer gpus.close()
	if f.ways.config != "" {
		if f.ways.config, err = filepath.Abs(f.ways.config); err != nil { // the guard has another folder
			return err
		}
	}
	own, err := f.ways.own()
	if err != nil {
		return err
	}
	if err := gpus.mines(own.IdleMining); err != nil {
		return err
	}
	executors, err := agentExecutors(f.ways.names, own.Containers, gpus)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program to guard runs with: %w", err)
	}
	facts := agent.HostFacts(tok.Host, version, filepath.Dir(dir))
	facts.Address, facts.GPUs = f.from, gpus.facts()
	for _, x := range executors {
		facts.Executors = append(facts.Executors, x.Name)
		facts.Isolations = append(facts.Isolations, x.Isolations...)
	}
	a, err := agent.New(agent.Config{
		Dir:       dir,
		Link:      fabric.LinkConfig{URL: f.join, Token: tok, CAFile: f.ca, LocalAddress: f.from},
		Executors: executors, Facts: facts, Sources: append(gpus.sources(), agent.NewHost(dir)), Log: log,
		OnPower: gpus.heard(),
		Prepare: func(ctx context.Context) error { return gpus.prepare(ctx, dir, executors, log) },
		Guard:   append([]string{self, "agent-guard"}, f.ways.args()...),
	})
	if err != nil {
		return err
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	gpus.watch(watch, log, a.Fault)
	mined := gpus.mine(watch, log)
	for _, x := range executors {
		if engine, ok := x.Run.(tryable); ok {
			k := own.Containers
			w := &engineWatch{
				engine: engine, isolations: x.Isolations, where: tok.Host, log: log, hold: a.HoldBack, said: map[compute.Isolation]string{},
				extra: k.SandboxSocket == "" && len(k.Isolations) == 0,
			}
			w.holdAll()
			go w.run(ctx)
		}
	}
	err = a.Run(ctx)
	stop()
	<-mined
	return err
}

func agentDir(given, name string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	return dataDir("", false, "agent-"+name)
}

// agentExecutors makes the ways in which this machine runs jobs. Its guard's hold no GPUs:
// it ends runs, and the next agent takes the GPUs back.
func agentExecutors(names []string, k config.Containers, g *agentGPUs) ([]agent.Executor, error) {
	var out []agent.Executor
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		switch name {
		case "process":
			x, err := process.New(process.Config{GPUs: g.of("")})
			if err != nil {
				return nil, err
			}
			out = append(out, agent.Executor{Name: name, Run: x, Isolations: []compute.Isolation{compute.IsolationNone}})
		case "docker":
			x, err := docker.New(engineConfig(k, g.of(inContainers)))
			if err != nil {
				return nil, err
			}
			out = append(out, agent.Executor{Name: name, Run: x, Isolations: may(k)})
		default:
			return nil, sluice.Errorf(sluice.Invalid, "--executor process, docker, or process,docker", "there is no executor %q for an agent", name)
		}
	}
	return out, nil
}

// guardCmd is the process that ends runs whose lease is over when no agent is
// there to do it. The agent starts it.
func guardCmd() *cobra.Command {
	var f executorFlags
	c := &cobra.Command{
		Use: "agent-guard DIR", Short: "End an agent's runs when their lease is over (started by the agent)", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			own, err := f.own()
			if err != nil {
				return err
			}
			x, err := agentExecutors(f.names, own.Containers, nil)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), 365*24*time.Hour)
			defer cancel()
			return agent.Guard(ctx, args[0], x)
		},
	}
	f.add(c)
	return c
}
