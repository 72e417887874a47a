// The site as the page knows it: read once, then kept up to date by the server's
// events. Machines are many and carried by no event, so they are read again at a
// calm pace, and soon after a decision.

import { events, get, getAll, Problem } from './api'
import type { Curtailment, Decision, Job, Machine, Page, Status } from './types'

export type Connection = 'connecting' | 'live' | 'lost' | 'token'

const machinesEvery = 4_000 // while states change
const machinesQuiet = 16_000 // else: thousands of machines are a megabyte
const machinesAfterDecision = 700
const silence = 40_000
const keepDecisions = 150
const keepJobs = 1_200

class Live {
  connection = $state<Connection>('connecting')
  problem = $state('')
  status = $state.raw<Status | null>(null)
  machines = $state.raw<Machine[]>([])
  machinesRead = $state(false)
  jobs = $state.raw<Job[]>([])
  decisions = $state.raw<Decision[]>([])
  curtailments = $state.raw<Curtailment[]>([])

  #retry = 0
  #heard = 0
  #timer = 0
  #reading = false
  #asking = false
  #counts = ''
  #readAt = 0
  #stop: AbortController | null = null
  #waker: (() => void) | null = null

  /** Runs for the life of the page; the returned function ends it. */
  start(): () => void {
    let ended = false
    const watchdog = window.setInterval(() => {
      if (this.connection === 'live' && Date.now() - this.#heard > silence) this.#stop?.abort()
    }, 2_000)
    const seen = () => { if (!document.hidden) this.#soon(0) }
    document.addEventListener('visibilitychange', seen)
    const loop = async () => {
      while (!ended) {
        this.#stop = new AbortController()
        try {
          await this.#session(this.#stop.signal)
          this.connection = 'lost'
          this.problem = 'The server closed the stream'
        } catch (e) {
          if (e instanceof Problem && e.status === 401) this.connection = 'token'
          else this.connection = 'lost'
          this.problem = e instanceof Problem ? e.message : 'The server does not answer'
        }
        if (ended) return
        const wait = this.connection === 'token' ? 1e9 : Math.min(10_000, 500 * 2 ** this.#retry++)
        await new Promise<void>((go) => {
          this.#waker = go
          if (wait < 1e9) setTimeout(go, wait)
        })
      }
    }
    void loop()
    return () => {
      ended = true
      clearInterval(watchdog)
      clearTimeout(this.#timer)
      document.removeEventListener('visibilitychange', seen)
      this.#stop?.abort()
      this.#waker?.()
    }
  }

  /** Tries again at once, for instance with a new token. */
  reconnect() {
    this.connection = 'connecting'
    this.#retry = 0
    this.#waker?.()
  }

  /** Takes in a machine as the server answered with it. */
  put(m: Machine) {
    this.machines = this.machines.map((x) => (x.name === m.name ? m : x))
  }

  async #session(signal: AbortSignal) {
    this.status = await get<Status>('site', signal)
    await Promise.all([this.#lists(), this.#readMachines()])
    await events(signal, () => {
      this.connection = 'live'
      this.problem = ''
      this.#retry = 0
      this.#heard = Date.now()
    }, (kind, data) => {
      this.#heard = Date.now()
      if (data) this.#take(kind, data)
    })
  }

  async #lists() {
    const page = async <T>(path: string) => {
      try {
        return (await get<Page<T>>(path)).items ?? []
      } catch (e) {
        // A site may run without a part, such as jobs.
        if (e instanceof Problem && e.status === 503) return []
        throw e
      }
    }
    const [newest, running, decisions, curtailments] = await Promise.all([
      page<Job>('jobs?limit=500'), page<Job>('jobs?limit=1000&state=running'),
      page<Decision>('decisions?limit=100'), page<Curtailment>('curtailments?limit=20'),
    ])
    const known = new Set(newest.map((j) => j.id))
    this.jobs = newest.concat(running.filter((j) => !known.has(j.id)))
    this.decisions = decisions.sort((a, b) => b.id - a.id)
    this.curtailments = curtailments
  }

  #take(kind: string, data: unknown) {
    switch (kind) {
      case 'status':
        this.status = data as Status
        this.#noteEnded(data as Status)
        break
      case 'decision':
        this.decisions = upsert(this.decisions, data as Decision)
          .sort((a, b) => b.id - a.id).slice(0, keepDecisions)
        this.#soon(machinesAfterDecision)
        break
      case 'job':
        this.jobs = trim(upsert(this.jobs, data as Job))
        break
      case 'curtailment':
        this.curtailments = upsert(this.curtailments, data as Curtailment)
        this.#soon(machinesAfterDecision)
        break
    }
  }

  /** An order that ends leaves the status without an event of its own. */
  #noteEnded(s: Status) {
    const on = new Set((s.curtailments ?? []).map((c) => c.id))
    const gone = (c: Curtailment) => (c.state === 'active' || c.state === 'pending') && !on.has(c.id) && c.ordered_at < s.now
    if (this.#asking || !this.curtailments.some(gone)) return
    this.#asking = true
    get<Page<Curtailment>>('curtailments?limit=20')
      .then((p) => { this.curtailments = p.items ?? [] }, () => { /* the next status asks again */ })
      .finally(() => { this.#asking = false })
  }

  #soon(ms: number) {
    clearTimeout(this.#timer)
    this.#timer = window.setTimeout(() => void this.#readMachines(), ms)
  }

  async #readMachines() {
    if (this.#reading) return
    this.#reading = true
    try {
      const counts = JSON.stringify(this.status?.machines)
      const due = counts !== this.#counts || Date.now() - this.#readAt >= machinesQuiet
      if (!document.hidden && due) {
        this.machines = await getAll<Machine>('machines?limit=1000')
        this.machinesRead = true
        this.#counts = counts
        this.#readAt = Date.now()
      }
    } catch (e) {
      if (e instanceof Problem && e.status === 401) this.#stop?.abort()
    } finally {
      this.#reading = false
      this.#soon(machinesEvery)
    }
  }
}

function upsert<T extends { id: string | number }>(list: T[], item: T): T[] {
  const i = list.findIndex((x) => x.id === item.id)
  return i < 0 ? [item, ...list] : list.map((x, n) => (n === i ? item : x))
}

/** Forgets virtual jobs that have ended, the oldest first, when there are many. */
function trim(jobs: Job[]): Job[] {
  if (jobs.length <= keepJobs) return jobs
  const over = jobs.filter((j) => j.virtual && j.ended_at).sort((a, b) => (a.submitted_at < b.submitted_at ? -1 : 1))
  const gone = new Set(over.slice(0, jobs.length - keepJobs + 100).map((j) => j.id))
  return jobs.filter((j) => !gone.has(j.id))
}

export const site = new Live()
