// Sites gathered by county, and where the counties stand in the schematic. Pure.
// The picture is a schematic, not a map: no boundary data is shipped.
import type { Alarm, Severity, Site } from '../api/contract';

export interface County {
  code: string;
  name: string;
  name_en: string;
  sites: readonly Site[];
  /** Open alarms per level, index 0 is level 1. */
  counts: readonly [number, number, number, number];
  worst: Severity | 0;
  /** Some alarm here waits for a signature. */
  unsigned: boolean;
  online: number;
  total: number;
  unknown: number;
  completeness: number | null;
}

/** Rough places of the three counties of Diqing; others follow after them in rows. */
export const KNOWN_PLACES: Readonly<Record<string, 'northwest' | 'southwest' | 'east'>> = {
  533422: 'northwest',
  533423: 'southwest',
  533401: 'east',
  533421: 'east',
};

const ORDER = ['533401', '533421', '533422', '533423'];

export function counties(sites: readonly Site[], alarms: readonly Alarm[]): County[] {
  const groups = new Map<string, Site[]>();
  for (const site of sites) groups.set(site.county, [...(groups.get(site.county) ?? []), site]);
  return [...groups.entries()]
    .sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1))
    .map(([code, members]) => county(code, members, alarms.filter((alarm) => alarm.county === code)));
}

function rank(code: string): number {
  const place = ORDER.indexOf(code);
  return place < 0 ? ORDER.length : place;
}

function county(code: string, sites: readonly Site[], alarms: readonly Alarm[]): County {
  const devices = sites.flatMap((site) => site.devices);
  const counts: [number, number, number, number] = [0, 0, 0, 0];
  for (const alarm of alarms) counts[alarm.severity - 1] = (counts[alarm.severity - 1] ?? 0) + 1;
  return {
    code,
    name: sites[0]?.county_name ?? code,
    name_en: sites[0]?.county_name_en ?? '',
    sites,
    counts,
    worst: worstOf(alarms),
    unsigned: alarms.some((alarm) => !alarm.acked),
    online: devices.filter((device) => device.online === true).length,
    total: devices.length,
    unknown: devices.filter((device) => device.online === null).length,
    completeness: meanCompleteness(sites),
  };
}

export function worstOf(alarms: readonly Alarm[]): Severity | 0 {
  let worst: Severity | 0 = 0;
  for (const alarm of alarms) if (worst === 0 || alarm.severity < worst) worst = alarm.severity;
  return worst;
}

/**
 * The share over all series that are expected, so that a large site weighs more than a small one; null when nothing is
 * expected: unknown is not zero and not whole.
 */
export function meanCompleteness(sites: readonly Site[]): number | null {
  const expected = sites.reduce((sum, site) => sum + site.expected, 0);
  if (expected === 0) return null;
  return sites.reduce((sum, site) => sum + site.expected * (site.completeness ?? 0), 0) / expected;
}

/** Below this share a county or site is drawn as incomplete. */
export const COMPLETE_ENOUGH = 0.95;

export function shareText(share: number | null): string {
  return share === null ? '—' : `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;
}
