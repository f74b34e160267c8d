// A small server that speaks the console's API, for the development server and the browser tests. Never shipped.
// It serves dist/ with the headers of the real server, so that a violation of the content policy is seen here.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { openStream } from './stream.mjs';

const CSP = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.md': 'text/plain' };

function answer(response, status, body, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', ...headers });
  response.end(JSON.stringify(body));
}

function refuse(response, status, code, more = {}) {
  answer(response, status, { code, message: code, request_id: 'mock-1', ...more });
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

function sessionBody(world, user) {
  const { name, display, role } = user;
  return { user: { name, display, role }, server_time: world.now(), setup_needed: false };
}

function listed(world, query) {
  const state = query.get('state') ?? 'active';
  const before = Number(query.get('before') ?? Infinity);
  const limit = Number(query.get('limit') ?? 10_000);
  return [...world.alarms.values()].map((held) => held.alarm)
    .filter((alarm) => state === 'all' || (state === 'unacked' ? !alarm.acked : alarm.active))
    .filter((alarm) => alarm.raised_at < before).sort((a, b) => b.raised_at - a.raised_at).slice(0, limit);
}

async function serveFile(dist, path, response) {
  const wanted = extname(path) === '' ? 'index.html' : normalize(path).replace(/^(\.\.[/\\])+/, '');
  const data = await readFile(join(dist, wanted)).catch(() => null);
  if (data === null) {
    response.writeHead(404).end();
    return;
  }
  const asset = path.startsWith('/assets/');
  response.writeHead(200, { 'content-type': TYPES[extname(wanted)] ?? 'application/octet-stream', 'content-security-policy': CSP,
    'x-content-type-options': 'nosniff', 'cache-control': asset ? 'public, max-age=31536000, immutable' : 'no-store' });
  response.end(data);
}

/** Starts the mock. `faults` may be changed while it runs: see the fields. */
export async function startMock(world, { port = 0, dist = null, hbMs = 5000, sessions = new Map() } = {}) {
  const faults = {
    /** No user exists: the set-up page. */ setup: false,
    /** Milliseconds before an acknowledgement is answered. */ ackDelayMs: 0,
    /** Somebody is faster: the next acknowledgement meets a signed alarm. */ ackBeaten: false,
    /** The next acknowledgement is carried out but its answer is lost. */ ackSilent: false,
    /** Snapshots fail with 500. */ broken: false,
    /** Time until a session ends. */ sessionLeftMs: 7 * 86_400_000,
    /** Sites fail with 500. */ noSites: false,
    /** Sites are answered in a shape that nobody promised. */ garbled: false,
  };
  const streams = new Set();

  async function api(request, response, url) {
    const path = url.pathname.slice('/api/v1'.length);
    const cookie = /davy_session=(\w+)/.exec(request.headers.cookie ?? '')?.[1];
    const user = sessions.get(cookie);
    const route = `${request.method} ${path}`;
    const enter = (entered) => {
      const id = Math.random().toString(36).slice(2);
      sessions.set(id, entered);
      answer(response, 200, sessionBody(world, entered), { 'set-cookie': `davy_session=${id}; HttpOnly; SameSite=Strict; Path=/` });
    };
    if (route === 'POST /setup') {
      const form = await bodyOf(request);
      if (!faults.setup) return refuse(response, 409, 'already_set_up');
      if (form.setup_token !== world.setupToken) return refuse(response, 403, 'bad_setup_token');
      faults.setup = false;
      world.users.set(form.name, { name: form.name, display: form.display, role: 'administrator', password: form.password });
      return enter(world.users.get(form.name));
    }
    if (route === 'POST /session') {
      const form = await bodyOf(request);
      const found = world.users.get(form.name);
      faults.sessionLeftMs = 7 * 86_400_000;
      return found !== undefined && found.password === form.password ? enter(found) : refuse(response, 401, 'bad_credentials');
    }
    if (user === undefined) return refuse(response, 401, 'signed_out', { setup_needed: faults.setup });
    if (route === 'GET /session') return answer(response, 200, sessionBody(world, user));
    if (route === 'GET /session/end') return answer(response, 200, { ends_at: world.now() + faults.sessionLeftMs, server_time: world.now() });
    if (route === 'DELETE /session') {
      sessions.delete(cookie);
      return answer(response, 200, {});
    }
    if (faults.broken) return refuse(response, 500, 'mock_broken');
    if (route === 'GET /stream') return openStream(world, request, response, url, hbMs, streams);
    if (route === 'GET /alarms') return answer(response, 200, { revision: world.revision, alarms: listed(world, url.searchParams) });
    if (route === 'GET /sites') {
      if (faults.noSites) return refuse(response, 500, 'mock_no_sites');
      const sites = world.sites();
      return answer(response, 200, { sites: faults.garbled ? sites.map((site) => ({ ...site, devices: null })) : sites });
    }
    if (route === 'GET /values') return answer(response, 200, { revision: world.revision, values: world.values(url.searchParams.get('site')) });
    if (route === 'GET /rules/state') return answer(response, 200, world.ruleStates(url.searchParams.get('site')));
    if (route === 'GET /completeness') return answer(response, 200, { days: world.completeness(), truncated: false });
    if (route === 'GET /gateways') return answer(response, 200, { gateways: world.gateways() });
    if (route === 'GET /users') return answer(response, 200, { users: [...world.users.values()].map(({ name, display, role }) => ({ name, display, role })) });
    if (route === 'GET /system') {
      return answer(response, 200, { version: '0.1.0', store: 'embedded', store_state: 'well', log: { bytes: 73_400_320, position: 918_273, evaluator_lag: 0, store_lag: 2 },
        notices: world.notices });
    }
    if (route === 'GET /series') {
      const q = url.searchParams;
      return answer(response, 200, world.series(q.get('site'), q.get('device'), q.get('quantity'), Number(q.get('from')), Number(q.get('to')), Number(q.get('px') ?? 600)));
    }
    if (route === 'POST /users') {
      const form = await bodyOf(request);
      world.users.set(form.name, form);
      return answer(response, 200, { name: form.name, display: form.display, role: form.role });
    }
    if (route === 'POST /gateways') {
      const form = await bodyOf(request);
      world.registered.push(form);
      return answer(response, 200, { name: form.name, key: '0'.repeat(64), snippet: `[gateway]\nname = "${form.name}"\nkey = "${'0'.repeat(64)}"\n` });
    }
    const aside = /^(GET|POST) \/quarantine(?:\/(\d+|replay|discard))?$/.exec(route);
    if (aside !== null) {
      const form = aside[1] === 'POST' ? await bodyOf(request) : null;
      const [status, body] = world.quarantine.answer(aside[2], form, user, url.searchParams, world.now());
      return status === 200 || status === 202 ? answer(response, status, body) : refuse(response, status, body);
    }
    const one = /^(GET|POST) \/alarms\/([^/]+)(\/why|\/ack|\/reset)?$/.exec(route);
    if (one === null) return refuse(response, 404, 'not_found');
    const [, method, rawId, part] = one;
    const detail = world.detail(decodeURIComponent(rawId));
    if (detail === null) return refuse(response, 404, 'not_found');
    if (method === 'GET') return answer(response, 200, part === '/why' ? { zh: detail.why_zh, en: detail.why_en, re_evaluated: true } : detail);
    return part === '/reset' ? answer(response, 200, world.change(detail.id, { latched: false }, { kind: 'reset', by: user.name }))
      : acknowledge(request, response, detail.id, user);
  }

  async function acknowledge(request, response, id, user) {
    const order = await bodyOf(request);
    if (user.role !== 'duty' && user.role !== 'officer') return refuse(response, 403, 'denied');
    if (faults.ackDelayMs > 0) await new Promise((done) => setTimeout(done, faults.ackDelayMs));
    if (world.keys.has(order.idempotency_key)) return answer(response, 200, world.keys.get(order.idempotency_key));
    if (faults.ackBeaten) {
      faults.ackBeaten = false;
      world.acknowledge(id, world.users.get('second'), '我来处理', world.now() - 3000);
    }
    const held = world.alarms.get(id).alarm;
    if (held.acked || held.version !== order.version) return refuse(response, 409, 'conflict', { alarm: held });
    const signed = world.acknowledge(id, user, order.comment);
    world.keys.set(order.idempotency_key, signed);
    if (faults.ackSilent) {
      faults.ackSilent = false;
      request.socket.destroy();
      return undefined;
    }
    return answer(response, 200, signed);
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://mock');
    const work = url.pathname.startsWith('/api/v1/') ? api(request, response, url)
      : dist === null ? Promise.resolve(response.writeHead(404).end()) : serveFile(dist, url.pathname, response);
    work.catch((error) => refuse(response, 500, 'mock_failed', { message: String(error) }));
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  const bound = server.address().port;
  return {
    url: `http://127.0.0.1:${bound}`, port: bound, faults, streams, sessions,
    /** Ends everything at once, as a killed server would. */
    async kill() {
      for (const stream of streams) stream.end();
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
