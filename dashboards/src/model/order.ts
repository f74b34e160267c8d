// The order of the duty list: unsigned first, then level, then newest (U3, U4). Pure; used by the alarm store and tests.
import type { Alarm } from '../api/contract';

/** Negative when `a` stands above `b`. Total: equal only for the same alarm. */
export function compareAlarms(a: Alarm, b: Alarm): number {
  if (a.acked !== b.acked) return a.acked ? 1 : -1;
  if (a.severity !== b.severity) return a.severity - b.severity;
  if (a.raised_at !== b.raised_at) return b.raised_at - a.raised_at;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

/** Whether an alarm belongs on the duty list: it is on, held by a latch, or nobody has signed it. */
export function isOpen(alarm: Alarm): boolean {
  return alarm.active || alarm.latched || !alarm.acked;
}
