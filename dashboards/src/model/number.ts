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
