// Which of the server's notices stop alarms. Pure.
import type { Notice } from '../api/contract';

/** The longest-standing first: it explains the others. */
export function stopping(notices: readonly Notice[]): Notice[] {
  return notices.filter((notice) => notice.level === 'alarms_stopped').sort((a, b) => a.since - b.since);
}
