// Small choices kept in this browser. Storage may be denied (private window, policy): then they last until reload.
type Name = 'language' | 'theme' | 'sound';

export function readPreference(name: Name): string | null {
  try {
    return localStorage.getItem(`davy.${name}`);
  } catch {
    return null;
  }
}

export function writePreference(name: Name, value: string): void {
  try {
    localStorage.setItem(`davy.${name}`, value);
  } catch {
    // kept in memory by the caller
  }
}
