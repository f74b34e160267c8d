// The one file that knows uPlot. Draws a trend: the band of minimum and maximum, the line, limits, the alarm,
// and hatched stretches where there is no usable data. 24-hour clock in the site's zone; nothing is animated.
import UPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { clockText, dayText, hourText } from '../model/time';
import type { Stretch, TrendData } from './trend-data';

export interface LimitLine {
  value: number;
  label: string;
  dashed: boolean;
}

export interface Mark {
  atMs: number;
  label: string;
  color: string;
}

export interface TrendView {
  data: TrendData;
  fromMs: number;
  toMs: number;
  unit: string;
  zone: string;
  limits: readonly LimitLine[];
  /** The time over which the condition held before it was judged. */
  holds: { fromMs: number; toMs: number } | null;
  /** Moments of the alarm, oldest first. */
  marks: readonly Mark[];
  nowMs: number;
  nowLabel: string;
}

export interface Cursor {
  atMs: number;
  value: number | null;
}

const AXIS_SPACE_PX = 70;

export class TrendChart {
  readonly #host: HTMLElement;
  readonly #onCursor: (cursor: Cursor | null) => void;
  #plot: UPlot | null = null;
  #view: TrendView | null = null;

  constructor(host: HTMLElement, onCursor: (cursor: Cursor | null) => void) {
    this.#host = host;
    this.#onCursor = onCursor;
  }

  /** Draws anew; colours are read from the palette each time, so a change of theme is a call of this. */
  show(view: TrendView): void {
    this.#view = view;
    this.#plot?.destroy();
    const { width, height } = this.#size();
    this.#plot = new UPlot(this.#options(view, width, height), columns(view.data), this.#host);
  }

  resize(): void {
    this.#plot?.setSize(this.#size());
  }

  destroy(): void {
    this.#plot?.destroy();
    this.#plot = null;
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(this.#host.clientWidth, 160), height: Math.max(this.#host.clientHeight, 120) };
  }

  #color(token: string): string {
    return getComputedStyle(document.documentElement).getPropertyValue(token).trim();
  }

