// Whether what is on the screen may be called live. The link alone does not say so: a server may answer in time while
// nothing reaches it from the plants, or while nobody judges what does. Pages ask here; actions ask the link.
import type { Notice } from '../api/contract';
import { stopping } from '../model/notices';
import { link } from './link.svelte';
import { system } from './system.svelte';

class Trust {
  /** What stops alarms now, as the server says of itself. */
  readonly stops: readonly Notice[] = $derived(stopping(system.state?.notices ?? []));
  readonly live: boolean = $derived(link.live && this.stops.length === 0);
}

export const trust = new Trust();
