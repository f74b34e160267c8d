// Which page a path names. Pure; whatever is typed into the address bar names some page.

export type Page =
  | { name: 'duty' }
  | { name: 'sites' }
  | { name: 'site'; id: string }
  | { name: 'history' }
  | { name: 'system' }
  | { name: 'quarantine' }
  | { name: 'nowhere' };

export function pageOf(path: string): Page {
  const [first = '', second = '', ...rest] = path.split('/').filter((part) => part !== '');
  if (rest.length > 0) return { name: 'nowhere' };
  if (first === 'site' && second !== '') return siteOf(second);
  if (second !== '') return { name: 'nowhere' };
  if (first === '' || first === 'duty' || first === 'login') return { name: 'duty' };
  if (first === 'sites' || first === 'history' || first === 'system' || first === 'quarantine') return { name: first };
  return { name: 'nowhere' };
}

function siteOf(part: string): Page {
  try {
    return { name: 'site', id: decodeURIComponent(part) };
  } catch {
    return { name: 'nowhere' };
  }
}
