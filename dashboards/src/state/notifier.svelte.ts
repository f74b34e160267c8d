// New alarms in words: a line for screen readers, and a desktop notification of red and orange while the tab is behind,
// which needs HTTPS and is silent where it is not allowed.
import type { Alarm } from '../api/contract';
import { locale } from '../i18n/locale.svelte';
import { callKey, freshCalls } from '../sound/duty-sound';

class Notifier {
  #told: ReadonlySet<string> | null = null;
  /** The newest call as a screen reader says it. */
  spoken = $state('');

  /** Given the open alarms whenever they change; the first list is what was there before. */
  look(list: readonly Alarm[]): void {
    const before = this.#told;
    this.#told = new Set(list.map(callKey));
    if (before === null) return;
    const fresh = freshCalls(list, before);
    const worst = fresh[0];
    if (worst !== undefined) this.spoken = spokenOf(worst);
    if (!document.hidden || !('Notification' in window) || Notification.permission !== 'granted') return;
    for (const alarm of fresh) if (alarm.severity <= 2) tell(alarm);
  }

  forget(): void {
    this.#told = null;
    this.spoken = '';
  }
}

function spokenOf(alarm: Alarm): string {
  return locale.t.announce(locale.t.levels[alarm.severity], locale.siteOf(alarm), locale.pick(alarm.name_zh, alarm.name_en));
}

function tell(alarm: Alarm): void {
  const what = locale.pick(alarm.name_zh, alarm.name_en);
  const shown = new Notification(locale.t.levelLong[alarm.severity], {
    body: locale.t.notify.body(locale.siteOf(alarm), what), tag: alarm.id, requireInteraction: alarm.severity === 1,
  });
  shown.onclick = () => window.focus();
}

export const notifier = new Notifier();
