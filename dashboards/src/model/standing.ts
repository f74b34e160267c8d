// The two axes of an alarm (on or off, signed or not) as the one word a row shows. Pure.
import type { Alarm } from '../api/contract';

export type Standing = 'unacked' | 'acked' | 'returned' | 'latched_unacked' | 'latched' | 'closed';

export function standingOf(alarm: Pick<Alarm, 'active' | 'acked' | 'latched'>): Standing {
  if (alarm.active) return alarm.acked ? 'acked' : 'unacked';
  if (alarm.latched) return alarm.acked ? 'latched' : 'latched_unacked';
  return alarm.acked ? 'closed' : 'returned';
}

export function needsSignature(alarm: Pick<Alarm, 'acked'>): boolean {
  return !alarm.acked;
}
