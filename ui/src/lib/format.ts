// How figures are written: always with their unit, power in the unit that a
// person would choose, times in UTC because a site's clock is.

const nf = (digits: number) =>
  new Intl.NumberFormat('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
const n0 = nf(0)
const n1 = nf(1)
const n2 = nf(2)

export const count = (n: number | undefined | null) => n0.format(n ?? 0)

export function power(kw: number): string {
  if (kw < 0) return '−' + power(-kw)
  const a = kw
  if (a >= 999.5) return `${n2.format(kw / 1000)} MW`
  if (a >= 99.95) return `${n0.format(kw)} kW`
  if (a === 0) return '0 kW'
  return `${n1.format(kw)} kW`
}

export const signedPower = (kw: number) =>
  kw > 0 ? '+' + power(kw) : kw < 0 ? '−' + power(-kw) : power(0)

export function price(usdPerMWh: number): string {
  const f = Math.abs(usdPerMWh) >= 1000 ? n0 : n1
  return `${usdPerMWh < 0 ? '−' : ''}$${f.format(Math.abs(usdPerMWh))}/MWh`
}

export function usd(v: number, digits?: number): string {
  const a = Math.abs(v)
  const f = digits === undefined ? (a >= 1000 ? n0 : n2) : nf(digits)
  const text = f.format(a)
  return `${v < 0 && /[1-9]/.test(text) ? '−' : ''}$${text}`
}

export const usdPerHour = (v: number) => `${usd(v, 0)}/h`

const clock = new Intl.DateTimeFormat('en-GB', {
  timeZone: 'UTC', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23',
})
const day = new Intl.DateTimeFormat('en-GB', {
  timeZone: 'UTC', weekday: 'short', day: 'numeric', month: 'short', year: 'numeric',
})
const short = new Intl.DateTimeFormat('en-GB', {
  timeZone: 'UTC', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23',
})

export const timeOfDay = (at: string | number | Date) => clock.format(new Date(at))
export const hourMinute = (at: string | number | Date) => clock.format(new Date(at)).slice(0, 5)
export const date = (at: string | number | Date) => day.format(new Date(at))
export const dayTime = (at: string | number | Date) => short.format(new Date(at))

/** A length of time, in seconds, with the two units that matter. */
export function span(seconds: number): string {
  const s = Math.max(0, seconds)
  if (s < 10) return `${n1.format(s)} s`
  if (s < 90) return `${Math.round(s)} s`
  const m = Math.round(s / 60)
  if (m < 90) return `${m} min`
  const h = Math.floor(m / 60)
  if (h < 48) return m % 60 && h < 10 ? `${h} h ${m % 60} min` : `${h} h`
  return `${Math.floor(h / 24)} d ${h % 24} h`
}

export const ago = (at: string, now: string) =>
  span((new Date(now).getTime() - new Date(at).getTime()) / 1000)

export const plural = (n: number, one: string, many = one + 's') => `${count(n)} ${n === 1 ? one : many}`
