// The desk's sound: a new alarm once in its tone, red and orange again and again until signed, a lost connection too.
// Muting lasts at most five minutes and never hides anything on screen (U27, U28).
import type { Severity } from '../api/contract';
import { alarms } from '../state/alarms.svelte';
import { link } from '../state/link.svelte';
import { readPreference, writePreference } from '../state/preference';
import { callKey, freshLevel, waitingLevel } from './duty-sound';
import { Player } from './player';
import { LEVEL_TONES, LOST_TONE, lengthMs, type Tone } from './tone';

const MUTE_MS = 5 * 60_000;
const LOOK_MS = 500;

class Annunciator {
  #player = new Player();
  #heard = new Set<string>();
  #timer: number | null = null;
  #busyUntil = 0;
  #playedAt = new Map<Tone, number>();

  /** The user wants sound; whether the browser allows it is `running`. */
  wanted = $state(readPreference('sound') !== 'off');
  running = $state(false);
  /** Monotonic end of the mute, or null. */
  #mutedUntil = $state<number | null>(null);
  mutedLeftMs = $state(0);

  start(): void {
    this.#timer ??= window.setInterval(() => this.#look(), LOOK_MS);
    // A page that was opened by a click, or a kiosk flag, may sound without being asked.
    if (this.wanted) void this.#enable();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#heard.clear();
    this.#playedAt.clear();
  }

  async turnOn(): Promise<void> {
    this.wanted = true;
    writePreference('sound', 'on');
    await this.#enable();
    if ('Notification' in window && Notification.permission === 'default') {
      await Notification.requestPermission().catch(() => undefined);
    }
  }

  mute(): void {
    this.#mutedUntil = performance.now() + MUTE_MS;
    this.#look();
  }

  unmute(): void {
    this.#mutedUntil = null;
    this.mutedLeftMs = 0;
  }

  /** Plays all levels one after another, red first. */
  async test(): Promise<void> {
    await this.turnOn();
    let delay = 0;
    for (const level of [1, 2, 3, 4] as const) {
      this.#player.play(LEVEL_TONES[level], delay);
      delay += lengthMs(LEVEL_TONES[level]) + 600;
    }
    this.#busyUntil = performance.now() + delay;
  }

  async #enable(): Promise<void> {
    this.running = await this.#player.enable();
  }

  #look(): void {
    const now = performance.now();
    this.running = this.#player.running;
    if (this.#mutedUntil !== null && now >= this.#mutedUntil) this.unmute();
    if (this.#mutedUntil !== null) this.mutedLeftMs = this.#mutedUntil - now;
    const fresh = this.#takeFresh();
    if (this.#mutedUntil !== null || !this.running || now < this.#busyUntil) return;
    const due = this.#due(fresh, now);
    if (due === null) return;
    this.#player.play(due);
    this.#playedAt.set(due, now);
    this.#busyUntil = now + lengthMs(due);
  }

  #due(fresh: Severity | null, now: number): Tone | null {
    if (fresh !== null) return LEVEL_TONES[fresh];
    const waiting = waitingLevel(alarms.list);
    if (waiting !== null && this.#repeats(LEVEL_TONES[waiting], now)) return LEVEL_TONES[waiting];
    return link.status === 'lost' && this.#repeats(LOST_TONE, now) ? LOST_TONE : null;
  }

  #repeats(tone: Tone, now: number): boolean {
    return tone.everyMs !== null && now - (this.#playedAt.get(tone) ?? -Infinity) >= tone.everyMs;
  }

  /** While a sound plays nothing is taken, so that a new alarm is heard after it. */
  #takeFresh(): Severity | null {
    if (performance.now() < this.#busyUntil) return null;
    const fresh = freshLevel(alarms.list, this.#heard);
    this.#heard = new Set(alarms.list.map(callKey));
    return fresh;
  }
}

export const annunciator = new Annunciator();
