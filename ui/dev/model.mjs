// A made-up site for working on the page without a server. Development only: it
// is not built, not embedded, and its figures are invented.

const classes = [
  { name: 's19j-pro-104', model: 'Antminer S19j Pro 104T', n: 1300, kw: 3.068, ths: 104, node: 'north' },
  { name: 'm50s-128', model: 'Whatsminer M50S 128T', n: 700, kw: 3.276, ths: 126, node: 'north' },
  { name: 's19-xp-141', model: 'Antminer S19 XP 141T', n: 900, kw: 3.03, ths: 141, node: 'south' },
  { name: 's21-200', model: 'Antminer S21 200T', n: 1100, kw: 3.5, ths: 200, node: 'south' },
]
const hashprice = 66.4
const strike = (kw, ths) => (hashprice * 0.98) / (0.024 * ((kw * 1000) / ths) * 1.03)
for (const c of classes) c.strike = strike(c.kw, c.ths)

const pad = (n, w) => String(n).padStart(w, '0')
const tenants = ['aurora-labs', 'helix-bio', 'northwind', 'quanta', 'meridian-ml']
const names = ['pretrain-7b', 'finetune-chat', 'eval-suite', 'diffusion-xl', 'protein-fold', 'asr-large', 'embed-corpus']

export class Site {
  constructor(start, speed) {
    Object.assign(this, { now: start, began: start, speed, connection: 14000, limit: 14000, mode: 'control', curtailments: [], samples: [], decisions: [], jobs: [], alarms: [], force: null, events: [] })
    this.machines = classes.flatMap((c, k) => Array.from({ length: c.n }, (_, i) => ({
      name: `${c.name.split('-')[0]}-${pad(i + 1, 4)}`, kind: 'miner', class: c.name, node: c.node, model: c.model,
      driver: i % 2 ? 'luxos' : 'antminer', address: `127.${1 + k}.${i >> 8}.${1 + (i & 255)}:4028`, virtual: true,
      state: 'mining', mode: 'mine', want: 'mine', power_kw: c.kw * (0.98 + 0.04 * Math.random()), power_source: 'device',
      hashrate_ths: c.ths * (0.98 + 0.04 * Math.random()), temp_c: 58 + 14 * Math.random(), strike_usd_per_mwh: c.strike,
      asleep_by_sluice: false, seen_at: '', outcome: 'confirmed by device', left: 0, kw: c.kw, ths: c.ths,
    })))
    this.hosts = Array.from({ length: 240 }, (_, i) => ({
      name: `h100-${pad(i + 1, 3)}`, kind: 'host', class: 'h100-sxm', node: i % 2 ? 'north' : 'south', model: 'HGX H100 × 8', driver: 'virtual',
      virtual: true, state: 'idle', mode: 'idle', want: 'idle', power_kw: 1.9, power_source: 'device', gpus: 8, gpus_busy: 0, asleep_by_sluice: false, seen_at: '',
    }))
    Object.assign(this.machines[40], { state: 'fault', power_kw: 0.02, hashrate_ths: 0, error: 'hash board 2 missing', left: 1e9 })
    Object.assign(this.machines[777], { state: 'silent', power_kw: 0, hashrate_ths: 0, error: 'no answer for 6 min', left: 1e9 })
    Object.assign(this.machines[2200], { state: 'locked', mode: 'sleep', power_kw: 0.02, hashrate_ths: 0, left: 1e9, pin: { machine: '', mode: 'locked', by: 'mara', why: 'fan swap', at: start.toISOString() } })
    for (let i = 0; i < 260; i++) this.submit(i)
    this.jobs.unshift({ ...this.jobs[0], id: 'j-digits', name: 'digits', tenant: 'local', class: 'this-host', units: 2, virtual: false, state: 'running', why: '', interruptible: true, strike_usd_per_mwh: 1800, run_seconds: 34, expect_seconds: 60, preemptions: 1, runs: 2 })
    this.alarms.push({ id: 2, at: start.toISOString(), severity: 'critical', name: 'command-ignored', subject: 's19j-0041', text: 'said yes to sleep and did not do it', hint: 'it is left alone for 30 minutes and counted as it runs; switch its outlet or lock it' })
    this.alarms.push({ id: 1, at: start.toISOString(), severity: 'warning', name: 'machine-silent', subject: 's19j-0778', text: 'no answer for 6 min', hint: 'check its network and its power' })
  }

  iso(t = this.now) { return t.toISOString() }

