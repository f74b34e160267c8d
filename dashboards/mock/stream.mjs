// The mock's event stream: heartbeats, values four times a second at most, resume by Last-Event-ID from a short memory.

const REMEMBERED = 500;
const VALUES_MS = 2000;
const memories = new WeakMap();

/** Remembers what was told from the first call on, so that a stream can be resumed. */
export function memoryOf(world) {
  let memory = memories.get(world);
  if (memory === undefined) {
    memory = [];
    memories.set(world, memory);
    world.listeners.add((told) => {
      if (told.id !== null) memory.push(told);
      if (memory.length > REMEMBERED) memory.shift();
    });
  }
  return memory;
}

export function openStream(world, request, response, url, hbMs, streams) {
  const memory = memoryOf(world);
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', connection: 'keep-alive' });
  const write = ({ id, event, body }) => {
    response.write(`${id === null ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(body)}\n\n`);
  };
  const beat = () => write({ id: null, event: 'hb', body: { server_time: world.now(), revision: world.revision } });
  const last = Number(url.searchParams.get('last_event_id') ?? request.headers['last-event-id'] ?? NaN);
  if (!Number.isNaN(last) && last < world.revision) {
    if (memory.length === 0 || memory[0].id > last + 1) write({ id: null, event: 'reset', body: {} });
    else for (const told of memory) if (told.id > last) write(told);
  }
  const stream = {
    /** Set to stop heartbeats and values while the connection stays open. */
    stalled: false,
    end: () => response.end(),
  };
  const listen = (told) => {
    if (!stream.stalled) write(told);
  };
  world.listeners.add(listen);
  streams.add(stream);
  beat();
  const timers = [
    setInterval(() => stream.stalled || beat(), hbMs),
    setInterval(() => {
      if (!stream.stalled) write({ id: null, event: 'value', body: { values: world.sites().flatMap((site) => world.values(site.id)) } });
    }, VALUES_MS),
  ];
  response.on('close', () => {
    timers.forEach(clearInterval);
    world.listeners.delete(listen);
    streams.delete(stream);
  });
}