  #font(): string {
    const size = Number.parseFloat(getComputedStyle(this.#host).fontSize) || 13;
    return `${Math.max(12, size - 1)}px ${getComputedStyle(this.#host).fontFamily}`;
  }

  #options(view: TrendView, width: number, height: number): UPlot.Options {
    const axis = { stroke: this.#color('--fg'), font: this.#font(), grid: { stroke: this.#color('--line-soft'), width: 1 },
      ticks: { stroke: this.#color('--line'), width: 1, size: 4 } };
    const trace = this.#color('--trace');
    const plainEdge = { width: 0, points: { show: false }, stroke: 'transparent' };
    return {
      width,
      height,
      legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
      tzDate: (seconds) => UPlot.tzDate(new Date(seconds * 1000), view.zone),
      scales: {
        x: { time: true, range: [view.fromMs / 1000, view.toMs / 1000] },
        y: { range: (_plot, low, high) => valueRange(low, high, view.limits) },
      },
      axes: [
        { ...axis, size: 34, space: AXIS_SPACE_PX, values: (_plot, splits) => timeLabels(splits, view.zone) },
        { ...axis, size: 52, gap: 4 },
      ],
      series: [
        {},
        { ...plainEdge },
        { ...plainEdge },
        { stroke: trace, width: 1.5, spanGaps: false, points: { show: false } },
      ],
      bands: [{ series: [2, 1], fill: this.#color('--band') }],
      hooks: {
        drawClear: [(plot) => this.#drawGround(plot, view)],
        draw: [(plot) => this.#drawMarks(plot, view)],
        setCursor: [(plot) => this.#tellCursor(plot)],
      },
    };
  }

  #tellCursor(plot: UPlot): void {
    const index = plot.cursor.idx;
    const view = this.#view;
    const seconds = index === null || index === undefined ? undefined : view?.data.x[index];
    if (view === null || seconds === undefined || (plot.cursor.left ?? -1) < 0) {
      this.#onCursor(null);
      return;
    }
    this.#onCursor({ atMs: seconds * 1000, value: view.data.line[index ?? 0] ?? null });
  }

  #drawGround(plot: UPlot, view: TrendView): void {
    const { ctx, bbox } = plot;
    ctx.save();
    clipToPlot(ctx, bbox);
    if (view.holds !== null) {
      const left = plot.valToPos(view.holds.fromMs / 1000, 'x', true);
      const right = plot.valToPos(view.holds.toMs / 1000, 'x', true);
      ctx.fillStyle = this.#color('--hatch');
      ctx.fillRect(left, bbox.top, Math.max(right - left, 0), bbox.height);
    }
    for (const stretch of view.data.stretches) this.#drawStretch(plot, stretch);
    if (view.nowMs < view.toMs) this.#drawFuture(plot, view);
    ctx.restore();
  }

  #drawStretch(plot: UPlot, stretch: Stretch): void {
    const { ctx, bbox } = plot;
    const left = plot.valToPos(stretch.fromMs / 1000, 'x', true);
    const right = plot.valToPos(stretch.toMs / 1000, 'x', true);
    const width = Math.max(right - left, 1);
    if (stretch.kind === 'uncertain') {
      ctx.fillStyle = this.#color('--p3');
      ctx.fillRect(left, bbox.top + bbox.height - 4 * devicePixelRatio, width, 4 * devicePixelRatio);
      return;
    }
    hatch(ctx, left, bbox.top, width, bbox.height, this.#color('--muted'), stretch.kind === 'bad');
  }

  #drawFuture(plot: UPlot, view: TrendView): void {
    const { ctx, bbox } = plot;
    const left = Math.max(plot.valToPos(view.nowMs / 1000, 'x', true), bbox.left);
    ctx.fillStyle = this.#color('--sunken');
    ctx.fillRect(left, bbox.top, bbox.left + bbox.width - left, bbox.height);
  }

  #drawMarks(plot: UPlot, view: TrendView): void {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.font = scaledFont(this.#font());
    ctx.textBaseline = 'bottom';
    const top = Math.max(...view.limits.map((limit) => limit.value));
    for (const limit of view.limits) this.#drawLimit(plot, limit, limit.value < top);
    // Labels of moments that stand close go below each other.
    view.marks.forEach((mark, index) => this.#drawMark(plot, mark, index));
    if (view.nowMs < view.toMs) {
      const left = plot.valToPos(view.nowMs / 1000, 'x', true);
      ctx.textAlign = 'left';
      ctx.fillStyle = this.#color('--muted');
      if (left > bbox.left) ctx.fillText(view.nowLabel, left + 4 * devicePixelRatio, bbox.top + bbox.height);
    }
    ctx.restore();
  }

  #drawLimit(plot: UPlot, limit: LimitLine, below: boolean): void {
    const { ctx, bbox } = plot;
    const y = plot.valToPos(limit.value, 'y', true);
    if (y < bbox.top || y > bbox.top + bbox.height) return;
    ctx.strokeStyle = this.#color('--fg');
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.setLineDash(limit.dashed ? [2 * devicePixelRatio, 4 * devicePixelRatio] : [8 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.textAlign = 'left';
    // Two lines may stand close: the upper one's label goes above it, the lower one's below.
    ctx.textBaseline = below ? 'top' : 'bottom';
    const shift = (below ? 3 : -2) * devicePixelRatio;
    this.#haloText(ctx, limit.label, bbox.left + 4 * devicePixelRatio, y + shift);
    ctx.textBaseline = 'bottom';
  }

  #drawMark(plot: UPlot, mark: Mark, line: number): void {
    const { ctx, bbox } = plot;
    const x = plot.valToPos(mark.atMs / 1000, 'x', true);
    if (x < bbox.left || x > bbox.left + bbox.width) return;
    ctx.strokeStyle = this.#color('--fg');
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const size = 6 * devicePixelRatio;
    ctx.fillStyle = this.#color(mark.color);
    ctx.beginPath();
    ctx.moveTo(x - size, bbox.top);
    ctx.lineTo(x + size, bbox.top);
    ctx.lineTo(x, bbox.top + 1.6 * size);
    ctx.closePath();
    ctx.fill();
    ctx.lineWidth = devicePixelRatio;
    ctx.stroke();
    ctx.textAlign = x > bbox.left + bbox.width / 2 ? 'right' : 'left';
    const shift = (ctx.textAlign === 'right' ? -1 : 1) * 9 * devicePixelRatio;
    this.#haloText(ctx, mark.label, x + shift, bbox.top + (16 + 17 * line) * devicePixelRatio);
  }

  /** Text that stays readable on top of the trace. */
  #haloText(ctx: CanvasRenderingContext2D, text: string, x: number, y: number): void {
    ctx.lineWidth = 3 * devicePixelRatio;
    ctx.strokeStyle = this.#color('--panel');
    ctx.lineJoin = 'round';
    ctx.strokeText(text, x, y);
    ctx.fillStyle = this.#color('--fg');
    ctx.fillText(text, x, y);
  }
}

function columns(data: TrendData): UPlot.AlignedData {
  return [data.x, data.min, data.max, data.line];
}

function valueRange(low: number | null, high: number | null, limits: readonly LimitLine[]): [number, number] {
  const all = limits.map((limit) => limit.value);
  if (low !== null) all.push(low);
  if (high !== null) all.push(high);
  if (all.length === 0) return [0, 1];
  const bottom = Math.min(...all);
  const top = Math.max(...all);
  const margin = top > bottom ? (top - bottom) * 0.12 : Math.max(Math.abs(top) * 0.1, 1);
  return [bottom >= 0 && bottom - margin < 0 ? 0 : bottom - margin, top + margin];
}

/** Hours and minutes, seconds only when the marks stand closer than a minute, the date where a day begins. */
function timeLabels(splits: number[], zone: string): string[] {
  const step = splits.length > 1 ? (splits[1] ?? 0) - (splits[0] ?? 0) : 60;
  return splits.map((seconds) => {
    const at = seconds * 1000;
    if (step < 60) return clockText(at, zone);
    const hour = hourText(at, zone);
    return hour === '00:00' ? dayText(at, zone).slice(5) : hour;
  });
}

function scaledFont(font: string): string {
  return font.replace(/^([\d.]+)px/, (_, px: string) => `${Number(px) * devicePixelRatio}px`);
}

function clipToPlot(ctx: CanvasRenderingContext2D, bbox: UPlot.BBox): void {
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
}

/** Diagonal lines over a rectangle; crossed when what came was unusable. */
function hatch(
  ctx: CanvasRenderingContext2D, x: number, y: number, width: number, height: number, color: string, crossed: boolean,
): void {
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, y, width, height);
  ctx.clip();
  ctx.strokeStyle = color;
  ctx.globalAlpha = 0.55;
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  const step = 8 * devicePixelRatio;
  for (let offset = -height; offset < width; offset += step) {
    ctx.moveTo(x + offset, y + height);
    ctx.lineTo(x + offset + height, y);
    if (crossed) {
      ctx.moveTo(x + offset, y);
      ctx.lineTo(x + offset + height, y + height);
    }
  }
  ctx.stroke();
  ctx.restore();
}
