// What a machine is doing: the states, in the order they are shown, with the
// colour (a property of app.css) and what the word means.

export interface State { name: string; color: string; means: string }

export const states: State[] = [
  { name: 'mining', color: '--mining', means: 'hashing' },
  { name: 'busy', color: '--ai', means: 'running AI jobs' },
  { name: 'idle', color: '--idle', means: 'ready for AI jobs' },
  { name: 'waking', color: '--waking', means: 'told to start, not yet confirmed' },
  { name: 'stopping', color: '--stopping', means: 'told to stop, not yet confirmed' },
  { name: 'sleeping', color: '--sleeping', means: 'asleep, control board on' },
  { name: 'locked', color: '--locked', means: 'pinned or out for maintenance' },
  { name: 'silent', color: '--silent', means: 'does not answer' },
  { name: 'fault', color: '--fault', means: 'answers with an error' },
]

const known = new Map(states.map((s) => [s.name, s]))

export const stateColor = (name: string) => known.get(name)?.color ?? '--muted'
export const stateMeans = (name: string) => known.get(name)?.means ?? ''

/** The value of a colour of app.css, for canvases. */
export const css = (name: string) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** Calls back when the person changes between dark and light. */
export function onTheme(f: () => void): () => void {
  const m = window.matchMedia('(prefers-color-scheme: light)')
  m.addEventListener('change', f)
  return () => m.removeEventListener('change', f)
}

/**
 * A scale for prices: a line through small values and negative ones, a logarithm
 * beyond, so that 20 and 5,000 $/MWh can both be read.
 */
export const priceScale = (usdPerMWh: number) => Math.asinh(usdPerMWh / priceKnee)
export const priceKnee = 40
export const priceTicks = [-200, -50, 0, 25, 50, 100, 200, 500, 1000, 2000, 5000]
