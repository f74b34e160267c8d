// The language in use. Switching replaces texts in place: no reload, no state lost (U41).
import { readPreference, writePreference } from '../state/preference';
import type { Dictionary } from './dictionary';
import { en } from './en';
import { zh } from './zh';

export type Language = 'zh' | 'en';

class Locale {
  language = $state<Language>(readPreference('language') === 'en' ? 'en' : 'zh');
  readonly t: Dictionary = $derived(this.language === 'zh' ? zh : en);

  toggle(): void {
    this.language = this.language === 'zh' ? 'en' : 'zh';
    writePreference('language', this.language);
  }

  /** The field of the data that is written in the language in use. */
  pick(zhText: string, enText: string): string {
    const chosen = this.language === 'zh' ? zhText : enText;
    return chosen === '' ? zhText || enText : chosen;
  }

  /** The name of a site, device or county in the language in use; the Chinese one where no other is registered. */
  nameOf(named: { name: string; name_en?: string }): string {
    return this.pick(named.name, named.name_en ?? '');
  }

  siteOf(alarm: { site_name: string; site_name_en?: string }): string {
    return this.pick(alarm.site_name, alarm.site_name_en ?? '');
  }

  countyOf(placed: { county_name: string; county_name_en?: string }): string {
    return this.pick(placed.county_name, placed.county_name_en ?? '');
  }
}

export const locale = new Locale();
