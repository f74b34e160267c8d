// Whether the stream is alive, and what time it is at the server. Pure but for the two clocks handed in.
// Both a monotonic and a wall clock are asked: the first stands still while a PC sleeps, the second can be set.
import { LOST_AFTER_MS } from './event';

export interface Instant {
  monotonicMs: number;
  wallMs: number;
}

export type Link = 'starting' | 'alive' | 'lost';

export class Watchdog {
  #startedAt: Instant;
  #beatAt: Instant | null = null;
  #beatServerTime: number | null = null;

  constructor(startedAt: Instant) {
    this.#startedAt = startedAt;
  }

  beat(serverTime: number, at: Instant, agoMs: number): void {
    this.#beatAt = { monotonicMs: at.monotonicMs - agoMs, wallMs: at.wallMs - agoMs };
    this.#beatServerTime = serverTime;
  }

  /** Forgets the last beat: another user, another stream. */
  reset(at: Instant): void {
    this.#startedAt = at;
    this.#beatAt = null;
  }

  link(at: Instant): Link {
    if (this.#beatAt === null) return elapsed(this.#startedAt, at) > LOST_AFTER_MS ? 'lost' : 'starting';
    return elapsed(this.#beatAt, at) > LOST_AFTER_MS ? 'lost' : 'alive';
  }

  /** The server's time of the last heartbeat, or null before the first. */
  lastBeat(): number | null {
    return this.#beatAt === null ? null : this.#beatServerTime;
  }

  /** The server's clock now; the PC's own before the first heartbeat. */
  serverNow(at: Instant): number {
    if (this.#beatAt === null || this.#beatServerTime === null) return at.wallMs;
    return this.#beatServerTime + elapsed(this.#beatAt, at);
  }
}

function elapsed(from: Instant, to: Instant): number {
  return Math.max(to.monotonicMs - from.monotonicMs, sleptMs(from, to), 0);
}

/** Wall time gone by, counted only where it says more than a minute more than the monotonic clock: a sleep. */
function sleptMs(from: Instant, to: Instant): number {
  const monotonic = to.monotonicMs - from.monotonicMs;
  const wall = to.wallMs - from.wallMs;
  return wall - monotonic > 60_000 ? wall : 0;
}
