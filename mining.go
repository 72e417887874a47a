package sluice

import (
	"math"
	"time"
)

// BlocksPerDay is the number of blocks that the bitcoin network aims at.
const BlocksPerDay = 144

// AssumedFeeShare is what is taken for transaction fees where they are not
// known: 2 % of the subsidy. Whoever uses it says so.
const AssumedFeeShare = 0.02

// NetworkHashRate returns the hashing speed that the difficulty implies:
// difficulty · 2³² / 600 s.
func NetworkHashRate(difficulty float64) HashRate {
	return HashRate(difficulty * math.Pow(2, 32) / 600 / 1e12)
}

// NetworkHashprice returns what one PH/s earns a day:
// (subsidy + fees per block) · 144 · BTC price / network hashrate in PH/s.
func NetworkHashprice(btcUSD, difficulty, subsidyBTC, feesBTC float64) Hashprice {
	phs := float64(NetworkHashRate(difficulty)) / 1000
	if phs <= 0 {
		return 0
	}
	return HashpriceFromUSD((subsidyBTC + feesBTC) * BlocksPerDay * btcUSD / phs)
}

// MiningRevenue returns what the hashrate earns in d after the pool's fee
// (a share, 0.02 for 2 %): TH/s / 1000 · hashprice · d / 24 h · (1 − fee).
func MiningRevenue(r HashRate, h Hashprice, poolFee float64, d time.Duration) Money {
	return Money(math.RoundToEven(float64(r) / 1000 * float64(h) * d.Hours() / 24 * (1 - poolFee)))
}

// Strike returns the price of energy at the meter above which a machine of the
// given efficiency (J/TH) loses money:
// hashprice · (1 − pool fee) / (0.024 · J/TH · overhead), overhead being meter
// kW per machine kW.
func Strike(h Hashprice, poolFee, joulesPerTH, overhead float64) EnergyPrice {
	if joulesPerTH <= 0 || overhead <= 0 {
		return 0
	}
	return EnergyPrice(math.RoundToEven(float64(h) * (1 - poolFee) / (0.024 * joulesPerTH * overhead)))
}
