// The history of the picture: read for a range, then grown by what the status
// events say, and thinned as it grows.

import { get } from './api'
import type { Page, Sample, Status } from './types'

export const points = 720

export interface Range { label: string; seconds: number }
export const ranges: Range[] = [
  { label: '1 h', seconds: 3600 },
  { label: '6 h', seconds: 6 * 3600 },
  { label: '24 h', seconds: 24 * 3600 },
  { label: '3 d', seconds: 72 * 3600 },
]

export async function history(now: Date, seconds: number): Promise<Sample[]> {
  const from = new Date(now.getTime() - seconds * 1000).toISOString()
  const page = await get<Page<Sample>>(`history?from=${from}&to=${now.toISOString()}&points=${points}`)
  return (page.items ?? []).filter((s) => s.at)
}

export const sampleOf = (s: Status): Sample => ({
  at: s.now, limit_kw: s.limit_kw, load_kw: s.load_kw, mining_kw: s.mining_kw, ai_kw: s.ai_kw,
  price_usd_per_mwh: s.price_usd_per_mwh, margin_usd_per_hour: s.margin_usd_per_hour,
  gpus_busy: s.gpus_busy, hashrate_ph_s: s.hashrate_ph_s,
})

/** Adds a sample at the end; the last one moves until it is a step away. */
export function grow(samples: Sample[], s: Sample, seconds: number): Sample[] {
  const at = Date.parse(s.at)
  const from = at - seconds * 1000
  const out = samples.filter((x) => Date.parse(x.at) >= from)
  const step = (seconds * 1000) / points
  const last = out.at(-1)
  const before = out.at(-2)
  if (last && Date.parse(last.at) >= at) return samples
  if (last && before && Date.parse(last.at) - Date.parse(before.at) < step) out[out.length - 1] = s
  else out.push(s)
  return out
}

/**
 * Power by use under the metered load. Machines are read one after another, so
 * that their sum lags the meter while many of them change: the meter counts.
 */
export function uses(s: { load_kw: number; ai_kw: number; mining_kw: number }) {
  const load = s.load_kw > 0 ? s.load_kw : s.ai_kw + s.mining_kw
  const ai = Math.min(s.ai_kw, load)
  const mining = Math.min(s.mining_kw, load - ai)
  return { load, ai, mining, other: load - ai - mining, lag: s.ai_kw + s.mining_kw - ai - mining }
}

/** Columns for uPlot, in its order: x, AI, AI + mining, all, limit, price. */
export function columns(samples: Sample[]): (number | null)[][] {
  const c: (number | null)[][] = [[], [], [], [], [], []]
  for (const s of samples) {
    const u = uses(s)
    c[0]!.push(Date.parse(s.at) / 1000)
    c[1]!.push(u.ai)
    c[2]!.push(u.ai + u.mining)
    c[3]!.push(u.load)
    c[4]!.push(s.limit_kw > 0 ? s.limit_kw : null)
    c[5]!.push(s.price_usd_per_mwh)
  }
  return c
}
