// The registered sites with their devices, and what each part of the console derives from them.
import { fetchSites } from '../api/calls';
import { ApiError, asApiError } from '../api/client';
import type { Alarm, Device, PointInfo, Site } from '../api/contract';
import { locale } from '../i18n/locale.svelte';
import { DEFAULT_ZONE } from '../model/time';

class SiteState {
  list = $state.raw<readonly Site[]>([]);
  loaded = $state(false);
  error = $state.raw<ApiError | null>(null);
  /** What is held is what the server says now; else whether devices answer is not known. */
  readonly current: boolean = $derived(this.loaded && this.error === null);
  readonly byId: ReadonlyMap<string, Site> = $derived(new Map(this.list.map((site) => [site.id, site])));

  async load(): Promise<void> {
    try {
      this.list = (await fetchSites()).sites;
      this.loaded = true;
      this.error = null;
    } catch (error) {
      this.error = asApiError(error);
      throw error;
    }
  }

  clear(): void {
    this.list = [];
    this.loaded = false;
    this.error = null;
  }

  zone(site: string): string {
    return this.byId.get(site)?.zone ?? DEFAULT_ZONE;
  }

  device(site: string, device: string): Device | undefined {
    return this.byId.get(site)?.devices.find((each) => each.id === device);
  }

  /** A site's name in the language in use, its id where it is not registered. */
  siteName(site: string): string {
    const known = this.byId.get(site);
    return known === undefined ? site : locale.nameOf(known);
  }

  /** A device's name in the language in use, its id where it is not registered. */
  deviceName(site: string, device: string): string {
    const known = this.device(site, device);
    return known === undefined ? device : locale.nameOf(known);
  }

  point(site: string, device: string, quantity: string): PointInfo | undefined {
    return this.device(site, device)?.points.find((each) => each.quantity === quantity);
  }

  /** What the alarm is about, in the site's own words: the device's name, else its id, else the scope. */
  placeOf(alarm: Pick<Alarm, 'site' | 'device' | 'scope'>): string {
    // A pair is named by its two devices, as `line-1>dust-fan-1`.
    const named = (id: string): string => this.deviceName(alarm.site, id);
    if (alarm.scope.includes('>')) return alarm.scope.split('>').map(named).join(' → ');
    if (alarm.device === null) return alarm.scope;
    return named(alarm.device);
  }
}

export const sites = new SiteState();
