// Desktop notification of a new red or orange alarm while the tab is behind. Needs HTTPS; silent where it is not allowed.
import type { Alarm } from '../api/contract';
import { locale } from '../i18n/locale.svelte';
import { callKey, sounds } from '../sound/duty-sound';

class Notifier {
  #told: ReadonlySet<string> | null = null;

  /** Given the open alarms whenever they change; the first list is what was there before. */
  look(list: readonly Alarm[]): void {
    const before = this.#told;
    this.#told = new Set(list.map(callKey));
    if (before === null || !document.hidden || !('Notification' in window)) return;
    if (Notification.permission !== 'granted') return;
    for (const alarm of list) {
      if (alarm.severity <= 2 && !alarm.acked && sounds(alarm) && !before.has(callKey(alarm))) tell(alarm);
    }
  }

  forget(): void {
    this.#told = null;
  }
}

function tell(alarm: Alarm): void {
  const what = locale.pick(alarm.name_zh, alarm.name_en);
  const shown = new Notification(locale.t.levelLong[alarm.severity], {
    body: locale.t.notify.body(alarm.site_name, what), tag: alarm.id, requireInteraction: alarm.severity === 1,
  });
  shown.onclick = () => window.focus();
}

export const notifier = new Notifier();
