// Package pivot answers the owner's question: how many megawatts of mining
// should be converted to AI? It takes a site with its miners, its energy
// contract and its grid connection, what may be built in the miners' place, and
// recorded prices, and says for each share of the site what that would bring,
// what it would cost, and how sure it is.
//
// How it works. The history is cut into weeks (market.go). What each week is
// worth at each share and each level of the hashprice is found by dispatch.Solve
// over its 168 hours (week.go, table.go): miners stop when power is dear, and
// make room for AI when the grid calls back what is not firm. Scenarios are drawn
// from these weeks in blocks, so that prices and hashprice stay together
// (scenario.go), turned into monthly cash (cash.go) and measured (finance.go,
// measure.go). The same data and seed give the same result, to the bit, on any
// number of cores.
//
// docs/pivot.md has the formulas and the check against published deals.
package pivot
