// Once a second, on time also in a hidden tab: what sound and the watch over the link hang on.
import PulseWorker from './pulse-worker.ts?worker';

const BEAT_MS = 1000;

/** Calls `beat` each second until the function given back is called. */
export function pulse(beat: () => void): () => void {
  let timer: number | null = null;
  // Where there is no worker the page's own timer is better than none.
  const alone = (): void => {
    timer ??= window.setInterval(beat, BEAT_MS);
  };
  const worker = start();
  if (worker === null) alone();
  else {
    worker.onmessage = beat;
    worker.onerror = alone;
  }
  return () => {
    worker?.terminate();
    if (timer !== null) clearInterval(timer);
  };
}

function start(): Worker | null {
  try {
    return new PulseWorker();
  } catch {
    return null;
  }
}
