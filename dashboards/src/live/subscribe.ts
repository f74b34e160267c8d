// The page's end of the live stream: through the shared worker where there is one, else a stream of its own.
// A worker that does not answer is abandoned: a tab must never stay silent because a worker did.
import type { FromWorker, LiveEvent, ToWorker } from './event';
import { Stream } from './stream';
import LiveWorker from './worker.ts?sharedworker';

export interface Subscription {
  retry: () => void;
  restart: () => void;
  stop: () => void;
}

type Listener = (event: LiveEvent, agoMs: number) => void;

const PING_MS = 20_000;
/** A worker reports an attempt or a beat at once; this long without a word means it did not start. */
const WORKER_ANSWER_MS = 6_000;

export function subscribe(listen: Listener): Subscription {
  let inner = subscribeByWorker(listen, () => {
    inner.stop();
    inner = subscribeAlone(listen);
  });
  return { retry: () => inner.retry(), restart: () => inner.restart(), stop: () => inner.stop() };
}

function subscribeByWorker(listen: Listener, giveUp: () => void): Subscription {
  if (typeof SharedWorker !== 'function') return subscribeAlone(listen);
  let worker: SharedWorker;
  try {
    worker = new LiveWorker({ name: 'davy-live' });
  } catch {
    return subscribeAlone(listen);
  }
  const say = (message: ToWorker): void => worker.port.postMessage(message);
  const answer = setTimeout(giveUp, WORKER_ANSWER_MS);
  worker.onerror = giveUp;
  worker.port.onmessage = (message: MessageEvent<FromWorker>) => {
    clearTimeout(answer);
    listen(message.data.event, message.data.agoMs);
  };
  const ping = setInterval(() => say('ping'), PING_MS);
  const leave = (): void => say('bye');
  const arrive = (): void => say('hello');
  window.addEventListener('pagehide', leave);
  window.addEventListener('pageshow', arrive);
  say('hello');
  return {
    retry: () => say('retry'),
    restart: () => say('restart'),
    stop: () => {
      clearTimeout(answer);
      clearInterval(ping);
      worker.onerror = null;
      worker.port.onmessage = null;
      window.removeEventListener('pagehide', leave);
      window.removeEventListener('pageshow', arrive);
      say('bye');
    },
  };
}

function subscribeAlone(listen: Listener): Subscription {
  const stream = new Stream({
    open: (url) => new EventSource(url),
    now: () => performance.now(),
    emit: (event) => listen(event, 0),
  });
  const timer = setInterval(() => stream.tick(), 1000);
  stream.start();
  return {
    retry: () => stream.retry(),
    restart: () => stream.restart(),
    stop: () => {
      clearInterval(timer);
      stream.stop();
    },
  };
}