  submit(i) {
    const spot = i % 3 === 0
    const units = [1, 2, 4, 8, 8, 16][i % 6]
    this.jobs.unshift({
      id: `j-${pad(i, 5)}`, name: `${names[i % names.length]}-${i}`, tenant: tenants[i % tenants.length], state: 'queued', why: 'waits for its place', class: 'h100-sxm',
      units: Math.min(8, units), virtual: true, interruptible: spot, usd_per_unit_hour: spot ? 1.4 : 2.6, strike_usd_per_mwh: spot ? 1320 : 2450,
      submitted_at: this.iso(), runs: 0, preemptions: 0, run_seconds: 0, expect_seconds: 1800 + (i * 7919) % 30000, billed_micro_usd: 0, power_w: 0,
    })
  }

  /** A quiet night, a wavering day, and an hour of scarcity. */
  price() {
    if (this.force !== null) return this.force
    const h = (this.now - this.began) / 3.6e6
    const spike = h > 1.6 && h < 2.4 ? 4200 * Math.sin(((h - 1.6) / 0.8) * Math.PI) : 0
    const step = Math.floor(h * 12)
    return Math.max(-8, 31 + 14 * Math.sin(h / 2) + 9 * Math.sin(step * 1.7) + spike)
  }

  step(seconds) {
    this.now = new Date(this.now.getTime() + seconds * 1000)
    const p = this.price()
    for (const c of this.curtailments) {
      if (c.state === 'active' && this.now >= new Date(c.until)) { c.state = 'ended'; c.ended_at = c.until; this.events.push(['curtailment', c]) }
    }
    const order = this.curtailments.find((c) => c.state === 'active')
    this.limit = order ? Math.min(this.connection, order.limit_kw) : this.connection
    this.runJobs(seconds, p)
    this.runMiners(seconds, p, order)
    const s = this.status()
    if (order && !order.met_at && s.load_kw <= order.limit_kw) {
      Object.assign(order, { met_at: this.iso(), met_after_s: (this.now - new Date(order.from)) / 1000, met_after_wall_s: (this.now - new Date(order.from)) / 1000 / this.speed })
      this.events.push(['curtailment', order])
    }
    if (order) order.cost_usd += ((order.load_before_kw - s.load_kw) / 1000) * 48 * (seconds / 3600)
    this.samples.push({ at: s.now, limit_kw: s.limit_kw, load_kw: s.load_kw, mining_kw: s.mining_kw, ai_kw: s.ai_kw, price_usd_per_mwh: p, margin_usd_per_hour: s.margin_usd_per_hour, gpus_busy: s.gpus_busy, hashrate_ph_s: s.hashrate_ph_s })
    return s
  }

  runJobs(seconds, p) {
    const free = this.hosts.reduce((n, h) => n + 8 - h.gpus_busy, 0)
    let started = 0
    const moves = []
    for (const j of this.jobs) {
      if (!j.virtual) { j.run_seconds = (j.run_seconds + seconds / this.speed) % 60; continue }
      const pause = j.interruptible && p > j.strike_usd_per_mwh
      const h = this.hosts.find((x) => x.name === j.host)
      if (j.state === 'running') {
        j.run_seconds += seconds
        const over = j.run_seconds >= j.expect_seconds
        if (over || pause) {
          h.gpus_busy -= j.units
          Object.assign(j, over ? { state: 'succeeded', why: '', ended_at: this.iso() } : { state: 'queued', preemptions: j.preemptions + 1, why: `paused: price $${p.toFixed(0)}/MWh is above its strike $${j.strike_usd_per_mwh}/MWh` }, { host: '' })
          if (pause) moves.push({ job: j.id, name: j.name, action: 'preempt', units: j.units, reason: `strike ${j.strike_usd_per_mwh.toFixed(1)} < price ${p.toFixed(1)} $/MWh` })
          this.events.push(['job', j])
        }
      } else if (j.state === 'queued' && !pause && started < 4 && free > 0) {
        const host = this.hosts.find((x) => 8 - x.gpus_busy >= j.units)
        if (!host) continue
        host.gpus_busy += j.units
        started++
        Object.assign(j, { state: 'running', why: '', host: host.name, runs: j.runs + 1, started_at: this.iso() })
        moves.push({ job: j.id, name: j.name, action: 'start', host: host.name, units: j.units, reason: `pays ${(j.usd_per_unit_hour * j.units).toFixed(2)} $/h, energy costs ${(j.units * 0.0009 * p).toFixed(2)} $/h` })
        this.events.push(['job', j])
      }
    }
    if (Math.random() < 0.4) { this.submit(this.jobs.length); this.events.push(['job', this.jobs[0]]) }
    if (moves.length) this.decide('job', [], moves, p)
    for (const h of this.hosts) {
      h.state = h.gpus_busy ? 'busy' : 'idle'
      h.mode = h.gpus_busy ? 'job' : 'idle'
      h.power_kw = 1.9 + h.gpus_busy * 0.98
      h.seen_at = this.iso()
    }
  }

