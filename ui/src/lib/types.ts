// The API's JSON, as package site and package compute of the server marshal it.
// Lists may be null: Go marshals an empty slice that was never made so.

export type List<T> = T[] | null
export type Counts = Record<string, number> | null

export interface Status {
  name: string
  demo: boolean
  speed: number
  now: string
  started_at: string
  mode: 'observe' | 'control'
  limit_kw: number
  connection_kw: number
  load_kw: number
  load_source: string
  mining_kw: number
  ai_kw: number
  other_kw: number
  price_usd_per_mwh: number
  hashprice_usd_per_ph_day: number
  hashrate_ph_s: number
  margin_usd_per_hour: number
  mining_margin_usd_per_hour: number
  ai_margin_usd_per_hour: number
  gpus: number
  gpus_busy: number
  machines: Counts
  jobs: Counts
  nodes: List<Node>
  balance: List<PowerBalance>
  reserves: List<Reserve>
  forecast?: Forecast
  feeds: List<Feed>
  alarms: List<Alarm>
  curtailments: List<Curtailment>
  plan?: PlanInfo
  strikes: List<Strike>
  today?: Today
}

/** The books of the day since midnight UTC, by settled intervals. */
export interface Today {
  mining_usd: number
  ai_usd: number
  reserve_usd: number
  energy_usd: number
  margin_usd: number
  energy_mwh: number
}

export interface Node {
  name: string
  parent?: string
  limit_kw: number
  load_kw: number
  metered: boolean
}

/** Where the power into a metered node goes. */
export interface PowerBalance {
  node: string
  meter_kw: number
  mining_kw: number
  ai_kw: number
  cooling_losses_kw: number
  residual_kw: number
  smoothed_residual_kw: number
}

/** Load that the grid pays to be able to drop. */
export interface Reserve {
  name: string
  planned_kw: number
  ready_kw: number
  usd_per_mw_h: number
  usd_per_hour: number
}

/** What plans expect of the price of power. */
export interface Forecast {
  ready: boolean
  learned_days: number
  next_usd_per_mwh: number
  note?: string
}

export interface Feed {
  name: string
  value: number
  unit: string
  as_of: string
  origin: string
  stale: boolean
  note?: string
}

export interface Strike {
  class: string
  division: 'mining' | 'ai'
  model: string
  mode: string
  units: number
  running: number
  kw: number
  strike_usd_per_mwh: number
  interruptible: boolean
}

export interface PlanInfo {
  at: string
  decision: number
  horizon_hours: number
  objective_usd: number
  bound_usd: number
  feasible: boolean
  solve_ms: number
  step_ms: number
}

export interface Pin {
  machine: string
  mode: string
  by: string
  why: string
  at: string
}

export interface Machine {
  name: string
  kind: 'miner' | 'host'
  class: string
  node: string
  model: string
  driver: string
  address?: string
  virtual: boolean
  state: string
  mode: string
  want: string
  outcome?: string
  power_kw: number
  power_source?: string
  hashrate_ths?: number
  temp_c?: number
  strike_usd_per_mwh?: number
  gpus?: number
  gpus_busy?: number
  pin?: Pin
  asleep_by_sluice: boolean
  seen_at?: string
  error?: string
}

export interface Alarm {
  id: number
  at: string
  severity: 'info' | 'warning' | 'critical'
  name: string
  subject: string
  text: string
  hint?: string
  cleared_at?: string
}

export interface Decision {
  id: number
  at: string
  trigger: string
  applied: boolean
  price_usd_per_mwh: number
  hashprice_usd_per_ph_day: number
  limit_kw: number
  objective_usd: number
  bound_usd: number
  solve_ms: number
  moves: List<Move>
  job_moves: List<JobMove>
}

export interface Move {
  class: string
  from: string
  to: string
  units: number
  kw: number
  reason: string
  outcomes?: Record<string, number>
  p50_s?: number
  p95_s?: number
}

export interface JobMove {
  job: string
  name: string
  action: string
  host?: string
  units: number
  reason: string
}

export interface Curtailment {
  id: string
  node: string
  limit_kw: number
  ordered_at: string
  from: string
  until: string
  by: string
  why?: string
  state: 'pending' | 'active' | 'ended' | 'cancelled'
  load_before_kw: number
  met_at?: string
  met_after_s?: number
  met_after_wall_s?: number
  shed: List<Shed>
  cost_usd: number
  ended_at?: string
}

export interface Shed {
  after_s: number
  machines: number
  kw: number
  outcome: string
}

export interface Order {
  node: string
  limit_kw: number
  for_s: number
  by: string
  why: string
}

export interface Preview {
  node: string
  limit_kw: number
  load_kw: number
  after_kw: number
  feasible: boolean
  machines: number
  jobs: number
  cost_usd: number
  shed: List<PreviewShed>
  note?: string
}

export interface PreviewShed {
  class: string
  from: string
  to: string
  units: number
  kw: number
  usd_per_hour: number
  usd_per_kwh: number
  jobs?: List<string>
}

export interface Sample {
  at: string
  limit_kw: number
  load_kw: number
  mining_kw: number
  ai_kw: number
  price_usd_per_mwh: number
  margin_usd_per_hour: number
  gpus_busy: number
  hashrate_ph_s: number
}

export interface Job {
  id: string
  name: string
  tenant: string
  state: string
  why?: string
  class: string
  units: number
  virtual: boolean
  interruptible: boolean
  usd_per_unit_hour: number
  strike_usd_per_mwh?: number
  submitted_at: string
  started_at?: string
  ended_at?: string
  deadline?: string
  host?: string
  runs: number
  preemptions: number
  exit_code?: number
  run_seconds: number
  expect_seconds: number
  billed_micro_usd: number
  checkpoint_at?: string
  power_w: number
  nodes?: number
  hosts?: List<string>
  held?: string
  array?: string
  array_index?: number
  notice_seconds?: number
  unsaved_seconds?: number
  loss_seconds?: number
  energy_wh?: number
  energy_estimated?: boolean
  cpu_seconds?: number
  power_share?: number
  isolation?: string
  cuts?: number
  credit_micro_usd?: number
}

export interface Page<T> {
  items: List<T>
  next?: string
}
