// A stand-in for the server while working on the page: the API's shapes over an
// invented site, with the content security policy of the real one. Development
// only. `npm run mock`, then `npm run dev`, or open the mock's own address to
// see the built page of dist/.
//
//   PORT=8421 SPEED=60 WARM=hours to live through before the start
//   POST /dev/price?usd=900 holds the price, without usd it moves again
//   POST /dev/token?value=… asks for that token from then on

import { createReadStream, existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Site } from './model.mjs'

const port = Number(process.env.PORT ?? 8421)
const speed = Number(process.env.SPEED ?? 60)
const warm = Number(process.env.WARM ?? 1)
const tick = 1000
const dist = fileURLToPath(new URL('../dist/', import.meta.url))
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' }
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"

const site = new Site(new Date('2023-08-17T16:00:00Z'), speed)
for (let i = 0; i < warm * 60; i++) site.step(60)
let token = ''
const listeners = new Set()

setInterval(() => {
  const status = site.step((tick / 1000) * speed)
  const out = [...site.events.splice(0), ['status', status]].map(([k, d]) => `event: ${k}\ndata: ${JSON.stringify(d)}\n\n`).join('')
  for (const r of listeners) r.write(out)
}, tick)

const json = (res, code, body) => {
  res.writeHead(code, { 'Content-Type': code < 400 ? 'application/json' : 'application/problem+json' })
  res.end(JSON.stringify(body))
}
const problem = (res, status, detail, hint = '') => json(res, status, { status, title: 'Problem', detail, hint })

function page(res, url, all, key) {
  const limit = Number(url.searchParams.get('limit') ?? 100)
  const after = url.searchParams.get('after')
  const from = after ? all.findIndex((x) => String(x[key]) === after) + 1 : 0
  const items = all.slice(from, from + limit)
  json(res, 200, { items, next: from + limit < all.length ? String(items.at(-1)[key]) : '' })
}

async function body(req) {
  let s = ''
  for await (const c of req) s += c
  return s ? JSON.parse(s) : {}
}

function order(o) {
  const now = site.iso()
  const c = { id: `c-${Date.now()}`, node: o.node || 'site', limit_kw: o.limit_kw, ordered_at: now, from: now, until: site.iso(new Date(site.now.getTime() + o.for_s * 1000)), by: o.by ?? 'api', why: o.why, state: 'active', load_before_kw: site.status().load_kw, shed: [], cost_usd: 0 }
  site.curtailments.unshift(c)
  return c
}

function history(url) {
  const from = url.searchParams.get('from') ?? ''
  const points = Number(url.searchParams.get('points') ?? 600)
  const all = site.samples.filter((s) => s.at >= from)
  const every = Math.max(1, Math.floor(all.length / points))
  return all.filter((_, i) => i % every === 0)
}

async function api(req, res, url) {
  const path = url.pathname.slice('/api/v1/'.length)
  const [what, name, verb] = path.split('/').map(decodeURIComponent)
  const route = `${req.method} ${name === undefined ? what : name === 'preview' ? path : [what, ':', verb].filter(Boolean).join('/')}`
  const machine = () => [...site.hosts, ...site.machines].find((m) => m.name === name)
  switch (route) {
    case 'GET site': return json(res, 200, site.status())
    case 'GET machines': return page(res, url, [...site.hosts, ...site.machines], 'name')
    case 'GET jobs': return page(res, url, site.jobs, 'id')
    case 'GET jobs/:/logs': res.writeHead(200, { 'Content-Type': 'text/plain' }); return res.end(Array.from({ length: 60 }, (_, i) => `epoch ${i + 1}: loss ${(2.3 / (1 + i / 4)).toFixed(4)}, accuracy ${(97 - 60 / (i + 1)).toFixed(1)} %\n`).join(''))
    case 'GET decisions': return page(res, url, site.decisions, 'id')
    case 'GET curtailments': return page(res, url, site.curtailments, 'id')
    case 'GET alarms': return page(res, url, site.alarms, 'id')
    case 'GET history': return json(res, 200, { items: history(url), next: '' })
    case 'POST curtailments/preview': return json(res, 200, site.preview(await body(req)))
    case 'POST curtailments': return json(res, 201, order(await body(req)))
    case 'DELETE curtailments/:': {
      const c = site.curtailments.find((x) => x.id === name)
      if (c?.state !== 'active') return problem(res, 409, 'the order is not in force')
      Object.assign(c, { state: 'cancelled', ended_at: site.iso() })
      return json(res, 200, c)
    }
    case 'PUT machines/:/pin': {
      const o = await body(req)
      Object.assign(machine(), { state: 'locked', left: 1e9, pin: { machine: name, mode: o.mode, by: o.by, why: o.why, at: site.iso() } })
      return json(res, 200, machine())
    }
    case 'DELETE machines/:/pin': Object.assign(machine(), { state: 'waking', left: 60, pin: undefined }); return json(res, 200, machine())
    case 'GET events':
      res.writeHead(200, { 'Content-Type': 'text/event-stream' })
      res.write(`: hello\n\nevent: status\ndata: ${JSON.stringify(site.status())}\n\n`)
      listeners.add(res)
      return req.on('close', () => listeners.delete(res))
  }
  problem(res, 404, `there is no ${path}`)
}

createServer((req, res) => {
  const url = new URL(req.url, 'http://mock')
  res.setHeader('Content-Security-Policy', policy)
  if (url.pathname === '/dev/price') { const v = url.searchParams.get('usd'); site.force = v === null ? null : Number(v); return res.end('ok\n') }
  if (url.pathname === '/dev/token') { token = url.searchParams.get('value') ?? ''; return res.end('ok\n') }
  if (url.pathname.startsWith('/api/')) {
    if (token && req.headers.authorization !== `Bearer ${token}`) return problem(res, 401, 'this site asks for a token')
    return api(req, res, url).catch((e) => problem(res, 500, String(e)))
  }
  const file = join(dist, normalize(url.pathname === '/' ? '/index.html' : url.pathname))
  if (!existsSync(file)) return problem(res, 404, `there is no ${url.pathname}; npm run build makes the page`)
  res.writeHead(200, { 'Content-Type': types[extname(file)] ?? 'application/octet-stream' })
  createReadStream(file).pipe(res)
}).listen(port, '127.0.0.1', () => console.log(`mock of a site at http://127.0.0.1:${port}`))
