// Day or night palette: the user's choice, else what the desk's system asks for.
import { readPreference, writePreference } from './preference';

export type Theme = 'day' | 'night';

class ThemeState {
  theme = $state<Theme>(firstTheme());

  toggle(): void {
    this.theme = this.theme === 'day' ? 'night' : 'day';
    writePreference('theme', this.theme);
  }
}

function firstTheme(): Theme {
  const kept = readPreference('theme');
  if (kept === 'day' || kept === 'night') return kept;
  return window.matchMedia('(prefers-color-scheme: dark)').matches ? 'night' : 'day';
}

export const theme = new ThemeState();
