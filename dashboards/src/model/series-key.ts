// The key of a series inside the console: site, device, quantity. Ids hold no NUL, so the join cannot collide.
export function seriesKey(site: string, device: string, quantity: string): string {
  return `${site}\u0000${device}\u0000${quantity}`;
}
