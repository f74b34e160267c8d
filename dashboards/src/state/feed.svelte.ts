// Keeps all stores true while somebody is signed in: takes the live stream, fetches snapshots after every
// interruption, and compares with the server each minute so that a lost event cannot stay lost.
import type { LiveEvent } from '../live/event';
import { type Subscription, subscribe } from '../live/subscribe';
import { alarms } from './alarms.svelte';
import { link } from './link.svelte';
import { session } from './session.svelte';
import { sites } from './sites.svelte';
import { system } from './system.svelte';
import { values } from './values.svelte';

const RETRY_MS = 3000;
const RECONCILE_MS = 60_000;
const SYSTEM_MS = 10_000;
const GATEWAY_SETTLE_MS = 1500;

class Feed {
  #subscription: Subscription | null = null;
  #timers: number[] = [];
  #loading: Promise<void> | null = null;
  #retry: number | null = null;
  #gateway: number | null = null;
  #interrupted = true;

  start(): void {
    if (this.#subscription !== null) return;
    link.reset();
    this.#interrupted = true;
    this.#subscription = subscribe((event, agoMs) => this.#hear(event, agoMs));
    // The worker may hold the stream of whoever was signed in before.
    this.#subscription.restart();
    this.#timers = [
      window.setInterval(() => void this.#load(), RECONCILE_MS),
      window.setInterval(() => void session.askEnd(), RECONCILE_MS),
      window.setInterval(() => void system.load(), SYSTEM_MS),
    ];
    void this.#load();
    void system.load();
  }

  stop(): void {
    this.#subscription?.stop();
    this.#subscription = null;
    for (const timer of this.#timers) clearInterval(timer);
    if (this.#retry !== null) clearTimeout(this.#retry);
    if (this.#gateway !== null) clearTimeout(this.#gateway);
    this.#retry = null;
    this.#gateway = null;
    values.watch(null);
    alarms.clear();
    sites.clear();
    system.clear();
  }

  /** The same person signed in anew: the stream goes over to the new session. */
  renew(): void {
    this.#subscription?.restart();
  }

  retryNow(): void {
    this.#subscription?.retry();
    void this.#load();
  }

  #hear(event: LiveEvent, agoMs: number): void {
    if (event.kind === 'alarm') alarms.receive(event.alarm);
    else if (event.kind === 'values') values.receive(event.values);
    else if (event.kind === 'beat') this.#beat(event.serverTime, agoMs);
    else if (event.kind === 'gateway') this.#gatewayChanged();
    else if (event.kind === 'reset') this.#refetch();
    else if (event.kind === 'signed_out') session.expire();
    else this.#attempted(event.count);
  }

  #beat(serverTime: number, agoMs: number): void {
    const recovered = link.beat(serverTime, agoMs);
    link.attempt = 0;
    if (recovered || this.#interrupted) this.#refetch();
    this.#interrupted = false;
  }

  #attempted(count: number): void {
    link.attempt = count;
    this.#interrupted = true;
    // An event stream does not tell why it did not open; the session does.
    if (count > 1) void session.probe();
  }

  #gatewayChanged(): void {
    this.#gateway ??= window.setTimeout(() => {
      this.#gateway = null;
      void sites.load().catch(() => undefined);
      void system.load();
    }, GATEWAY_SETTLE_MS);
  }

  /** Fetches after the running fetch, if there is one: that one may have begun before the interruption ended. */
  #refetch(): void {
    const running = this.#loading ?? Promise.resolve();
    void running.then(() => this.#load());
  }

  #load(): Promise<void> {
    this.#loading ??= this.#loadAll().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async #loadAll(): Promise<void> {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    // Each store keeps its own error for its page. Signing and "no alarms" hang on the alarms alone: a list of sites that
    // cannot be read must not stop anybody from signing.
    const [alarmsDone, sitesDone] = await Promise.allSettled([alarms.load(), sites.load(), values.load()]);
    if (this.#subscription === null) return;
    link.setSynced(alarmsDone.status === 'fulfilled');
    if (alarmsDone.status === 'rejected' || sitesDone.status === 'rejected') {
      this.#retry = window.setTimeout(() => void this.#load(), RETRY_MS);
    }
  }
}

export const feed = new Feed();
