// One server-sent event as a LiveEvent. What cannot be read becomes a reset: the page fetches the truth again
// instead of going on with a hole in it.
import type { Alarm, Value } from '../api/contract';
import type { LiveEvent } from './event';

export const EVENT_NAMES = ['alarm', 'value', 'gateway', 'hb', 'reset', 'signed_out'] as const;
export type EventName = (typeof EVENT_NAMES)[number];

export function parseEvent(name: EventName, data: string): LiveEvent {
  switch (name) {
    case 'gateway':
      return { kind: 'gateway' };
    case 'reset':
      return { kind: 'reset' };
    case 'signed_out':
      return { kind: 'signed_out' };
    default:
      return parseBody(name, data);
  }
}

function parseBody(name: 'alarm' | 'value' | 'hb', data: string): LiveEvent {
  try {
    const body: unknown = JSON.parse(data);
    if (name === 'alarm' && isAlarm(body)) return { kind: 'alarm', alarm: body };
    if (name === 'value' && isValues(body)) return { kind: 'values', values: body.values };
    if (name === 'hb' && isBeat(body)) {
      return { kind: 'beat', serverTime: body.server_time, revision: body.revision };
    }
  } catch {
    // fall through to the reset below
  }
  return { kind: 'reset' };
}

function isObject(body: unknown): body is Record<string, unknown> {
  return typeof body === 'object' && body !== null;
}

function isAlarm(body: unknown): body is Alarm {
  return isObject(body) && typeof body['id'] === 'string' && typeof body['version'] === 'number' &&
    typeof body['severity'] === 'number' && typeof body['acked'] === 'boolean';
}

function isValues(body: unknown): body is { values: Value[] } {
  return isObject(body) && Array.isArray(body['values']);
}

function isBeat(body: unknown): body is { server_time: number; revision: number } {
  return isObject(body) && typeof body['server_time'] === 'number';
}
