// How a measured number is written: the digits the store has, at most `DIGITS` of them, no thousands marks.
const DIGITS = 5;

export function numberText(value: number): string {
  if (!Number.isFinite(value)) return '—';
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && (magnitude >= 1e7 || magnitude < 1e-4)) return value.toExponential(2);
  const whole = Math.trunc(magnitude).toString().length;
  const decimals = Math.max(0, DIGITS - whole);
  return Number(value.toFixed(Math.min(decimals, 4))).toString();
}

/** A unit as it is written behind a number: none for a plain ratio, a factor for a share of a rating (`0.1 × I_N`). */
export function unitText(unit: string | null | undefined): string {
  if (unit === null || unit === undefined || unit === '1') return '';
  return /^[A-Z]+_[A-Za-z]+$/.test(unit) ? `× ${unit}` : unit;
}
