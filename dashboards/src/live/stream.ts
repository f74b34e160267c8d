// The life of one event stream: open, listen, notice silence, open again from where it stopped.
// Runs in the shared worker, or in the page where there is none. It knows no DOM and no store: it emits events.
import { LOST_AFTER_MS, type LiveEvent } from './event';
import { EVENT_NAMES, parseEvent } from './parse';

/** The part of EventSource that is used; tests give their own. */
export interface Source {
  addEventListener(name: string, listener: (event: MessageEvent<string>) => void): void;
  onopen: ((event: Event) => void) | null;
  onerror: ((event: Event) => void) | null;
  close(): void;
}

export interface StreamSeams {
  open: (url: string) => Source;
  now: () => number;
  emit: (event: LiveEvent) => void;
}

const PATH = '/api/v1/stream';
const BACKOFF_MS = [500, 1000, 2000, 4000, 5000] as const;

export class Stream {
  readonly #seams: StreamSeams;
  #source: Source | null = null;
  #lastId = '';
  #heardAt = 0;
  #attempt = 0;
  #retryAt: number | null = null;

  constructor(seams: StreamSeams) {
    this.#seams = seams;
  }

  /** Openings since something was last heard. */
  get attempt(): number {
    return this.#attempt;
  }

  /** Opens the stream if it is not open or waiting. */
  start(): void {
    if (this.#source === null && this.#retryAt === null) this.#open();
  }

  /** Tries at once: the user asked, or the network came back. */
  retry(): void {
    this.#drop();
    this.#open();
  }

  /** Another user signed in: nothing of the old stream may be resumed. */
  restart(): void {
    this.#lastId = '';
    this.retry();
  }

  stop(): void {
    this.#drop();
    this.#retryAt = null;
  }

  /** Called each second by whoever owns the timer. */
  tick(): void {
    const now = this.#seams.now();
    if (this.#source !== null && now - this.#heardAt > LOST_AFTER_MS) this.#fail();
    if (this.#retryAt !== null && now >= this.#retryAt) this.#open();
  }

  #open(): void {
    this.#retryAt = null;
    this.#heardAt = this.#seams.now();
    this.#attempt += 1;
    this.#seams.emit({ kind: 'attempt', count: this.#attempt });
    const query = this.#lastId === '' ? '' : `?last_event_id=${encodeURIComponent(this.#lastId)}`;
    const source = this.#seams.open(PATH + query);
    this.#source = source;
    // EventSource's own reconnection is not used: it gives up for good on an HTTP error.
    source.onerror = () => {
      if (this.#source === source) this.#fail();
    };
    for (const name of EVENT_NAMES) {
      source.addEventListener(name, (message) => {
        if (this.#source === source) this.#hear(parseEvent(name, message.data), message.lastEventId);
      });
    }
  }

  #hear(event: LiveEvent, id: string): void {
    this.#heardAt = this.#seams.now();
    this.#attempt = 0;
    if (event.kind === 'reset') this.#lastId = '';
    else if (id !== '') this.#lastId = id;
    this.#seams.emit(event);
    if (event.kind === 'signed_out') this.stop();
  }

  #fail(): void {
    this.#drop();
    const step = BACKOFF_MS[Math.min(this.#attempt, BACKOFF_MS.length) - 1] ?? BACKOFF_MS[0];
    this.#retryAt = this.#seams.now() + step;
  }

  #drop(): void {
    const source = this.#source;
    this.#source = null;
    if (source === null) return;
    source.onerror = null;
    source.close();
  }
}
