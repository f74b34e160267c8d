// Times as text: 24-hour clock, always in a named zone, never in the zone of the desk's PC.
// Formatters are costly to make and are kept per zone.

export const DEFAULT_ZONE = 'Asia/Shanghai';

interface Parts {
  year: string;
  month: string;
  day: string;
  hour: string;
  minute: string;
  second: string;
}

const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterFor(zone: string): Intl.DateTimeFormat {
  const known = formatters.get(zone);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone, hourCycle: 'h23', year: 'numeric', month: '2-digit', day: '2-digit',
    hour: '2-digit', minute: '2-digit', second: '2-digit',
  });
  formatters.set(zone, made);
  return made;
}

function partsOf(at: number, zone: string): Parts {
  const parts: Parts = { year: '', month: '', day: '', hour: '', minute: '', second: '' };
  for (const part of formatterFor(zone).formatToParts(at)) {
    if (part.type in parts) parts[part.type as keyof Parts] = part.value;
  }
  return parts;
}

/** `21:39:10` */
export function clockText(at: number, zone = DEFAULT_ZONE): string {
  const { hour, minute, second } = partsOf(at, zone);
  return `${hour}:${minute}:${second}`;
}

/** `21:39` */
export function hourText(at: number, zone = DEFAULT_ZONE): string {
  const { hour, minute } = partsOf(at, zone);
  return `${hour}:${minute}`;
}

/** `11-24 21:39:10` */
export function stampText(at: number, zone = DEFAULT_ZONE): string {
  const { month, day } = partsOf(at, zone);
  return `${month}-${day} ${clockText(at, zone)}`;
}

/** `2026-11-24` */
export function dayText(at: number, zone = DEFAULT_ZONE): string {
  const { year, month, day } = partsOf(at, zone);
  return `${year}-${month}-${day}`;
}

/** The clock alone for today, with the date for any other day. */
export function nearText(at: number, now: number, zone = DEFAULT_ZONE): string {
  return dayText(at, zone) === dayText(now, zone) ? clockText(at, zone) : stampText(at, zone);
}
