package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/tenant"
	"sluice/server"

	"github.com/spf13/cobra"
)

func tenantCmd() *cobra.Command {
	cmd, at := talks(apiGroup("tenant", "Clients of the AI division: who they are and what they may do"))
	cmd.AddCommand(tenantAddCmd(at), tenantListCmd(at), tenantShowCmd(at), tenantSetCmd(at), tenantSwitchCmd(at, true), tenantSwitchCmd(at, false),
		tenantTokenCmd(at), tenantTokensCmd(at), tenantRevokeCmd(at))
	return cmd
}

// policyFlags are the flags of a tenant's policy; only those that are given count.
type policyFlags struct {
	trusted                         bool
	isolation, egress, spend        string
	regions, labels, allow          []string
	weight                          float64
	maxPriority, maxUnits, maxQueue int
}

func (p *policyFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&p.trusted, "trusted", false, "its jobs may run as processes of a host")
	f.StringVar(&p.isolation, "isolation", "", "least isolation: process (trusted only), container or sandbox")
	f.StringVar(&p.egress, "egress", "", "what its jobs may reach: none, internet, open, or host (trusted only)")
	f.StringSliceVar(&p.allow, "egress-allow", nil, "what its jobs may reach besides internet or none, `CIDR[:PORT[-PORT]]` (repeatable)")
	f.StringSliceVar(&p.regions, "region", nil, "its jobs run in this region only (repeatable)")
	f.StringArrayVar(&p.labels, "label", nil, "that every host must have, KEY=VALUE (repeatable)")
	f.Float64Var(&p.weight, "weight", 0, "of its fair share")
	f.IntVar(&p.maxPriority, "max-priority", 0, "highest priority that its jobs may ask for")
	f.IntVar(&p.maxUnits, "max-units", 0, "GPUs and CPU slots that it holds at once; 0: no limit")
	f.IntVar(&p.maxQueue, "max-queued", 0, "jobs that wait; 0: no limit")
	f.StringVar(&p.spend, "spend-limit", "", "in a calendar month, such as 500USD; 0: no limit")
}

// change reads what was given.
func (p *policyFlags) change(cmd *cobra.Command) (tenant.Change, error) {
	var c tenant.Change
	given := cmd.Flags().Changed
	if given("trusted") {
		c.Trusted = &p.trusted
	}
	if given("isolation") {
		i := compute.Isolation(p.isolation)
		c.Isolation = &i
	}
	if given("egress") {
		e := compute.Egress(p.egress)
		c.Egress = &e
	}
	if given("egress-allow") {
		allow := slices.DeleteFunc(p.allow, func(a string) bool { return a == "" })
		c.EgressAllow = &allow
	}
	if given("region") {
		regions := slices.DeleteFunc(p.regions, func(r string) bool { return r == "" })
		c.Regions = &regions
	}
	if given("label") {
		labels := map[string]string{}
		for _, l := range p.labels {
			k, v, ok := strings.Cut(l, "=")
			switch {
			case l == "": // --label= takes all away
			case !ok || k == "":
				return c, sluice.Errorf(sluice.Invalid, "write --label cert=iso27001", "--label %q is not KEY=VALUE", l)
			default:
				labels[k] = v
			}
		}
		c.Labels = &labels
	}
	if given("weight") {
		c.Weight = &p.weight
	}
	if given("max-priority") {
		c.MaxPriority = &p.maxPriority
	}
	if given("max-units") {
		c.MaxUnits = &p.maxUnits
	}
	if given("max-queued") {
		c.MaxQueued = &p.maxQueue
	}
	if given("spend-limit") {
		m, err := parseUSD(p.spend)
		if err != nil {
			return c, err
		}
		c.SpendLimit = &m
	}
	return c, nil
}

// parseUSD reads an amount such as 500USD, 500 or $99.50.
func parseUSD(s string) (sluice.Money, error) {
	text := strings.TrimSpace(strings.TrimSuffix(strings.ToUpper(strings.TrimPrefix(strings.TrimSpace(s), "$")), "USD"))
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v <= 1e9) {
		return 0, sluice.Errorf(sluice.Invalid, "write it as 500USD", "%q is no amount of money", s)
	}
	return sluice.MoneyOfUSD(v), nil
}

