// The one place that calls fetch. Every failure becomes an ApiError with a kind the pages can draw;
// it never retries by itself and never turns a failure into an empty answer.
import type { ErrorBody } from './contract';

export type FailureKind = 'unreachable' | 'signed_out' | 'denied' | 'conflict' | 'refused' | 'server';

export class ApiError extends Error {
  readonly kind: FailureKind;
  readonly status: number;
  readonly body: ErrorBody;

  constructor(kind: FailureKind, status: number, body: ErrorBody) {
    super(body.message);
    this.name = 'ApiError';
    this.kind = kind;
    this.status = status;
    this.body = body;
  }
}

const BASE = '/api/v1';
const TIMEOUT_MS = 15_000;

function kindOf(status: number): FailureKind {
  if (status === 401) return 'signed_out';
  // The server hides what a role may not see: 404 is drawn like 403.
  if (status === 403 || status === 404) return 'denied';
  if (status === 409) return 'conflict';
  return status < 500 ? 'refused' : 'server';
}

function isErrorBody(body: unknown): body is ErrorBody {
  return typeof body === 'object' && body !== null && 'code' in body && typeof body.code === 'string';
}

async function send<T>(method: string, path: string, body?: unknown): Promise<T> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), TIMEOUT_MS);
  try {
    const init: RequestInit = { method, signal: abort.signal, credentials: 'same-origin', cache: 'no-store' };
    if (body !== undefined) {
      init.headers = { 'content-type': 'application/json' };
      init.body = JSON.stringify(body);
    }
    const response = await fetch(BASE + path, init);
    const text = await response.text();
    const parsed: unknown = text === '' ? null : parseJson(text);
    if (response.ok && parsed !== undefined) return parsed as T;
    const told = isErrorBody(parsed) ? parsed : { code: `http_${response.status}`, message: response.statusText };
    throw new ApiError(response.ok ? 'server' : kindOf(response.status), response.status, told);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError('unreachable', 0, { code: 'unreachable', message: String(error) });
  } finally {
    clearTimeout(timer);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Builds `path?a=1&b=2`, leaving out what is undefined. */
export function withQuery(path: string, query: Record<string, string | number | undefined>): string {
  const pairs = Object.entries(query)
    .filter((pair): pair is [string, string | number] => pair[1] !== undefined)
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`);
  return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`;
}

export function get<T>(path: string): Promise<T> {
  return send<T>('GET', path);
}

export function post<T>(path: string, body: unknown): Promise<T> {
  return send<T>('POST', path, body);
}

export function remove<T>(path: string): Promise<T> {
  return send<T>('DELETE', path);
}

/** Any thrown thing as an ApiError, so that pages have one shape to draw. */
export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError
    ? error
    : new ApiError('server', 0, { code: 'client_fault', message: String(error) });
}
