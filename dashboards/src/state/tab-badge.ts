// The tab as a sign: "(3)" in the title and a number on the icon, seen when another tab is in front (U29).
// Icons are files, not drawn ones: a data: address would break the content security policy.

const MORE_THAN = 9;

export function tabTitle(product: string, unacked: string, lost: string): string {
  return `${lost}${unacked}${product}`;
}

export function badgeFile(unacked: number, lost: boolean): string {
  if (lost) return '/badge/lost.svg';
  return unacked > MORE_THAN ? '/badge/more.svg' : `/badge/${unacked}.svg`;
}

export function showBadge(file: string): void {
  const icon = document.getElementById('favicon');
  if (icon instanceof HTMLLinkElement && !icon.href.endsWith(file)) icon.href = file;
}
