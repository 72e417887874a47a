// Talking to the server. Addresses are relative to the page, so that a proxy may
// put it under a path. The token, where one is asked for, lives in this tab only.

import type { Page } from './types'

const tokenKey = 'sluice-token'
const timeout = 15_000
const maxPages = 40

export class Problem extends Error {
  constructor(readonly status: number, message: string, readonly hint = '') {
    super(message)
  }
}

export const hasToken = () => !!sessionStorage.getItem(tokenKey)
export const setToken = (t: string) => sessionStorage.setItem(tokenKey, t)

function headers(extra: Record<string, string> = {}): Record<string, string> {
  const t = sessionStorage.getItem(tokenKey)
  return t ? { ...extra, Authorization: `Bearer ${t}` } : extra
}

export const address = (path: string) => new URL(`api/v1/${path}`, document.baseURI).toString()

async function failed(r: Response): Promise<Problem> {
  // The server answers with problem+json (RFC 9457); a proxy in between may not.
  let text = `${r.status} ${r.statusText}`
  let hint = ''
  try {
    const p = await r.json()
    const details = (p.errors ?? []).map((e: { message?: string }) => e.message).filter(Boolean)
    text = [p.detail || p.title || text, ...details].join(': ')
    hint = p.hint ?? ''
  } catch { /* not JSON: the status line says it */ }
  return new Problem(r.status, text, hint)
}

async function request(path: string, init: RequestInit = {}): Promise<Response> {
  let r: Response
  try {
    r = await fetch(address(path), {
      ...init,
      headers: headers(init.headers as Record<string, string>),
      signal: init.signal ?? AbortSignal.timeout(timeout),
      cache: 'no-store',
    })
  } catch (e) {
    if ((e as Error).name === 'AbortError') throw e
    throw new Problem(0, 'The server does not answer')
  }
  if (!r.ok) throw await failed(r)
  return r
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request(path, { signal })).json()
}

export const getText = async (path: string) => (await request(path)).text()

/** All pages of a list, one after another. */
export async function getAll<T>(path: string): Promise<T[]> {
  const all: T[] = []
  let after = ''
  for (let i = 0; i < maxPages; i++) {
    const sep = path.includes('?') ? '&' : '?'
    const page = await get<Page<T>>(after ? `${path}${sep}after=${encodeURIComponent(after)}` : path)
    all.push(...(page.items ?? []))
    if (!page.next) break
    after = page.next
  }
  return all
}

export async function send<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T | null> {
  const r = await request(path, {
    method, signal,
    headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const text = await r.text()
  return text ? JSON.parse(text) : null
}

/**
 * Listens to the server's events until the stream ends or signal aborts. It is
 * fetch and not EventSource because that cannot send the token.
 */
export async function events(signal: AbortSignal, onOpen: () => void, on: (kind: string, data: unknown) => void) {
  const r = await fetch(address('events'), {
    headers: headers({ Accept: 'text/event-stream' }), signal, cache: 'no-store',
  })
  if (!r.ok || !r.body) throw await failed(r)
  onOpen()
  const reader = r.body.pipeThrough(new TextDecoderStream()).getReader()
  let buffer = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    buffer += value.replaceAll('\r', '')
    let end: number
    while ((end = buffer.indexOf('\n\n')) >= 0) {
      const block = buffer.slice(0, end)
      buffer = buffer.slice(end + 2)
      let kind = 'message'
      const data: string[] = []
      for (const line of block.split('\n')) {
        if (line.startsWith('event:')) kind = line.slice(6).trim()
        else if (line.startsWith('data:')) data.push(line.slice(5).trimStart())
      }
      on(kind, data.length ? JSON.parse(data.join('\n')) : null)
    }
  }
}
