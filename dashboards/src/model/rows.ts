// Which rows of a long list exist in the page: rows of one fixed height, a margin on both sides. Pure arithmetic.

export const ROW_PX = 32;
/** On a narrow screen a row has three lines: nothing that says what is wrong may be left out. */
export const NARROW_ROW_PX = 70;
const MARGIN_ROWS = 8;

export interface RowRange {
  /** First row drawn. */
  from: number;
  /** One past the last row drawn. */
  to: number;
}

export function visibleRows(scrollTop: number, heightPx: number, count: number, rowPx = ROW_PX): RowRange {
  const from = Math.min(Math.max(0, Math.floor(scrollTop / rowPx) - MARGIN_ROWS), Math.max(0, count - 1));
  const to = Math.min(count, Math.ceil((scrollTop + heightPx) / rowPx) + MARGIN_ROWS);
  return { from, to: Math.max(from, to) };
}

/** The scroll position that brings row `index` into view, or the present one when it is in view already. */
export function scrollToShow(index: number, scrollTop: number, heightPx: number, rowPx = ROW_PX): number {
  const top = index * rowPx;
  if (top < scrollTop) return top;
  const bottom = top + rowPx;
  return bottom > scrollTop + heightPx ? bottom - heightPx : scrollTop;
}
