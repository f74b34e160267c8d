// The shared worker: one event stream for all tabs of a browser. Over HTTP/1.1 the seventh tab with a stream of its
// own would freeze, and timers of hidden tabs are throttled; a worker's are not.
import type { FromWorker, LiveEvent, ToWorker } from './event';
import { Stream } from './stream';

interface Tab {
  port: MessagePort;
  heardAt: number;
}

// The WebWorker typings clash with the DOM's, so the two names used are declared here.
declare const self: { onconnect: ((event: MessageEvent) => void) | null };

/** A tab pings each 20 s; a frozen one is dropped and comes back with its next ping. */
const TAB_GONE_MS = 180_000;

const tabs = new Map<MessagePort, Tab>();
let lastBeat: { event: LiveEvent; at: number } | null = null;

const now = (): number => performance.now();

function send(port: MessagePort, message: FromWorker): void {
  port.postMessage(message);
}

const stream = new Stream({
  open: (url) => new EventSource(url),
  now,
  emit: (event) => {
    if (event.kind === 'beat') lastBeat = { event, at: now() };
    if (event.kind === 'signed_out') lastBeat = null;
    for (const tab of tabs.values()) send(tab.port, { event, agoMs: 0 });
  },
});

function hear(port: MessagePort, message: ToWorker): void {
  if (message === 'bye') {
    tabs.delete(port);
    return;
  }
  tabs.set(port, { port, heardAt: now() });
  if (message === 'hello') {
    stream.start();
    // Always an answer, so that the tab knows the worker lives even while the server does not.
    send(port, { event: { kind: 'attempt', count: stream.attempt }, agoMs: 0 });
    if (lastBeat !== null) send(port, { event: lastBeat.event, agoMs: now() - lastBeat.at });
  }
  if (message === 'retry') stream.retry();
  if (message === 'restart') {
    lastBeat = null;
    stream.restart();
  }
}

self.onconnect = (event) => {
  const port = event.ports[0];
  if (port === undefined) return;
  port.onmessage = (message: MessageEvent<ToWorker>) => hear(port, message.data);
};

setInterval(() => {
  for (const tab of tabs.values()) {
    if (now() - tab.heardAt > TAB_GONE_MS) tabs.delete(tab.port);
  }
  if (tabs.size === 0) stream.stop();
  else stream.start();
  stream.tick();
}, 1000);
