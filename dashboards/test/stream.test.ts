// The life of the stream with a clock and a source of our own: silence, resume, back-off, resets. No waiting.
import { expect, test } from 'vitest';
import { LOST_AFTER_MS, type LiveEvent } from '../src/live/event';
import { type Source, Stream } from '../src/live/stream';
import { Watchdog } from '../src/live/watchdog';
import { makeAlarm } from './make';

class FakeSource implements Source {
  onopen: Source['onopen'] = null;
  onerror: Source['onerror'] = null;
  closed = false;
  #listeners = new Map<string, (event: MessageEvent<string>) => void>();

  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  addEventListener(name: string, listener: (event: MessageEvent<string>) => void): void {
    this.#listeners.set(name, listener);
  }

  close(): void {
    this.closed = true;
  }

  say(name: string, body: unknown, lastEventId = ''): void {
    const data = typeof body === 'string' ? body : JSON.stringify(body);
    this.#listeners.get(name)?.({ data, lastEventId } as MessageEvent<string>);
  }

  fail(): void {
    this.onerror?.({} as Event);
  }
}

function setUp() {
  const sources: FakeSource[] = [];
  const events: LiveEvent[] = [];
  const clock = { now: 0 };
  const stream = new Stream({
    open: (url) => {
      const source = new FakeSource(url);
      sources.push(source);
      return source;
    },
    now: () => clock.now,
    emit: (event) => events.push(event),
  });
  const pass = (ms: number): void => {
    for (let gone = 0; gone < ms; gone += 1000) {
      clock.now += 1000;
      stream.tick();
    }
  };
  const latest = (): FakeSource => {
    const source = sources[sources.length - 1];
    if (source === undefined) throw new Error('nothing was opened');
    return source;
  };
  return { stream, sources, events, clock, pass, latest };
}

const BEAT = { server_time: 5000, revision: 7 };

test('resumes from the last id it was given', () => {
  const { stream, latest, pass } = setUp();
  stream.start();
  expect(latest().url).toBe('/api/v1/stream');
  latest().say('alarm', makeAlarm(), '41');
  latest().say('hb', BEAT);
  latest().fail();
  pass(2000);
  expect(latest().url).toBe('/api/v1/stream?last_event_id=41');
});

test('a reset forgets the id: the next opening asks for no old events', () => {
  const { stream, latest, events, pass } = setUp();
  stream.start();
  latest().say('alarm', makeAlarm(), '41');
  latest().say('reset', '{}');
  expect(events[events.length - 1]).toEqual({ kind: 'reset' });
  latest().fail();
  pass(2000);
  expect(latest().url).toBe('/api/v1/stream');
});

test('a stream that is open but silent is dropped after twelve seconds and opened again', () => {
  const { stream, sources, pass, latest } = setUp();
  stream.start();
  latest().say('hb', BEAT);
  pass(LOST_AFTER_MS);
  expect(sources).toHaveLength(1);
  pass(3000);
  expect(sources[0]?.closed).toBe(true);
  expect(sources.length).toBeGreaterThan(1);
});

test('tries again with growing pauses, for ever, at least each six seconds', () => {
  const { stream, sources, pass, latest } = setUp();
  stream.start();
  for (let minute = 0; minute < 10; minute += 1) {
    const before = sources.length;
    for (let second = 0; second < 60; second += 1) {
      if (!latest().closed) latest().fail();
      pass(1000);
    }
    expect(sources.length - before).toBeGreaterThanOrEqual(9);
    expect(sources.length - before).toBeLessThan(25);
  }
});

test('what an old connection still says is not heard', () => {
  const { stream, sources, events, pass } = setUp();
  stream.start();
  sources[0]?.fail();
  pass(2000);
  const heard = events.length;
  sources[0]?.say('hb', BEAT);
  expect(events).toHaveLength(heard);
});

test('what cannot be read becomes a reset, never a half-read alarm', () => {
  const { stream, latest, events } = setUp();
  stream.start();
  for (const data of ['{', '[]', 'null', '{"id":5}', '{"id":"a","version":"1"}']) {
    latest().say('alarm', data, '9');
    expect(events[events.length - 1], data).toEqual({ kind: 'reset' });
  }
});

test('another user resumes nothing', () => {
  const { stream, latest } = setUp();
  stream.start();
  latest().say('alarm', makeAlarm(), '41');
  stream.restart();
  expect(latest().url).toBe('/api/v1/stream');
});

test('signed out: closed, and not opened again', () => {
  const { stream, sources, latest, pass } = setUp();
  stream.start();
  latest().say('signed_out', '{}');
  pass(30_000);
  expect(sources).toHaveLength(1);
  expect(sources[0]?.closed).toBe(true);
});

test('the watchdog: starting, alive, lost after twelve seconds, alive again', () => {
  const at = (ms: number) => ({ monotonicMs: ms, wallMs: ms });
  const dog = new Watchdog(at(0));
  expect(dog.link(at(LOST_AFTER_MS))).toBe('starting');
  expect(dog.link(at(LOST_AFTER_MS + 1))).toBe('lost');
  dog.beat(90_000, at(20_000), 0);
  expect(dog.link(at(32_000))).toBe('alive');
  expect(dog.serverNow(at(25_000))).toBe(95_000);
  expect(dog.link(at(32_001))).toBe('lost');
  expect(dog.lastBeat()).toBe(90_000);
  dog.beat(103_000, at(33_000), 0);
  expect(dog.link(at(33_500))).toBe('alive');
});

test('the watchdog: a tab that joins late is told how old the beat is', () => {
  const at = (ms: number) => ({ monotonicMs: ms, wallMs: ms });
  const dog = new Watchdog(at(50_000));
  dog.beat(90_000, at(50_000), 20_000);
  expect(dog.link(at(50_000))).toBe('lost');
});

test('the watchdog: a PC that slept is lost although its monotonic clock stood still', () => {
  const dog = new Watchdog({ monotonicMs: 0, wallMs: 0 });
  dog.beat(90_000, { monotonicMs: 1000, wallMs: 1000 }, 0);
  expect(dog.link({ monotonicMs: 1500, wallMs: 3_600_000 })).toBe('lost');
});

test('the watchdog: setting the PC clock by a few seconds loses nothing, and hides nothing', () => {
  const dog = new Watchdog({ monotonicMs: 0, wallMs: 0 });
  dog.beat(90_000, { monotonicMs: 1000, wallMs: 1000 }, 0);
  expect(dog.link({ monotonicMs: 2000, wallMs: 32_000 })).toBe('alive');
  expect(dog.link({ monotonicMs: 14_000, wallMs: -60_000 })).toBe('lost');
});
