// The live link as every page sees it, and the one clock of the console: the server's, ticking each second.
// Pages ask `link.live` before they call anything live; nothing else may decide that.
import { type Instant, type Link, Watchdog } from '../live/watchdog';

/** starting: before the first data; catching_up: the stream is back, the list is not yet; lost: nothing may look live. */
export type LinkStatus = 'starting' | 'catching_up' | 'live' | 'lost';

function instant(): Instant {
  return { monotonicMs: performance.now(), wallMs: Date.now() };
}

class LinkState {
  #watchdog = new Watchdog(instant());
  #link = $state<Link>('starting');
  #synced = $state(false);
  #everSynced = $state(false);

  /** The server's clock in milliseconds, changed once a second: the one signal all ages hang on. */
  now = $state(Date.now());
  attempt = $state(0);
  /** Server time of the last heartbeat; null before the first. */
  lastBeat = $state<number | null>(null);

  readonly status: LinkStatus = $derived.by(() => {
    if (this.#link === 'lost') return 'lost';
    if (this.#link === 'alive' && this.#synced) return 'live';
    return this.#everSynced ? 'catching_up' : 'starting';
  });
  readonly live: boolean = $derived(this.status === 'live');

  /** Returns true when this beat ended a loss, so that the caller fetches what was missed. */
  beat(serverTime: number, agoMs: number): boolean {
    const before = this.#watchdog.link(instant());
    this.#watchdog.beat(serverTime, instant(), agoMs);
    this.tick();
    return before === 'lost' && this.#link === 'alive';
  }

  tick(): void {
    const at = instant();
    this.#link = this.#watchdog.link(at);
    if (this.#link === 'lost') this.#synced = false;
    this.now = this.#watchdog.serverNow(at);
    this.lastBeat = this.#watchdog.lastBeat();
  }

  setSynced(synced: boolean): void {
    this.#synced = synced;
    if (synced) this.#everSynced = true;
  }

  reset(): void {
    this.#watchdog.reset(instant());
    this.#synced = false;
    this.#everSynced = false;
    this.attempt = 0;
    this.tick();
  }
}

export const link = new LinkState();
