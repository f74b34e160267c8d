// Which sound is due now. Pure: the annunciator asks each half second and plays what it is told.
import type { Alarm, Severity } from '../api/contract';

/** Only alarms that page make a sound; what history brought enters the list in silence. */
export function sounds(alarm: Alarm): boolean {
  return alarm.page === 'paged' || alarm.page === 'recovered';
}

/** The most severe level that still waits for a signature, or null. */
export function waitingLevel(alarms: readonly Alarm[]): Severity | null {
  let worst: Severity | null = null;
  for (const alarm of alarms) {
    if (!alarm.acked && sounds(alarm) && (worst === null || alarm.severity < worst)) worst = alarm.severity;
  }
  return worst;
}

/**
 * What identifies one call for attention: a new occurrence, a risen level, or one that was silent and pages now sounds
 * anew, a changed value does not.
 */
export function callKey(alarm: Alarm): string {
  return `${alarm.id}:${alarm.occurrence}:${alarm.severity}:${sounds(alarm) ? 'sounds' : 'silent'}`;
}

/** The alarms that call and have not been told yet, the worst first. */
export function freshCalls(alarms: readonly Alarm[], told: ReadonlySet<string>): Alarm[] {
  const fresh = alarms.filter((alarm) => !alarm.acked && sounds(alarm) && !told.has(callKey(alarm)));
  return fresh.sort((a, b) => a.severity - b.severity);
}

/** The worst of the alarms that call and have not been heard yet. */
export function freshLevel(alarms: readonly Alarm[], heard: ReadonlySet<string>): Severity | null {
  return waitingLevel(alarms.filter((alarm) => !heard.has(callKey(alarm))));
}
