// How much of what was expected of each site came, by day: rows by site, the blindest first.
import type { DayOfSite } from '../api/contract';

/** Below this share a site is half blind. */
export const ENOUGH = 0.9;

export interface SiteDays {
  site: string;
  name: string;
  name_en: string;
  /** In the order of `days`; null where nothing is known of that day. */
  days: readonly (DayOfSite | null)[];
  /** Smallest share of its days; 1 where nothing was expected. */
  worst: number;
}

export interface Table {
  /** `YYYY-MM-DD`, the newest first. */
  days: readonly string[];
  sites: readonly SiteDays[];
}

/** Puts rows of the service into a table; a site with a small share on any day stands before one that is whole. */
export function tableOf(rows: readonly DayOfSite[]): Table {
  const days = [...new Set(rows.map((row) => row.day))].sort().reverse();
  const bySite = new Map<string, Map<string, DayOfSite>>();
  for (const row of rows) {
    const known = bySite.get(row.site) ?? new Map<string, DayOfSite>();
    known.set(row.day, row);
    bySite.set(row.site, known);
  }
  const sites = [...bySite].map(([site, byDay]) => {
    const own = [...byDay.values()];
    const worst = Math.min(1, ...own.map((row) => row.share ?? 1));
    return { site, name: own[0]?.name ?? site, name_en: own[0]?.name_en ?? site, days: days.map((day) => byDay.get(day) ?? null), worst };
  });
  sites.sort((a, b) => a.worst - b.worst || (a.site < b.site ? -1 : 1));
  return { days, sites };
}

/** A share as people read it. Never rounded up to whole: 99.96 % is not 100 %. */
export function shareText(share: number | null): string {
  return share === null ? '—' : `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;
}
