// Which series a trend can show for an alarm: those it was judged on, the one with the value first. Pure.
import type { Alarm, AlarmDetail } from '../api/contract';

export interface TrendPoint {
  device: string;
  quantity: string;
  unit: string;
  /** The limit of the alarm is a limit of this series. */
  limited: boolean;
}

const POINTS_MAX = 6;

export function trendPoints(alarm: Alarm, detail: AlarmDetail | null): TrendPoint[] {
  const inputs = detail?.evidence?.inputs ?? [];
  if (inputs.length === 0) {
    if (alarm.device === null || alarm.quantity === null) return [];
    return [{ device: alarm.device, quantity: alarm.quantity, unit: alarm.unit ?? '', limited: true }];
  }
  const points: TrendPoint[] = [];
  for (const { device, quantity, unit } of inputs) {
    if (points.length === POINTS_MAX) break;
    if (points.some((each) => each.device === device && each.quantity === quantity)) continue;
    points.push({ device, quantity, unit, limited: points.length === 0 && unit === (alarm.unit ?? unit) });
  }
  return points;
}
