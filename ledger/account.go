package ledger

import (
	"fmt"
	"strings"

	"sluice"
)

// Accounts that Settle posts to, besides those of tenants.
const (
	AccountPool          = "assets:receivable:pool"
	AccountGrid          = "assets:receivable:grid" // what is owed for reserves
	AccountEnergyOwed    = "liabilities:energy"
	AccountHashrate      = "revenue:mining:hashrate"
	AccountPoolFee       = "expenses:mining:pool-fee"
	AccountMiningEnergy  = "expenses:mining:energy"
	AccountAIEnergy      = "expenses:ai:energy"
	maxAccountLen        = 512
	energyExpenseSegment = "energy"
	reserveSegment       = "reserve"
)

// AccountTenant returns the account of what the tenant owes.
func AccountTenant(tenant string) string { return "assets:receivable:tenant:" + Segment(tenant) }

// AccountAIRevenue returns the account of what the tenant was charged.
func AccountAIRevenue(tenant string) string { return "revenue:ai:" + Segment(tenant) }

// AccountReserve returns the account of what a reserve has earned. The load that
// stands ready is the miners', so the income is mining's.
func AccountReserve(name string) string {
	return "revenue:mining:" + reserveSegment + ":" + Segment(name)
}

// AccountCredits returns the account of what the tenant was credited.
func AccountCredits(tenant string) string { return AccountAIRevenue(tenant) + ":credits" }

// Segment makes one part of an account's name from any text: letters and digits
// of ASCII and - _ . @ + stay, every other byte becomes %XX, and the empty text
// a single %. Different texts give different segments.
func Segment(text string) string {
	if text == "" {
		return "%"
	}
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; plainSegment(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func plainSegment(c byte) bool {
	return alphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '@' || c == '+'
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// DivisionOf returns the division that a revenue or expense account names,
// "" for every other account.
func DivisionOf(account string) sluice.Division {
	root, rest, _ := strings.Cut(account, ":")
	if root != "revenue" && root != "expenses" {
		return ""
	}
	d, _, _ := strings.Cut(rest, ":")
	return sluice.Division(d)
}

func checkAccount(name string) error {
	if len(name) > maxAccountLen {
		return fmt.Errorf("account name of %d bytes, at most %d are legal", len(name), maxAccountLen)
	}
	parts := strings.Split(name, ":")
	for _, p := range parts {
		if p == "" {
			return fmt.Errorf("account %q has an empty part", name)
		}
		for i := range len(p) {
			if !plainSegment(p[i]) && p[i] != '%' {
				return fmt.Errorf("account %q has a character that is not legal: %q", name, p[i])
			}
		}
	}
	if len(parts) < 2 {
		return fmt.Errorf("account %q has a single part", name)
	}
	switch parts[0] {
	case "assets", "liabilities", "equity":
		return nil
	case "revenue", "expenses":
		if d := DivisionOf(name); len(parts) < 3 || (d != sluice.Mining && d != sluice.AI) {
			return fmt.Errorf("account %q must name its division: %s:mining:… or %s:ai:…", name, parts[0], parts[0])
		}
		return nil
	}
	return fmt.Errorf("account %q is not under assets, liabilities, equity, revenue or expenses", name)
}