func tenantAddCmd(at *remote) *cobra.Command {
	var p policyFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Take a client on",
		Example: "  sluice tenant add acme --region DE-HE --spend-limit 500USD --max-units 16\n  (umask 077; sluice tenant token acme --name laptop > acme.token)",
		Args:    exactly("NAME"),
	}
	p.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		change, err := p.change(cmd)
		if err != nil {
			return err
		}
		return sendTenant(cmd, at, http.MethodPost, "/tenants", server.TenantOrder{Name: args[0], By: me(), Change: change}, asJSON, "taken on")
	}
	return cmd
}

func tenantSetCmd(at *remote) *cobra.Command {
	var p policyFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Change what a client may do",
		Long: "Change what a client may do. What is not given stays as it is; --region= and --label= take all away.",
		Args: exactly("NAME"),
	}
	p.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		change, err := p.change(cmd)
		if err != nil {
			return err
		}
		if change == (tenant.Change{}) {
			return sluice.Errorf(sluice.Invalid, "see "+cmd.CommandPath()+" --help", "nothing to change is given")
		}
		return sendTenant(cmd, at, http.MethodPatch, "/tenants/"+url.PathEscape(args[0]), server.TenantChange{By: me(), Change: change}, asJSON, "changed")
	}
	return cmd
}

func tenantSwitchCmd(at *remote, off bool) *cobra.Command {
	use, short, done := "enable NAME", "Let a disabled client in again", "enabled"
	if off {
		use, short, done = "disable NAME", "Keep a client out: its tokens open nothing and none of its jobs starts", "disabled"
	}
	var asJSON bool
	cmd := &cobra.Command{Use: use, Short: short, Args: exactly("NAME")}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		order := server.TenantChange{By: me(), Change: tenant.Change{Disabled: &off}}
		return sendTenant(cmd, at, http.MethodPatch, "/tenants/"+url.PathEscape(args[0]), order, asJSON, done)
	}
	return cmd
}

func sendTenant(cmd *cobra.Command, at *remote, method, path string, order any, asJSON bool, done string) error {
	c, err := at.open()
	if err != nil {
		return err
	}
	t, raw, err := askFor[compute.Tenant](cmd.Context(), c, method, path, order)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), raw)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "tenant %s is %s, version %d of its policy\n", plain(t.Name), done, t.Version)
	return nil
}

func tenantListCmd(at *remote) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List the clients", Args: exactly()}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		p, raw, err := askFor[server.Page[compute.Tenant]](cmd.Context(), c, http.MethodGet, "/tenants", nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		g := newGrid(cmd.OutOrStdout(), "NAME", "STATE", "ISOLATION", "REGIONS", "MAX UNITS", "MAX QUEUED", "SPEND LIMIT", "VERSION")
		for _, t := range p.Items {
			g.row(t.Name, tenantState(t), string(t.Floor()), orDash(strings.Join(t.Regions, ",")), noLimit(t.MaxUnits), noLimit(t.MaxQueued), spendLimit(t.SpendLimit), fmt.Sprint(t.Version))
		}
		return g.flush()
	}
	return cmd
}

func tenantState(t compute.Tenant) string {
	switch {
	case t.Disabled:
		return "disabled"
	case t.Trusted:
		return "trusted"
	}
	return "in force"
}

func noLimit(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func spendLimit(m sluice.Money) string {
	if m == 0 {
		return "-"
	}
	return m.String()
}

func tenantShowCmd(at *remote) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show [NAME]", Short: "Show a client; without a name, the one whose token is used",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exactly("NAME")(cmd, args)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		path := "/tenant"
		if len(args) > 0 {
			path = "/tenants/" + url.PathEscape(args[0])
		}
		t, raw, err := askFor[server.TenantInfo](cmd.Context(), c, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		return writeTenant(cmd.OutOrStdout(), t)
	}
	return cmd
}

