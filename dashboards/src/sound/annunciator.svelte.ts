// The desk's sound. It has no timer of its own: it looks when alarms were published and at each pulse, which come on
// time also in a hidden tab. Muting lasts at most five minutes and never hides anything on screen (U27, U28).
import { alarms } from '../state/alarms.svelte';
import { link } from '../state/link.svelte';
import { readPreference, writePreference } from '../state/preference';
import { session } from '../state/session.svelte';
import { Conductor } from './conductor';
import { Player } from './player';
import { LEVEL_TONES, lengthMs } from './tone';

const MUTE_MS = 5 * 60_000;

class Annunciator {
  #player = new Player();
  #conductor = new Conductor();

  /** The user wants sound; whether the browser allows it is `running`. */
  wanted = $state(readPreference('sound') !== 'off');
  running = $state(false);
  /** Monotonic end of the mute, or null. */
  #mutedUntil = $state<number | null>(null);
  mutedLeftMs = $state(0);

  start(): void {
    // A page that was opened by a click, or a kiosk flag, may sound without being asked.
    if (this.wanted) void this.#enable();
  }

  stop(): void {
    this.#conductor.forget();
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
    this.look();
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
    this.#conductor.wait(performance.now() + delay);
  }

  async #enable(): Promise<void> {
    this.running = await this.#player.enable();
  }

  /** Plays what is due now; called whenever something may have changed, and at least each second. */
  look(): void {
    const now = performance.now();
    this.running = this.#player.running;
    if (this.#mutedUntil !== null && now >= this.#mutedUntil) this.unmute();
    if (this.#mutedUntil !== null) this.mutedLeftMs = this.#mutedUntil - now;
    const quiet = this.#mutedUntil !== null || !this.running;
    const lost = link.status === 'lost' || session.expired;
    const tone = this.#conductor.due({ now, alarms: alarms.list, lost, quiet });
    if (tone !== null) this.#player.play(tone);
  }
}

export const annunciator = new Annunciator();
