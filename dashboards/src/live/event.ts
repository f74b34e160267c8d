// What travels from the server's event stream to the pages, and between a page and the shared worker.
import type { Alarm, Value } from '../api/contract';

/** Silence after which nothing on the screen may be called live (U24). Heartbeats come each 5 s. */
export const LOST_AFTER_MS = 12_000;

export type LiveEvent =
  | { kind: 'alarm'; alarm: Alarm }
  | { kind: 'values'; values: Value[] }
  | { kind: 'gateway' }
  | { kind: 'beat'; serverTime: number; revision: number }
  /** The server cannot resume from where we were, or said something unreadable: fetch everything again. */
  | { kind: 'reset' }
  | { kind: 'signed_out' }
  | { kind: 'attempt'; count: number };

export type ToWorker = 'hello' | 'ping' | 'bye' | 'retry' | 'restart';

/** `agoMs`: how long before sending the worker heard it; only a page that joins late gets an old beat. */
export interface FromWorker {
  event: LiveEvent;
  agoMs: number;
}
