// The sounds of the four levels and of a lost connection, as notes. Distinct in pitch, count and rhythm, so that they
// can be told apart without seeing the screen. Pure data; the annunciator plays them.
import type { Severity } from '../api/contract';

export interface Note {
  hz: number;
  startMs: number;
  lengthMs: number;
}

export interface Tone {
  notes: readonly Note[];
  /** How often it is repeated while somebody has to sign; null: played once. */
  everyMs: number | null;
  gain: number;
}

function beeps(hz: readonly number[], lengthMs: number, stepMs: number): Note[] {
  return hz.map((each, index) => ({ hz: each, startMs: index * stepMs, lengthMs }));
}

export const LEVEL_TONES: Record<Severity, Tone> = {
  1: { notes: beeps([988, 784, 988, 784, 988, 784], 150, 170), everyMs: 3000, gain: 0.3 },
  2: { notes: beeps([740, 740, 740], 180, 280), everyMs: 15_000, gain: 0.22 },
  3: { notes: beeps([587, 587], 180, 300), everyMs: null, gain: 0.16 },
  4: { notes: beeps([440], 220, 300), everyMs: null, gain: 0.1 },
};

export const LOST_TONE: Tone = { notes: beeps([330, 262, 196], 300, 340), everyMs: 60_000, gain: 0.22 };

/** How long one sounding lasts. */
export function lengthMs(tone: Tone): number {
  return Math.max(...tone.notes.map((note) => note.startMs + note.lengthMs));
}
