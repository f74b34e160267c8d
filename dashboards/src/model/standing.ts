// The two axes of an alarm (on or off, signed or not) as the one word a row shows. Pure.
import type { Alarm } from '../api/contract';

/** `noted`: on, and nobody has to sign it; `latched_noted`: the same, held by its latch. */
export type Standing =
  'unacked' | 'acked' | 'noted' | 'returned' | 'latched_unacked' | 'latched' | 'latched_noted' | 'closed';

export function standingOf(alarm: Pick<Alarm, 'active' | 'acked' | 'needs_ack' | 'latched'>): Standing {
  if (!alarm.needs_ack) return alarm.active ? 'noted' : alarm.latched ? 'latched_noted' : 'closed';
  if (alarm.active) return alarm.acked ? 'acked' : 'unacked';
  if (alarm.latched) return alarm.acked ? 'latched' : 'latched_unacked';
  return alarm.acked ? 'closed' : 'returned';
}

export function needsSignature(alarm: Pick<Alarm, 'acked'>): boolean {
  return !alarm.acked;
}
