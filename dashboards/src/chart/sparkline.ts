// The last hour of a point as the path of a small drawing: min to max of what was measured, breaks where nothing was.
import { type TrendData } from './trend-data';

export interface Box {
  width: number;
  height: number;
}

const EDGE_PX = 2;

/** SVG path data; a new `M` after each break. Empty when there is no number at all. */
export function sparkPath(data: TrendData, fromMs: number, toMs: number, box: Box): string {
  const numbers = data.line.filter((each): each is number => each !== null);
  if (numbers.length === 0) return '';
  const low = Math.min(...numbers);
  const span = Math.max(...numbers) - low;
  const xOf = (seconds: number): number => ((seconds * 1000 - fromMs) / (toMs - fromMs)) * box.width;
  const yOf = (value: number): number =>
    span === 0 ? box.height / 2 : box.height - EDGE_PX - ((value - low) / span) * (box.height - 2 * EDGE_PX);
  let path = '';
  let broken = true;
  data.line.forEach((value, index) => {
    if (value === null) {
      broken = true;
      return;
    }
    path += `${broken ? 'M' : 'L'}${xOf(data.x[index] ?? 0).toFixed(1)} ${yOf(value).toFixed(1)}`;
    broken = false;
  });
  return path;
}