func writeTenant(w io.Writer, t server.TenantInfo) error {
	g := newGrid(w)
	g.row("tenant", t.Name)
	g.row("state", fmt.Sprintf("%s, version %d of its policy", tenantState(t.Tenant), t.Version))
	g.row("isolation", string(t.Floor())+" at least")
	egress := string(t.Reaches())
	if len(t.EgressAllow) > 0 {
		egress += ", and " + strings.Join(t.EgressAllow, ", ")
	}
	g.row("egress", egress)
	g.row("regions", orDash(strings.Join(t.Regions, ", ")))
	var labels []string
	for _, k := range slices.Sorted(maps.Keys(t.Labels)) {
		labels = append(labels, k+"="+t.Labels[k])
	}
	g.row("labels of hosts", orDash(strings.Join(labels, ", ")))
	g.row("priority", fmt.Sprintf("up to %d", t.MaxPriority))
	g.row("holds", fmt.Sprintf("%d units of %s", t.Held, noLimit(t.MaxUnits)))
	g.row("queue", fmt.Sprintf("%d jobs of %s", t.Queued, noLimit(t.MaxQueued)))
	g.row("spent this month", fmt.Sprintf("%s of %s: %s", t.Spending.Spent, spendLimit(t.Spending.Limit), t.Spending.State))
	g.row("then", t.Spending.Then)
	for _, m := range t.Bill {
		g.row("billed "+m.Month, m.Spent.String())
	}
	return g.flush()
}

func tenantTokenCmd(at *remote) *cobra.Command {
	var expires time.Duration
	var name string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "token NAME", Short: "Issue a token and print it, this once",
		Long:    "Issue a token and print it, this once: it is kept nowhere. Write it into a file that only its user can read.",
		Example: "  (umask 077; sluice tenant token acme --name laptop --expires 720h > acme.token)\n  sluice job list --server https://site.example --token-file acme.token",
		Args:    exactly("NAME"),
	}
	cmd.Flags().DurationVar(&expires, "expires", 0, "how long it is good, such as 720h; 0: until it is revoked")
	cmd.Flags().StringVar(&name, "name", "", "what it is for, such as laptop")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if expires < 0 {
			return sluice.Errorf(sluice.Invalid, "write --expires 720h", "--expires %s is in the past", expires)
		}
		c, err := at.open()
		if err != nil {
			return err
		}
		t, raw, err := askFor[server.IssuedToken](cmd.Context(), c, http.MethodPost, "/tenants/"+url.PathEscape(args[0])+"/tokens",
			server.TokenOrder{Name: name, ExpiresS: expires.Seconds(), By: me()})
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		fmt.Fprintln(cmd.OutOrStdout(), plain(t.Secret))
		fmt.Fprintf(cmd.ErrOrStderr(), "token %s of %s, good %s; it is shown this once\n", t.ID, plain(t.Tenant), until(t.ExpiresAt))
		return nil
	}
	return cmd
}

func until(t *time.Time) string {
	if t == nil {
		return "until it is revoked"
	}
	return "until " + stamp(*t) + " UTC"
}

func tenantTokensCmd(at *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "tokens NAME", Short: "List a client's tokens", Args: exactly("NAME")}
	path := func(args []string) string { return "/tenants/" + url.PathEscape(args[0]) + "/tokens" }
	when := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return stamp(*t)
	}
	return shows(cmd, at, path, func(w io.Writer, p server.Page[tenant.Token]) error {
		g := newGrid(w, "ID", "NAME", "CREATED", "EXPIRES", "REVOKED", "LAST USED")
		for _, t := range p.Items {
			g.row(t.ID, orDash(t.Name), stamp(t.CreatedAt), when(t.ExpiresAt), when(t.RevokedAt), when(t.UsedAt))
		}
		return g.flush()
	})
}

func tenantRevokeCmd(at *remote) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "revoke ID", Short: "Revoke a token, at once", Args: exactly("ID")}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		t, raw, err := askFor[tenant.Token](cmd.Context(), c, http.MethodDelete, "/tokens/"+url.PathEscape(args[0])+"?by="+url.QueryEscape(me()), nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "token %s of %s opens nothing any more\n", plain(t.ID), plain(t.Tenant))
		return nil
	}
	return cmd
}

func vaultCmd() *cobra.Command {
	cmd, at := talks(apiGroup("vault", "The keys of jobs' secrets"))
	var asJSON bool
	rotate := &cobra.Command{
		Use: "rotate", Short: "Change the master key",
		Long: "Change the master key: the keys of all jobs' secrets are wrapped anew and the old master\nkey is destroyed. What runs goes on; a crash in the middle is finished at the next start.",
		Args: exactly(),
	}
	rotate.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	rotate.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		r, raw, err := askFor[server.Rotated](cmd.Context(), c, http.MethodPost, "/vault/rotate", nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "the master key is changed; %d keys of jobs were wrapped anew\n", r.Keys)
		return nil
	}
	cmd.AddCommand(rotate)
	return cmd
}
