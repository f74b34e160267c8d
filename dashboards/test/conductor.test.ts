// What is played when, with a clock of our own.
import { expect, test } from 'vitest';
import type { Alarm } from '../src/api/contract';
import { Conductor } from '../src/sound/conductor';
import { LEVEL_TONES, LOST_TONE, lengthMs, type Tone } from '../src/sound/tone';
import { makeAlarm } from './make';

const RED = LEVEL_TONES[1];

/** Asks each second from `from` to `to`; what is played, with the second. */
function play(conductor: Conductor, from: number, to: number, alarms: readonly Alarm[], change: { lost?: boolean; quiet?: boolean } = {}): [number, Tone][] {
  const played: [number, Tone][] = [];
  for (let second = from; second <= to; second += 1) {
    const tone = conductor.due({ now: second * 1000, alarms, lost: false, quiet: false, ...change });
    if (tone !== null) played.push([second, tone]);
  }
  return played;
}

test('a new alarm sounds when it is told, red again each three seconds until it is signed', () => {
  const conductor = new Conductor();
  const red = makeAlarm({ severity: 1 });
  expect(play(conductor, 0, 9, [red])).toEqual([[0, RED], [3, RED], [6, RED], [9, RED]]);
  expect(play(conductor, 10, 60, [{ ...red, acked: true, version: 2 }])).toEqual([]);
});

test('a second new alarm is heard after the sound that plays', () => {
  const conductor = new Conductor();
  const yellow = makeAlarm({ id: 'y', severity: 3 });
  const at = (now: number, alarms: Alarm[]): Tone | null => conductor.due({ now, alarms, lost: false, quiet: false });
  expect(at(0, [yellow])).toBe(LEVEL_TONES[3]);
  const both = [yellow, makeAlarm({ id: 'b', severity: 4 })];
  expect(at(100, both)).toBeNull();
  expect(at(lengthMs(LEVEL_TONES[3]), both)).toBe(LEVEL_TONES[4]);
});

test('a desk that hears nothing says so each minute, for ever, also without an alarm', () => {
  const played = play(new Conductor(), 0, 600, [], { lost: true });
  expect(played).toHaveLength(11);
  expect(new Set(played.map(([, tone]) => tone))).toEqual(new Set([LOST_TONE]));
});

test('nothing is played while it is quiet; red calls again afterwards', () => {
  const conductor = new Conductor();
  const red = makeAlarm({ severity: 1 });
  expect(play(conductor, 0, 10, [red], { quiet: true })).toEqual([]);
  expect(play(conductor, 11, 11, [red])).toEqual([[11, RED]]);
});
