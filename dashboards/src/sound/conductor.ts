// Which tone is due at a moment: a new alarm once, red and orange again and again until signed, a lost desk too.
// Pure but for what it remembers: it owns no timer, so it is asked whenever something may have changed.
import type { Alarm, Severity } from '../api/contract';
import { callKey, freshLevel, waitingLevel } from './duty-sound';
import { LEVEL_TONES, LOST_TONE, lengthMs, type Tone } from './tone';

export interface Moment {
  /** Monotonic. */
  now: number;
  alarms: readonly Alarm[];
  /** This desk hears nothing: the link is lost, or its session has ended. */
  lost: boolean;
  /** Nothing is played: muted, or the browser allows no sound. What is new then is not called later. */
  quiet: boolean;
}

export class Conductor {
  #heard: ReadonlySet<string> = new Set();
  #playedAt = new Map<Tone, number>();
  #busyUntil = 0;

  /** The tone to play now, or null. */
  due({ now, alarms, lost, quiet }: Moment): Tone | null {
    // While a sound plays nothing is taken, so that a new alarm is heard after it.
    if (now < this.#busyUntil) return null;
    const fresh = freshLevel(alarms, this.#heard);
    this.#heard = new Set(alarms.map(callKey));
    if (quiet) return null;
    const tone = this.#choose(fresh, alarms, lost, now);
    if (tone === null) return null;
    this.#playedAt.set(tone, now);
    this.#busyUntil = now + lengthMs(tone);
    return tone;
  }

  /** Something else plays until then. */
  wait(until: number): void {
    this.#busyUntil = until;
  }

  forget(): void {
    this.#heard = new Set();
    this.#playedAt.clear();
  }

  #choose(fresh: Severity | null, alarms: readonly Alarm[], lost: boolean, now: number): Tone | null {
    if (fresh !== null) return LEVEL_TONES[fresh];
    const waiting = waitingLevel(alarms);
    if (waiting !== null && this.#repeats(LEVEL_TONES[waiting], now)) return LEVEL_TONES[waiting];
    return lost && this.#repeats(LOST_TONE, now) ? LOST_TONE : null;
  }

  #repeats(tone: Tone, now: number): boolean {
    return tone.everyMs !== null && now - (this.#playedAt.get(tone) ?? -Infinity) >= tone.everyMs;
  }
}
