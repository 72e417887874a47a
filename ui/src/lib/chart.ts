// How the picture of power against price is drawn.

import uPlot from 'uplot'
import { hourMinute } from './format'
import { css, priceKnee, priceTicks } from './states'

const font = '12px system-ui, sans-serif'
const days = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', day: 'numeric', month: 'short' })

const xTicks = [300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400]

const priceLabel = (v: number) => (Math.abs(v) >= 1000 ? `$${v / 1000}k` : v < 0 ? `−$${-v}` : `$${v}`)

/** Ticks that do not crowd each other on the bent scale. */
function priceSplits(u: uPlot): number[] {
  const { min, max } = u.scales.price!
  const out: number[] = []
  let last = Infinity
  for (const v of priceTicks) {
    if (v < min! || v > max!) continue
    const y = u.valToPos(v, 'price')
    if (Math.abs(last - y) >= 22) { out.push(v); last = y }
  }
  return out
}

/** Options without a size; x gives the ends of the time axis in Unix seconds. */
export function options(x: () => [number, number], onCursor: (i: number | null) => void): Omit<uPlot.Options, 'width' | 'height'> {
  const c = (name: string, alpha = '') => () => css(name) + alpha
  const axis = { font, stroke: c('--muted'), ticks: { stroke: c('--line'), size: 4 } }
  const steps = uPlot.paths.stepped!({ align: 1 }) // limits and prices hold until the next
  return {
    legend: { show: false },
    padding: [10, 0, 0, 0],
    tzDate: (ts) => new Date(ts * 1000),
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    focus: { alpha: 1 },
    scales: {
      x: { time: false, range: x },
      kw: { range: (_u, _lo, hi) => [0, Math.max(10, hi * 1.06)] },
      price: {
        distr: 4, asinh: priceKnee,
        range: (_u, lo, hi) => [Math.min(0, lo * 1.2), Math.max(150, hi * 1.9)],
      },
    },
    series: [
      {},
      // The areas are drawn from the whole stack down, each over the one before.
      { scale: 'kw', stroke: c('--ai'), fill: c('--ai', 'd8'), width: 1, points: { show: false } },
      { scale: 'kw', stroke: c('--mining'), width: 1, points: { show: false } },
      { scale: 'kw', stroke: c('--other'), width: 1, points: { show: false } },
      { scale: 'kw', stroke: c('--limit'), width: 2, dash: [7, 4], paths: steps, points: { show: false } },
      { scale: 'price', stroke: c('--price'), width: 1.75, paths: steps, points: { show: false } },
    ],
    bands: [
      { series: [2, 1], fill: c('--mining', 'c0') as never },
      { series: [3, 2], fill: c('--other', 'a0') as never },
    ],
    axes: [
      {
        ...axis, space: 70, size: 32, incrs: xTicks,
        grid: { stroke: c('--line'), width: 1 },
        values: (_u, at) => at.map((t) => (t % 86400 === 0 ? days.format(t * 1000) : hourMinute(t * 1000))),
      },
      {
        ...axis, scale: 'kw', size: 66,
        grid: { stroke: c('--line'), width: 1 },
        values: (_u, v) => v.map((kw) => (kw >= 1000 || kw === 0 ? `${kw / 1000} MW` : `${kw} kW`)),
      },
      {
        ...axis, scale: 'price', side: 1, size: 52, stroke: c('--price'), grid: { show: false },
        splits: priceSplits,
        filter: (_u: uPlot, v: number[]) => v, // uPlot's own drops most labels of a bent scale
        values: (_u, v) => v.map(priceLabel),
      },
    ],
    hooks: { setCursor: [(u) => onCursor(u.cursor.idx ?? null)] },
  }
}