  runMiners(seconds, p, order) {
    for (const m of this.machines) {
      if (m.state === 'silent') continue
      m.seen_at = this.iso()
      if (m.left > 1e8 || (m.left -= seconds) > 0) continue
      if (m.state === 'stopping') {
        if (order) shedInto(order, (this.now - new Date(order.from)) / 1000, m.power_kw)
        Object.assign(m, { state: 'sleeping', mode: 'sleep', power_kw: 0.025, hashrate_ths: 0, outcome: 'confirmed by device', asleep_by_sluice: true })
      }
      if (m.state === 'waking') Object.assign(m, { state: 'mining', mode: 'mine', power_kw: m.kw * (0.98 + 0.04 * Math.random()), hashrate_ths: m.ths, outcome: 'confirmed by device', asleep_by_sluice: false })
    }
    const sum = (l) => l.reduce((n, m) => n + m.power_kw, 0)
    let room = this.limit * 0.995 - 130 - sum(this.hosts) - sum(this.machines) * 1.02
    for (const m of this.machines) if (m.state === 'stopping') room += m.power_kw
    for (const m of this.machines) if (m.state === 'waking') room -= m.kw
    const moves = []
    for (const c of [...classes].sort((a, b) => a.strike - b.strike)) {
      const run = this.machines.filter((m) => m.class === c.name && m.state === 'mining')
      const n = c.strike < p ? run.length : Math.min(run.length, Math.max(0, Math.ceil(-room / c.kw)))
      for (const m of run.slice(run.length - n)) Object.assign(m, { state: 'stopping', want: 'sleep', left: 20 + 120 * Math.random() })
      room += n * c.kw
      if (n) moves.push({ class: c.name, from: 'mine', to: 'sleep', units: n, kw: -n * c.kw, reason: c.strike < p ? `strike ${c.strike.toFixed(1)} < price ${p.toFixed(1)} $/MWh` : `makes room under the limit: loses ${((c.strike - p) / 1000).toFixed(3)} $/kWh, the least of what runs`, outcomes: { 'confirmed by device': n - Math.min(n, 2), accepted: Math.min(n, 2) }, p50_s: 61, p95_s: 128 })
    }
    for (const c of [...classes].sort((a, b) => b.strike - a.strike)) {
      if (c.strike <= p) continue
      const asleep = this.machines.filter((m) => m.class === c.name && m.state === 'sleeping')
      const n = Math.min(asleep.length, 180, Math.max(0, Math.floor(room / c.kw)))
      for (const m of asleep.slice(0, n)) Object.assign(m, { state: 'waking', want: 'mine', left: 60 + 240 * Math.random() })
      room -= n * c.kw
      if (n > 3) moves.push({ class: c.name, from: 'sleep', to: 'mine', units: n, kw: n * c.kw, reason: `strike ${c.strike.toFixed(1)} > price ${p.toFixed(1)} $/MWh, ${(room / 1000).toFixed(2)} MW free`, outcomes: { accepted: n } })
    }
    if (moves.length) this.decide(order ? 'curtailment' : 'price', moves, [], p)
  }

  decide(trigger, moves, job_moves, p) {
    const d = { id: this.decisions.length + 1, at: this.iso(), trigger, applied: this.mode === 'control', inputs: {}, price_usd_per_mwh: p, hashprice_usd_per_ph_day: hashprice, limit_kw: this.limit, objective_usd: 41200, bound_usd: 41230, solve_ms: 12 + 9 * Math.random(), moves, job_moves }
    this.decisions.unshift(d)
    this.events.push(['decision', d])
  }

  preview(o) {
    const load = this.status().load_kw
    let need = load - o.limit_kw
    const p = this.price()
    const shed = []
    for (const c of [...classes].sort((a, b) => a.strike - b.strike)) {
      const n = Math.min(this.machines.filter((m) => m.class === c.name && m.state === 'mining').length, Math.max(0, Math.ceil(need / c.kw)))
      if (!n) continue
      need -= n * c.kw
      shed.push({ class: c.name, from: 'mine', to: 'sleep', units: n, kw: -n * c.kw, usd_per_hour: (n * c.kw * Math.max(0, c.strike - p)) / 1000, usd_per_kwh: Math.max(0, c.strike - p) / 1000 })
    }
    const jobs = this.jobs.filter((j) => j.state === 'running' && j.interruptible && j.virtual)
    if (need > 0) {
      const take = jobs.slice(0, Math.ceil(need / 6))
      const kw = take.reduce((n, j) => n + j.units * 0.98, 0)
      need -= kw
      shed.push({ class: 'h100-sxm', from: 'job', to: 'idle', units: take.reduce((n, j) => n + j.units, 0), kw: -kw, usd_per_hour: kw * 1.4, usd_per_kwh: 1.4, jobs: take.map((j) => j.id) })
    }
    const perHour = shed.reduce((n, s) => n + s.usd_per_hour, 0)
    return { node: o.node || 'site', limit_kw: o.limit_kw, load_kw: load, after_kw: Math.min(load, o.limit_kw + Math.max(0, need)), feasible: need <= 0, machines: shed.reduce((n, s) => n + (s.jobs ? 0 : s.units), 0), jobs: shed.reduce((n, s) => n + (s.jobs?.length ?? 0), 0), cost_usd: (perHour * o.for_s) / 3600, shed }
  }

