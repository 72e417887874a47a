// Package ledger owns the books of a site: a double-entry journal in integer
// millionths of a dollar that is only ever added to, with the results of the two
// divisions apart. It is pure: the time and all figures are arguments, the
// journal itself is kept by package store.
//
// Debits are positive, credits negative, every entry adds up to zero in each
// commodity. So assets and expenses are normally positive, liabilities and
// revenue negative. Energy at a negative price turns the signs, nothing else.
//
// The chart of accounts (a name's parts are separated by colons; d is mining or
// ai, t and r the names of a tenant and a reserve in the form of Segment):
//
//	assets:receivable:pool          what the pool owes for shares handed in
//	assets:receivable:grid          what the grid owes for load kept ready
//	assets:receivable:tenant:t      what a tenant owes for machine time
//	liabilities:energy              what the supplier of energy is owed
//	revenue:mining:hashrate         hashrate sold, at the hashprice, before the pool's fee
//	revenue:mining:reserve:r        load kept ready for the reserve r
//	revenue:ai:t                    machine time sold to a tenant
//	revenue:ai:t:credits            taken off it for what was promised and not kept
//	expenses:mining:pool-fee        the pool's fee
//	expenses:d:energy               the division's share of the energy of the meter
//
// Every account under revenue and expenses names its division second; assets
// and liabilities belong to the site. Further accounts under the five roots
// (assets, liabilities, equity, revenue, expenses) are legal.
package ledger
