// Filters of the duty list: read from and written to the URL, so that a link hands over a view (U32).
// The filter covers the whole set; what it hides is counted, red apart (U33).
import type { Alarm, Severity } from '../api/contract';

export interface Filter {
  text: string;
  levels: readonly Severity[];
  county: string;
  site: string;
  unackedOnly: boolean;
}

export const ALL_LEVELS: readonly Severity[] = [1, 2, 3, 4];
export const NO_FILTER: Filter = { text: '', levels: ALL_LEVELS, county: '', site: '', unackedOnly: false };

export function filterFromQuery(query: URLSearchParams): Filter {
  const asked = (query.get('level') ?? '').split(',').map(Number);
  const levels = ALL_LEVELS.filter((level) => asked.includes(level));
  return {
    text: query.get('q') ?? '',
    levels: levels.length === 0 ? ALL_LEVELS : levels,
    county: query.get('county') ?? '',
    site: query.get('site') ?? '',
    unackedOnly: query.get('unacked') === '1',
  };
}

export function queryFromFilter(filter: Filter): URLSearchParams {
  const query = new URLSearchParams();
  if (filter.text !== '') query.set('q', filter.text);
  if (filter.levels.length < ALL_LEVELS.length) query.set('level', filter.levels.join(','));
  if (filter.county !== '') query.set('county', filter.county);
  if (filter.site !== '') query.set('site', filter.site);
  if (filter.unackedOnly) query.set('unacked', '1');
  return query;
}

export function isFiltering(filter: Filter): boolean {
  return queryFromFilter(filter).toString() !== '';
}

export function passes(filter: Filter, alarm: Alarm): boolean {
  if (!filter.levels.includes(alarm.severity)) return false;
  if (filter.county !== '' && alarm.county !== filter.county) return false;
  if (filter.site !== '' && alarm.site !== filter.site) return false;
  if (filter.unackedOnly && alarm.acked) return false;
  return filter.text === '' || mentions(alarm, filter.text);
}

function mentions(alarm: Alarm, text: string): boolean {
  const wanted = text.trim().toLowerCase();
  const said = [
    alarm.site_name, alarm.site_name_en ?? '', alarm.county_name, alarm.county_name_en ?? '', alarm.device ?? '', alarm.scope, alarm.rule, alarm.name_zh, alarm.name_en,
    alarm.quantity ?? '', alarm.ack?.by_name ?? '',
  ];
  return said.some((part) => part.toLowerCase().includes(wanted));
}

export interface Hidden {
  count: number;
  red: number;
}

export function hiddenBy(filter: Filter, alarms: readonly Alarm[]): Hidden {
  const hidden = alarms.filter((alarm) => !passes(filter, alarm));
  return { count: hidden.length, red: hidden.filter((alarm) => alarm.severity === 1).length };
}