  status() {
    const p = this.price()
    const sum = (l, f) => l.reduce((n, m) => n + f(m), 0)
    const mining = sum(this.machines, (m) => m.power_kw)
    const ai = sum(this.hosts, (m) => m.power_kw)
    const load = (mining + ai) * 1.018
    const ths = sum(this.machines, (m) => m.hashrate_ths)
    const busy = sum(this.hosts, (h) => h.gpus_busy)
    const mm = (ths / 1000 / 24) * hashprice * 0.98 - (mining / 1000) * p
    const am = sum(this.jobs, (j) => (j.state === 'running' ? j.units * j.usd_per_unit_hour : 0)) - (ai / 1000) * p
    const tally = (l) => l.reduce((o, m) => ((o[m.state] = (o[m.state] ?? 0) + 1), o), {})
    const node = (name) => ({ name, parent: 'site', limit_kw: 7500, load_kw: sum(this.machines.concat(this.hosts), (m) => (m.node === name ? m.power_kw : 0)) * 1.018, metered: name === 'north' })
    const gpus = (spot, k, n) => ({ class: 'h100-sxm', division: 'ai', model: 'HGX H100 × 8', mode: 'job', units: 1920, running: Math.round(sum(this.jobs, (j) => (j.state === 'running' && j.virtual && j.interruptible === spot ? j.units : 0)) * n), kw: busy * 0.5 * n, strike_usd_per_mwh: k, interruptible: spot })
    return {
      name: 'West Texas demo', demo: true, speed: this.speed, now: this.iso(), started_at: this.iso(this.began), mode: this.mode, limit_kw: this.limit, connection_kw: this.connection, load_kw: load, load_source: 'meter',
      mining_kw: mining, ai_kw: ai, other_kw: load - mining - ai, price_usd_per_mwh: p, hashprice_usd_per_ph_day: hashprice, hashrate_ph_s: ths / 1000, margin_usd_per_hour: mm + am, mining_margin_usd_per_hour: mm, ai_margin_usd_per_hour: am,
      gpus: 1920, gpus_busy: busy, machines: tally(this.machines.concat(this.hosts)), jobs: tally(this.jobs),
      nodes: [{ name: 'site', limit_kw: this.limit, load_kw: load, metered: true }, node('north'), node('south')],
      feeds: [
        { name: 'ercot/real-time price', value: p, unit: '$/MWh', as_of: this.iso(new Date(Math.floor(this.now / 9e5) * 9e5)), origin: 'ERCOT West, August 2023', stale: false },
        { name: 'bitcoin/hashprice', value: hashprice, unit: '$/PH/day', as_of: this.iso(new Date(Math.floor(this.now / 3.6e6) * 3.6e6)), origin: 'bitcoin network, August 2023', stale: false },
        { name: 'carbon/intensity', value: 384, unit: 'g/kWh', as_of: this.iso(new Date(this.now - 9.5 * 3.6e6)), origin: 'csv', stale: true, note: 'older than 6 h: the yearly mean is used' },
      ],
      alarms: this.alarms, curtailments: this.curtailments.filter((c) => c.state === 'active'),
      today: { mining_usd: 9120, ai_usd: 21440, energy_usd: 6210, margin_usd: 24350, energy_mwh: 224.6 },
      plan: { at: this.iso(), decision: this.decisions.length, horizon_hours: 24, objective_usd: 41200, bound_usd: 41230, feasible: true, solve_ms: 14.2, step_ms: 61.4 },
      strikes: [...classes.map((c) => ({ class: c.name, division: 'mining', model: c.model, mode: 'mine', units: c.n, running: this.machines.filter((m) => m.class === c.name && m.state === 'mining').length, kw: sum(this.machines, (m) => (m.class === c.name ? m.power_kw : 0)), strike_usd_per_mwh: c.strike, interruptible: false })), gpus(true, 1320, 0.6), gpus(true, 1500, 0.4), gpus(false, 2450, 0.7), gpus(false, 2900, 0.3)].sort((a, b) => a.strike_usd_per_mwh - b.strike_usd_per_mwh),
    }
  }
}

function shedInto(c, after, kw) {
  const at = Math.floor(after)
  const last = c.shed.at(-1)
  if (last?.after_s === at) { last.machines++; last.kw += kw } else c.shed.push({ after_s: at, machines: 1, kw, outcome: 'confirmed by device' })
}
